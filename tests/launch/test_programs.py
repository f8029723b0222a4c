"""What the README promises, run as it is printed there."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.launch
ROOT = Path(__file__).resolve().parents[2]


def test_the_quickstart() -> None:
    before = set((ROOT / "runs").glob("quickstart-*")) if (ROOT / "runs").exists() else set()
    done = subprocess.run(["./launch/quickstart"], cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = set((ROOT / "runs").glob("quickstart-*")) - before
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    assert result["metric"]["name"] == "accuracy"
    assert result["metric"]["value"] >= 0.97
    assert result["world_size"] == 2
    assert result["final_global_batch"] >= 8 * result["initial_global_batch"]
    assert result["batches"] == [[0.0, 16], [6.0, 32], [12.0, 64], [18.0, 128], [24.0, 256]]
    assert result["samples_seen"] == 30 * 1437
    for expected in ("times fewer", f"{folder.name}/result.json", f"{folder.name}/training.png"):
        assert expected in done.stdout
    for name in ("config.yaml", "journal.jsonl", "training.png", "checkpoint/last.pt"):
        assert (folder / name).stat().st_size > 0


@pytest.mark.parametrize(("launcher", "ranks"), [("mpirun", 2), ("plain", 1)])
def test_the_readmes_script(launcher: str, ranks: int, launch: Any, tmp_path: Path) -> None:
    example = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert example is not None
    script = example[1].replace("runs/script", str(tmp_path / "run"))
    (tmp_path / "example.py").write_text(script, encoding="utf-8")
    lines = re.findall(
        r"epoch +(\d+)  batch +(\d+) .* loss (\S+)",
        launch(tmp_path / "example.py", ranks=ranks, launcher=launcher).stdout,
    )
    assert len(lines) == 12
    assert float(lines[-1][2]) < 0.5


def test_the_journal_is_as_documented(adabatch: Any, tmp_path: Path) -> None:
    adabatch("train", "recipes/quickstart.yaml", "--epochs=7", "--out", tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "journal.jsonl").read_text(encoding="utf-8").splitlines()]
    documented = (ROOT / "docs" / "run-folder.md").read_text(encoding="utf-8")
    assert {line["kind"] for line in lines} == {"start", "statistics", "decision", "evaluation", "rest", "end"}
    for line in lines:
        assert {"kind", "step", "cursor", "epoch", "time_s"} <= line.keys()
        for name in line:
            assert f"`{name}`" in documented, name
    decision = next(line for line in lines if line["kind"] == "decision")
    assert {"global_batch", "micro_batch", "passes", "learning_rate", "reason"} <= decision.keys()
    result = json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8"))
    for name in result:
        assert f"`{name}`" in documented, name
    assert [line["time_s"] for line in lines] == sorted(line["time_s"] for line in lines)


def test_doctor_speaks_once_for_all_ranks(adabatch: Any, tmp_path: Path) -> None:
    done = adabatch("doctor", "recipes/quickstart.yaml", "--out", tmp_path / "run", ranks=2, code=None)
    rows = (
        "ranks +2 on 1 node",
        "Horovod built with +MPI, Gloo",
        "engine +Horovod",
        "PMI +PMIx",
        "MPI +.* reaches 2 of 2",
    )
    rows = (
        *rows,
        "network +without a GPU",
        "output is seen +yes",
        "data +the task needs no files",
        "time left +no job",
    )
    for row in rows:
        assert re.search(rf"^ok +{row}", done.stdout, re.MULTILINE), (row, done.stdout + done.stderr)
    assert len(re.findall(r"^ok +binding +ranks? [01-]+: .*, NUMA .*, no GPU$", done.stdout, re.MULTILINE)) in (1, 2)
    assert done.stdout.count("launched by") == 1
    assert list(tmp_path.iterdir()) == []


def test_doctor_names_what_is_wrong_and_the_line_that_mends_it(adabatch: Any) -> None:
    ranks = len(os.sched_getaffinity(0)) + 1
    done = adabatch("doctor", ranks=ranks, code=1)
    assert re.search(rf"^wrong +cores +{ranks} rank\(s\) wait for each other", done.stdout, re.MULTILINE), done.stdout
    assert "type: horovodrun -np" in done.stdout


def test_doctor_does_not_miss_horovod_where_torch_sums(launch: Any, programs: Path) -> None:
    """It said "wrong: Horovod loads", and ended with 1."""
    done = launch(programs / "no_horovod.py", "all", "doctor", launcher="mpirun, torch", code=None, fresh=True)
    assert re.search(r"^ok +engine +torch.distributed$", done.stdout, re.MULTILINE), done.stdout + done.stderr
    assert "Horovod" not in done.stdout


def test_doctor_tells_why_ranks_cannot_join_and_what_else_there_is(
    launch: Any, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line about Horovod was all, of the command that is asked what is wrong."""
    monkeypatch.setenv("ADABATCH_ENGINE", "horovod")
    done = launch(programs / "no_horovod.py", "all", "doctor", code=None, fresh=True)
    assert re.search(r"^wrong +ranks join +no: horovod: given does not load", done.stdout, re.MULTILINE), done.stdout
    assert re.search(r"^wrong +Horovod loads", done.stdout, re.MULTILINE)
    assert done.stdout.count("launched by") == 1
    assert done.returncode != 0


