"""A folder has one owner: the living keep it, the dead lose it, and of many who start at once one gets it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hpc_adabatch.errors import InputError
from hpc_adabatch.run import owner
from hpc_adabatch.run.folder import RunFolder, new_folder
from hpc_adabatch.run.owner import Owner

pytestmark = pytest.mark.long

CLAIM = """
import sys, time
from pathlib import Path
from hpc_adabatch.errors import InputError
from hpc_adabatch.run.owner import Owner
print("ready", flush=True)
sys.stdin.readline()
try:
    Owner(Path(sys.argv[1])).claim()
except InputError as error:
    print(f"refused {error}", flush=True)
else:
    print("claimed", flush=True)
sys.stdin.readline()
"""
Starter = "subprocess.Popen[str]"


@pytest.fixture
def starters() -> Iterator[Any]:
    """starters(folder, n): so many processes, each of which claims the folder when it is told a line."""
    made: list[subprocess.Popen[str]] = []

    def begin(folder: Path, count: int, **variables: str) -> list[subprocess.Popen[str]]:
        line = [sys.executable, "-c", CLAIM, str(folder)]
        pipe, environment = subprocess.PIPE, os.environ | variables
        new = [subprocess.Popen(line, stdin=pipe, stdout=pipe, text=True, env=environment) for _ in range(count)]
        made.extend(new)
        for process in new:
            assert said(process) == "ready"
        return new

    yield begin
    for process in made:
        process.kill()
        process.wait()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin
    process.stdin.write("\n")
    process.stdin.flush()


def claimed(processes: list[subprocess.Popen[str]]) -> list[subprocess.Popen[str]]:
    """All claim at once; those that got the folder."""
    for process in processes:
        tell(process)
    words = [said(process) for process in processes]
    for word in words:
        assert word == "claimed" or (word.startswith("refused folder: given") and "in which process" in word)
    return [process for process, word in zip(processes, words, strict=True) if word == "claimed"]


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def elsewhere(folder: Path, *, silent_s: float = 0.0, **fields: Any) -> None:
    """An owner on another host, whose last sign is so old."""
    known = {"host": "node7", "space": "another boot", "pid": 1, "started": "5", "job": None, "restarts": 0}
    (folder / "owner.json").write_text(json.dumps(known | fields), encoding="utf-8")
    now = time.time()
    os.utime(folder / "owner.json", (now - silent_s, now - silent_s))


def test_of_many_who_start_at_once_one_gets_the_folder(starters: Any, tmp_path: Path) -> None:
    (winner,) = claimed(starters(tmp_path, 4))
    assert json.loads((tmp_path / "owner.json").read_text(encoding="utf-8"))["pid"] == winner.pid
    assert files(tmp_path) == ["owner.json"]


def test_of_many_who_follow_a_killed_owner_one_gets_the_folder(starters: Any, tmp_path: Path) -> None:
    processes = starters(tmp_path, 5)
    (killed,) = claimed(processes[:1])
    killed.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, killed.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and stays as a zombie
    (winner,) = claimed(processes[1:])
    assert json.loads((tmp_path / "owner.json").read_text(encoding="utf-8"))["pid"] == winner.pid
    assert files(tmp_path) == ["owner.json"]


def test_a_living_owner_keeps_the_folder_and_gives_it_up_at_its_end(starters: Any, tmp_path: Path) -> None:
    (living,) = claimed(starters(tmp_path, 1))
    before = (tmp_path / "owner.json").read_bytes()
    folder = RunFolder(tmp_path)
    line = rf"^out: given {tmp_path}, in which process {living.pid} on \S+ writes \(last sign \d+ s ago\); allowed: "
    with pytest.raises(InputError, match=line):
        folder.claim(resume=True)
    assert (tmp_path / "owner.json").read_bytes() == before
    assert files(tmp_path) == ["owner.json"]
    living.send_signal(signal.SIGSTOP)
    with pytest.raises(InputError, match=line):  # frozen here, it lives
        folder.claim(resume=True)
    living.send_signal(signal.SIGCONT)
    tell(living)
    living.wait()
    assert files(tmp_path) == []
    folder.claim(resume=True)
    folder.owner.release()
    assert files(tmp_path) == []


def test_a_requeued_job_takes_over_at_once_and_another_job_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: elsewhere(tmp_path, silent_s=-5, job="81", restarts=1))  # it lives
    for job, restarts in (("82", "2"), ("81", "1")):
        elsewhere(tmp_path, silent_s=5, job="81", restarts=1)
        monkeypatch.setenv("SLURM_JOB_ID", job)
        monkeypatch.setenv("SLURM_RESTART_COUNT", restarts)
        with pytest.raises(InputError, match=r"in which process 1 on node7 \(Slurm job 81\) writes"):
            Owner(tmp_path).claim()
        assert "waits for a sign of process 1 on node7 (Slurm job 81), at most 120 s" in capsys.readouterr().out
    monkeypatch.setenv("SLURM_RESTART_COUNT", "2")
    mine = Owner(tmp_path)
    mine.claim()
    assert json.loads((tmp_path / "owner.json").read_text(encoding="utf-8"))["pid"] == os.getpid()
    mine.release()


@pytest.mark.parametrize("clock_s", [-7200, 0, 7200])
def test_an_owner_on_another_host_is_gone_after_two_silent_minutes_of_the_file_systems_clock(
    clock_s: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock of this host may be wrong by hours."""
    elsewhere(tmp_path, silent_s=60)
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + clock_s)
    looks: list[float] = []

    def sleep(seconds: float) -> None:  # a minute
        looks.append(seconds)
        monkeypatch.undo()
        elsewhere(tmp_path, silent_s=121)

    monkeypatch.setattr(time, "sleep", sleep)
    mine = Owner(tmp_path)
    mine.claim()
    assert looks == [owner.LOOK_S]
    mine.release()


