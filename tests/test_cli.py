"""The table of verbs: help, version and completion. What users get wrong is tried in launch/test_bad_input.py."""

from __future__ import annotations

import io
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import hpc_adabatch as hab
from hpc_adabatch.cli import VERBS, Verb, main
from hpc_adabatch.command_line import parse_recipe
from hpc_adabatch.environment import leave_code
from hpc_adabatch.init.flags import InitFlags
from hpc_adabatch.study.cli import main as study_main


@pytest.fixture(autouse=True)
def _hears_sigterm_again() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def printed(line: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        main(line)
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_help_names_every_verb_and_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed([], capsys).splitlines()
    assert lines == printed(["--help"], capsys).splitlines()
    for name, verb in VERBS.items():
        at = [number for number, line in enumerate(lines) if line.split()[:1] == [name]]
        assert len(at) == len(verb.usages)
        assert lines[at[-1] + 1].strip() == verb.does
    assert max(map(len, lines)) <= 120


def test_version_says_what_it_runs_on(capsys: pytest.CaptureFixture[str]) -> None:
    first, _, rest = printed(["--version"], capsys).strip().partition(" (")
    assert first == f"adabatch {hab.__version__}"
    assert [part.split()[0] for part in rest.rstrip(")").split(", ")] == ["Python", "torch", "horovod"]


@pytest.mark.parametrize("verb", ["report", "doctor", "completion"])
def test_a_verb_without_flags_has_its_help_too(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert printed([verb, "--help"], capsys).startswith(f"usage: adabatch {verb}")


def test_a_name_that_is_no_text_can_be_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes of a name that are no UTF-8 ended in a UnicodeEncodeError."""
    out = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(out, encoding="utf-8", write_through=True))
    monkeypatch.setitem(VERBS, "show", Verb(lambda words: print(*words) or 0, "Shows words."))
    with pytest.raises(SystemExit):
        main(["show", "runs/\udcff"])
    assert out.getvalue() == b"runs/\\udcff\n"


def completed(script: str, *words: str) -> list[str]:
    """Returns what bash offers for the last word."""
    line = f"COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; _adabatch; echo ${{COMPREPLY[@]}}"
    done = subprocess.run(["bash", "-c", f"{script}\n{line}"], capture_output=True, text=True, timeout=30, check=True)
    return done.stdout.split()


def test_bash_completes_verbs_and_flags(capsys: pytest.CaptureFixture[str]) -> None:
    script = printed(["completion", "bash"], capsys)
    assert completed(script, "adabatch", '""') == [*VERBS, "--help", "--version"]
    assert completed(script, "adabatch", "st") == ["study"]
    assert completed(script, "adabatch", "train", "--r") == ["--resume"]
    assert completed(script, "adabatch", "train", '""') == []  # files
    assert completed(script, "adabatch", "plan", "recipes/quickstart.yaml", "--n") == ["--nodes", "--network"]


@pytest.mark.skipif(shutil.which("zsh") is None, reason="needs zsh")
def test_zsh_completes_as_somebody_types(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = printed(["completion", "zsh"], capsys)
    (tmp_path / "completion").write_text(script.replace("compinit\n", "compinit -u\n", 1), encoding="utf-8")
    typed = [
        f"adabatch() {{ print -r -- ran $@ }}; . {tmp_path / 'completion'}\n",
        *("adabatch stu\tpl\t\n", "adabatch train x --resu\tauto\n", f"adabatch report {tmp_path}/compl\t\n", "exit\n"),
    ]
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "dumb", "ZDOTDIR": str(tmp_path), "PROMPT": ""}
    process = subprocess.Popen(
        ["zsh", "-f", "-i"], stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
    )
    os.close(theirs)
    for line in typed:
        os.write(ours, line.encode())
    out = process.communicate(timeout=60)[0].decode()
    os.close(ours)
    ran = [line.split() for line in out.splitlines() if line.startswith("ran ")]
    assert ran == [
        ["ran", "study", "plan"],
        ["ran", "train", "x", "--resume", "auto"],
        ["ran", "report", f"{tmp_path}/completion"],
    ], out


def test_bash_completes_init_and_the_recipes_that_ship(capsys: pytest.CaptureFixture[str]) -> None:
    script = printed(["completion", "bash"], capsys)
    flags = ["--task", "--recipe", "--script", "--data", "--from", "--queue", "--gpu", "--nodes", "--ranks_per_node"]
    flags += ["--cores", "--time", "--account", "--partition", "--modules"]
    assert completed(script, "adabatch", "init", "mine", "--") == [*flags, "--help"]
    known = {f"--{name}" for name in InitFlags.__dataclass_fields__}
    assert set(flags) == known | {"--from"}
    assert completed(script, "adabatch", "recipes", "imagenet-resnet50-lars-8") == ["imagenet-resnet50-lars-8k"]
    assert completed(script, "adabatch", "recipes", "quickstart", "--") == ["--to", "--help"]


def test_bash_completes_the_verbs_of_a_study(capsys: pytest.CaptureFixture[str]) -> None:
    assert study_main(["nonsense"]) == 2
    allowed = capsys.readouterr().err.partition("allowed: ")[2].partition(";")[0].split(", ")
    assert completed(printed(["completion", "bash"], capsys), "adabatch", "study", '""') == allowed


@pytest.mark.parametrize(
    ("rank", "left"), [({}, "2"), ({"OMPI_COMM_WORLD_RANK": "0"}, "2"), ({"OMPI_COMM_WORLD_RANK": "1"}, None)]
)
def test_rank_0_leaves_its_exit_code_for_launch_run(
    rank: dict[str, str], left: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpc_adabatch.cli.PATIENCE_S", 0.0)
    monkeypatch.setenv("ADABATCH_STOP_FILE", str(tmp_path / "stop"))
    for name, value in ({"OMPI_COMM_WORLD_SIZE": "2"} | rank if rank else {}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        main(["report"])
    assert ended.value.code == 2
    file = tmp_path / "stop.code"
    assert (file.read_text(encoding="ascii") if file.exists() else None) == left


def test_a_rank_that_waits_for_the_first_one_ends_with_the_same_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bug story: srun ends the other ranks by SIGTERM, and returned 143 for wrong input."""
    monkeypatch.setattr("time.sleep", lambda _: os.kill(os.getpid(), signal.SIGTERM))
    for name, value in {"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        main(["report"])
    assert ended.value.code == 2
    os.kill(os.getpid(), signal.SIGTERM)  # from here on it may come at any time


def test_a_rank_does_not_wait_for_the_first_one_that_has_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bug story: SIGTERM that came while it read the same input was put off, and srun ended it by SIGKILL, with 137."""

    def told(*arguments: object) -> object:
        os.kill(os.getpid(), signal.SIGTERM)
        return parse_recipe(*arguments)

    monkeypatch.setattr("time.sleep", lambda _: pytest.fail("it waits"))
    for name, value in {"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("hpc_adabatch.command_line.parse_recipe", told)
    with pytest.raises(SystemExit) as ended:
        main(["train", "recipes/missing.yaml"])
    assert ended.value.code == 2
    monkeypatch.setenv("ADABATCH_STOP_FILE", str(tmp_path / "stop"))
    leave_code(2)  # by rank 0, which has said why: MPICH's mpirun lets the others go on
    with pytest.raises(SystemExit) as ended:
        main(["report"])
    assert ended.value.code == 2


def test_the_first_code_that_a_rank_leaves_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk on one rank: the others only lose it."""
    leave_code(74)  # started by hand: nobody looks for it
    monkeypatch.setenv("ADABATCH_STOP_FILE", str(tmp_path / "stop"))
    for code in (0, 74, 1):
        leave_code(code)
    assert (tmp_path / "stop.code").read_text(encoding="ascii") == "74"


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["report", "RUN"], ["recipes"]])
def test_who_reads_no_further_is_told_nothing(words: list[str], tmp_path: Path) -> None:
    """Bug story: ``adabatch --help | head -1`` ended with a traceback where Python does not buffer."""
    journal = Path(__file__).resolve().parent / "journals" / "adabatch.jsonl"
    (tmp_path / "journal.jsonl").write_bytes(journal.read_bytes())
    words = [str(tmp_path) if word == "RUN" else word for word in words]
    reads, writes = os.pipe()
    os.close(reads)
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "hpc_adabatch", *words], stdout=writes, stderr=subprocess.PIPE, env=environment
    )
    os.close(writes)
    assert done.returncode != 0
    assert done.stderr == b""