def test_streams_are_shared_out_and_what_one_rank_cannot_read_ends_all(launch: Any, programs: Path) -> None:
    """The other ranks waited for it in their sum, until the watchdog ended them."""
    assert launch(programs / "streams.py", launcher="horovodrun --gloo").stdout.count("streams hold") == 2


def test_what_differs_between_ranks_is_named_before_anything_is_sent(launch: Any, programs: Path) -> None:
    """Samples came twice and never, ranks drifted apart, or all of them waited for ever."""
    assert launch(programs / "alike.py", ranks=3).stdout.count("all are named") == 3


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_script_that_calls_hvd_init_under_torchrun_is_refused(launch: Any, programs: Path, when: str) -> None:
    """Each rank read all of the data, wrote the same files and said the same, as rank 0 of one."""
    done = launch(programs / "alone.py", when, launcher="torchrun", code=None)
    assert done.stdout.count("rank 0 of 1: refused") == 2


@pytest.mark.parametrize("launcher", ["mpirun", "torchrun"])
def test_what_is_not_a_number_on_one_rank_is_none_on_all(launch: Any, programs: Path, launcher: str) -> None:
    """MPI_MAX, hvd's Max and Gloo's MAX lose NaN depending on its rank; mpi4py sums bfloat16 tensors to nonsense."""
    done = launch(programs / "not_numbers.py", ranks=3, launcher=launcher)
    assert done.stdout.count("agreed") == 3


@pytest.mark.parametrize("launcher", ["horovodrun", "torchrun"])
def test_launch_run_ends_with_the_code_of_the_ranks_whatever_the_launcher_makes_of_it(
    launcher: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both, horovodrun with --gloo, end with 1, and with a traceback of their own."""
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    adabatch = [sys.executable, "-m", "hpc_adabatch", "train", "recipes/quickstart.yaml", "--epochs=0"]
    how = {"ADABATCH_LAUNCHER": launcher, "HOROVODRUN_FLAGS": "--gloo", "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        ["launch/run", "-n", "2", *adabatch, "--out", str(tmp_path / "run")],
        env=os.environ | how,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert "epochs: given 0" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert [path for path in tmp_path.iterdir() if not path.name.startswith("torchelastic_")] == []  # torchrun's logs


def test_launch_run_hands_a_stop_on_to_the_ranks_of_torchrun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the stop file: torchrun would give them 30 s after SIGTERM, and is ended by USR2 itself."""
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    (tmp_path / "temporary").mkdir()
    out = tmp_path / "run"
    train = [
        sys.executable,
        "-m",
        "hpc_adabatch",
        "train",
        "recipes/quickstart.yaml",
        "--epochs=1000",
        "--out",
        str(out),
    ]
    process = subprocess.Popen(
        ["launch/run", "-n", "2", *train, "--journal_every=1"],
        env=os.environ | {"ADABATCH_LAUNCHER": "torchrun", "TMPDIR": str(tmp_path / "temporary")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
    )
    try:
        while (
            not (out / "journal.jsonl").exists() or (out / "journal.jsonl").read_text(encoding="utf-8").count("\n") < 20
        ):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGUSR2)
        assert process.wait(timeout=120) == 75
    finally:
        process.terminate()
    end = json.loads((out / "journal.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    assert (end["kind"], end["reason"]) == ("end", "stop file")
    assert (out / "checkpoint" / "last.pt").exists()
    assert not (out / "result.json").exists()
    assert not list((tmp_path / "temporary").glob("adabatch-*")), "the stop file and the code are left"