NEWER = json.dumps(
    {"format": 2, "host": "x", "space": "y", "pid": 1, "started": "5", "job": None, "restarts": 0}
).encode()
WRONG = json.dumps({"host": "x", "space": "y", "pid": 10**30, "started": "5", "job": None, "restarts": 0}).encode()


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"pid": 1}', b"\0" * 64, b'"x"', NEWER, WRONG, b"[" * 10**5])
def test_a_damaged_file_counts_as_an_owner_until_it_is_old(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "owner.json"
    path.write_bytes(content)
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        os.utime(path, (1, 1))

    monkeypatch.setattr(time, "sleep", sleep)
    mine = Owner(tmp_path)
    mine.claim()
    assert waited == [owner.LOOK_S]
    mine.release()
    assert files(tmp_path) == []


def test_a_folder_in_the_place_of_the_file_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "owner.json").mkdir()
    with pytest.raises(InputError, match=r"^out: given .*owner.json \(Is a directory\); allowed"):
        Owner(tmp_path).claim()


def test_a_link_to_nowhere_in_the_place_of_the_file_is_said_in_one_line(tmp_path: Path) -> None:
    """There was no owner, and no file could be made: it was tried for ever."""
    (tmp_path / "owner.json").symlink_to("nowhere")
    with pytest.raises(InputError, match=r"^out: given .*owner.json \(a link to nowhere\); allowed"):
        Owner(tmp_path).claim()


def test_an_owner_of_a_newer_release_keeps_the_folder_while_it_gives_signs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere(tmp_path, silent_s=60, format=2)
    monkeypatch.setattr(time, "sleep", lambda _: os.utime(tmp_path / "owner.json"))
    with pytest.raises(InputError, match=r"in which whoever wrote owner.json, which cannot be read writes .*--out DIR"):
        Owner(tmp_path).claim()
    assert files(tmp_path) == ["owner.json"]


def test_a_successor_killed_halfway_is_followed_in_turn(starters: Any, tmp_path: Path) -> None:
    """Its file behind that of the owner before had not become owner.json yet."""
    processes = starters(tmp_path, 3)
    for process in processes[:2]:
        claimed([process])
        process.kill()
        process.wait()
        content = (tmp_path / "owner.json").read_bytes()
        if process is processes[0]:
            first = content
    key = owner.Writer(**json.loads(first)).key
    (tmp_path / "owner.json").write_bytes(first)
    (tmp_path / f".owner-after-{key}.json").write_bytes(content)
    (winner,) = claimed(processes[2:])
    assert json.loads((tmp_path / "owner.json").read_text(encoding="utf-8"))["pid"] == winner.pid


def test_a_sign_makes_the_file_new_and_an_owner_that_was_taken_for_gone_ends(tmp_path: Path) -> None:
    mine = Owner(tmp_path)
    mine.claim()
    os.utime(tmp_path / "owner.json", (1, 1))
    mine.sign()
    assert time.time() - (tmp_path / "owner.json").stat().st_mtime < 60
    (tmp_path / "owner.json").unlink()
    mine.sign()
    assert files(tmp_path) == ["owner.json"]
    if (child := os.fork()) == 0:  # the same claim, of which only the process ends
        os.close(2)
        elsewhere(tmp_path)
        mine.sign()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == owner.EXIT_CODE
    mine.release()
    assert files(tmp_path) == ["owner.json"]  # another's is left alone


def test_runs_named_in_the_same_second_get_folders_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "quickstart-20260101-000000"
    assert [new_folder(path).name for _ in range(3)] == [path.name, f"{path.name}-2", f"{path.name}-3"]
    assert new_folder(Path("/proc/runs/x")) == Path("/proc/runs/x")