def test_training_goes_on_when_nobody_reads_its_log(tmp_path: Path) -> None:
    """Bug story: ``adabatch train ... | head`` ended the run, with a traceback."""
    reads, writes = os.pipe()
    os.close(reads)
    command = [sys.executable, "-m", "hpc_adabatch", "train", "quickstart", "--epochs=2", f"--out={tmp_path}"]
    done = subprocess.run(command, stdout=writes, stderr=subprocess.PIPE)
    os.close(writes)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "result.json").exists()


@pytest.mark.parametrize("words", [["plan", "waits"], ["export", ".", "--to", "a.csv"]])
def test_ctrl_c_ends_a_verb_without_a_traceback(words: list[str], tmp_path: Path) -> None:
    """It is pressed while the verb reads a file."""
    for name in ("waits", "journal.jsonl"):
        os.mkfifo(tmp_path / name)
    process = subprocess.Popen(
        [sys.executable, "-m", "hpc_adabatch", *words],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored where tests run in a background
    )
    give_up = time.monotonic() + 60
    while True:
        with suppress(OSError):  # nobody reads it yet
            name = "journal.jsonl" if "export" in words else "waits"
            writes = os.open(tmp_path / name, os.O_WRONLY | os.O_NONBLOCK)
            break
        assert time.monotonic() < give_up
        time.sleep(0.05)
    time.sleep(0.3)  # it has opened the file: let it read, for Python does not look for signals in between
    said = None
    while said is None:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            said = process.communicate(timeout=10)
        assert time.monotonic() < give_up
    os.close(writes)
    assert process.returncode == 130
    assert b"Traceback" not in said[1]
