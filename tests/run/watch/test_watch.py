"""Runs that are watched while they train, from outside: they end, stop, die, go on, and are yet to start."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hpc_adabatch.errors import InputError
from hpc_adabatch.run.watch import watch as module
from hpc_adabatch.run.watch.watch import Watch, watch

pytestmark = pytest.mark.long
JOURNALS = Path(__file__).resolve().parents[2] / "journals"
ADABATCH = [sys.executable, "-m", "hpc_adabatch"]
LONG = ("--epochs=2000", "--policy.interval=1")


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """start("train", ...): a command, which is ended with the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: object) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(
            [*ADABATCH, *map(str, words)],
            stdout=pipe,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored where tests run in a background
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def until_there_are(lines: int, journal: Path) -> None:
    deadline = time.monotonic() + 60
    while not (journal.exists() and journal.read_bytes().count(b"\n") >= lines):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_run_from_before_its_start_to_its_end(start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    watched = start("watch", folder, "--wait_s", "60")
    trained = start("train", "quickstart", f"--out={folder}", "--epochs=12")
    out = watched.communicate(timeout=120)[0]
    trained.communicate(timeout=60)
    assert (watched.returncode, trained.returncode) == (0, 0), out
    records = [json.loads(line) for line in (folder / "journal.jsonl").read_text(encoding="utf-8").splitlines()]
    assert out.startswith("quickstart: digits, small_cnn, adabatch with sgd; 1 rank on 1 node\nepoch ")
    last = [record for record in records if record["kind"] == "evaluation"][-1]
    assert f"test accuracy {last['metric']:.4f} in epoch 12" in out
    assert "batch 16 to 32 at epoch 6.00: change 1: every 6 epochs" in out
    assert f"results        {folder / 'result.json'}" in out


@pytest.mark.parametrize(
    ("sent", "code", "stands"),
    [
        (signal.SIGTERM, 75, "stopped at epoch"),
        (signal.SIGINT, 130, "stopped at epoch"),
        (signal.SIGKILL, 75, "its journal has no end"),
    ],
)
def test_a_run_that_is_ended(
    start: Start,
    sent: signal.Signals,
    code: int,
    stands: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(module, "ASK_EVERY_S", 1.0)
    trained = start("train", "quickstart", f"--out={tmp_path / 'run'}", *LONG)
    until_there_are(10, tmp_path / "run" / "journal.jsonl")
    trained.send_signal(sent)
    trained.communicate(timeout=60)
    assert watch(tmp_path / "run", 0.0) == code
    assert stands in capfd.readouterr().out


def test_a_run_that_stops_and_goes_on(start: Start, tmp_path: Path) -> None:
    folder, words = tmp_path / "run", ("quickstart", "--epochs=40", "--resume=auto", "--checkpoint_steps=20")
    trained = start("train", *words, f"--out={folder}")
    until_there_are(30, folder / "journal.jsonl")
    watched = start("watch", folder, "--wait_s", "60")
    trained.send_signal(signal.SIGTERM)
    trained.communicate(timeout=60)
    assert trained.returncode == 75
    trained = start("train", *words, f"--out={folder}")
    out = watched.communicate(timeout=120)[0]
    trained.communicate(timeout=60)
    assert (watched.returncode, trained.returncode) == (0, 0), out
    assert out.count("results  ") == 1
    assert "test accuracy" in out


def test_a_run_that_diverged(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lines = (JOURNALS / "adabatch.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    end = {**json.loads(lines[-1]), "kind": "end", "reason": "diverged: 100 steps in a row were skipped"}
    (tmp_path / "journal.jsonl").write_text("".join(lines[:-1]) + json.dumps(end) + "\n", encoding="utf-8")
    assert watch(tmp_path, 3600.0) == 70  # it does not go on: nobody waits
    assert "diverged at epoch" in capfd.readouterr().out


def test_a_panel_in_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_bytes((JOURNALS / "noise_scale.jsonl").read_bytes())
    ours, theirs = pty.openpty()
    process = subprocess.Popen([*ADABATCH, "watch", tmp_path], stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 65536):
            shown += piece
    except OSError:  # as Linux ends a terminal
        pass
    os.close(ours)
    assert process.wait(60) == 0
    for words in (b"100 % of the run", b"noise scale", b"last change", b"samples/s"):
        assert words in shown


def test_ctrl_c_ends_the_watching_and_not_the_run(start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    trained = start("train", "quickstart", f"--out={folder}", *LONG)
    until_there_are(10, folder / "journal.jsonl")
    watched = start("watch", folder)
    assert watched.stdout.readline().startswith("quickstart: digits")
    watched.send_signal(signal.SIGINT)
    assert "watched no longer" in watched.communicate(timeout=60)[0]
    assert watched.returncode == 130
    assert trained.poll() is None


def test_no_run_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"RUN: given .*, in which there is no run; allowed: .*--wait_s 3600"):
        watch(tmp_path / "none", 0.0)


def test_lines_that_are_not_those_of_a_run_are_told_in_one(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_text('{"kind": "start", "cursor": 0}\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"RUN: given .* \(without epochs\)"):
        watch(tmp_path, 0.0)


def test_a_journal_read_again_is_not_told_again(tmp_path: Path) -> None:
    content = (JOURNALS / "adabatch.jsonl").read_bytes()
    lines = content.splitlines(keepends=True)
    journal = tmp_path / "journal.jsonl"
    journal.write_bytes(b"".join(lines[:-1]))
    watched = Watch(tmp_path)
    assert len(watched.look()) == 2
    assert watched.look() == []
    journal.write_bytes(b"".join(lines[: len(lines) // 2]))  # it went back to a checkpoint
    assert len(watched.look()) == 2
    journal.write_bytes(content)
    told = watched.look()
    assert sum(text.startswith("test accuracy") for text in told) > 0
    assert not any(text.startswith("quickstart") for text in told)
