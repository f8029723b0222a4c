"""Files of a study: all or nothing on a disk that is full, closed, or shared with another submit."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpc_adabatch.errors import InputError
from hpc_adabatch.study import submissions
from hpc_adabatch.study.folder import StudyFolder

sys.path.insert(0, str(Path(__file__).parent / "fakes"))
from planned import RECIPE, ROOT, planned

pytestmark = pytest.mark.long


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    line = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    mounted = os.geteuid() == 0 and subprocess.run(line, capture_output=True, check=False).returncode == 0
    if not mounted:
        pytest.skip("only root may mount a small disk")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def fill(disk: Path) -> Path:
    path = disk / "full"
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 1024)
        except OSError:
            return path


def test_the_plan_is_there_with_its_copies(tmp_path: Path) -> None:
    study, folder = planned(tmp_path)
    assert folder.load() == study
    assert folder.recipe.read_bytes() == Path(RECIPE).read_bytes()
    assert folder.script.read_bytes() == Path(study.template).read_bytes()
    assert [path.name for path in folder.path.parent.iterdir()] == ["scaling"]
    with pytest.raises(InputError, match=r"NAME: given .*scaling, which exists; allowed: a new name"):
        folder.create(study)


def test_a_full_disk_leaves_no_half_of_a_plan(tmp_path: Path, tiny_disk: Path) -> None:
    study, _ = planned(tmp_path)
    folder = StudyFolder(tiny_disk, "scaling")
    filler = fill(tiny_disk)
    with pytest.raises(InputError, match=r"folder: given .*scaling \(No space left on device\)"):
        folder.create(study)
    assert list(tiny_disk.iterdir()) == [filler]
    filler.unlink()
    folder.create(study)
    assert folder.load() == study


def test_a_full_disk_keeps_the_old_results_and_the_lines_before(tmp_path: Path, tiny_disk: Path) -> None:
    study, _ = planned(tmp_path)
    folder = StudyFolder(tiny_disk, "scaling")
    folder.create(study)
    folder.replace(folder.results, "old\n")
    submissions.write(folder, "a", 1, command=["x"])
    filler = fill(tiny_disk)
    with pytest.raises(InputError, match="No space left"):
        folder.replace(folder.results, "new\n" * 5000)
    with pytest.raises(InputError, match="No space left"):
        submissions.write(folder, "a", 1, job_id="7" * 20000)
    assert folder.results.read_text() == "old\n"
    filler.unlink()
    submissions.write(folder, "a", 1, job_id="7")
    assert [attempt.job_id for attempt in submissions.read(folder)["a"]] == ["7"]
    assert not list(folder.path.glob(".*"))


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    study, _ = planned(tmp_path)
    with pytest.raises(InputError, match=r"folder: given /proc/studies/scaling"):
        StudyFolder(Path("/proc/studies"), "scaling").create(study)


def test_a_line_that_was_cut_short_swallows_no_other(tmp_path: Path) -> None:
    _, folder = planned(tmp_path)
    submissions.write(folder, "a", 1, command=["x"])
    with folder.submissions.open("ab") as file:
        file.write(b'{"cell": "a", "attempt": 1, "time": "2024-11-21T14:3')
    submissions.write(folder, "a", 1, job_id="7")
    submissions.write(folder, "b", 1, command=["x"])
    found = submissions.read(folder)
    assert {cell: [attempt.job_id for attempt in attempts] for cell, attempts in found.items()} == {
        "a": ["7"],
        "b": [None],
    }


def test_a_damaged_plan_is_said(tmp_path: Path) -> None:
    study, folder = planned(tmp_path)
    content = json.loads(folder.study.read_text())
    del content["cells"][0]["verb"]
    folder.study.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"study.json: given one that cannot be read"):
        folder.load()
    with pytest.raises(InputError, match=r"/other \(FileNotFoundError\); allowed: a study that was planned"):
        StudyFolder(folder.path.parent, "other").load()
    assert study.cells


HOLD = """
import sys, time
from pathlib import Path
from hpc_adabatch.study.folder import StudyFolder
import subprocess
with StudyFolder(Path(sys.argv[1]), "scaling").lock() as lock:
    child = subprocess.Popen(["sleep", "60"], pass_fds=(lock,), stdout=subprocess.DEVNULL)
    print(child.pid, flush=True)
    time.sleep(60)
"""


def test_the_lock_says_who_holds_it_and_outlives_its_process_in_a_child(tmp_path: Path) -> None:
    _, folder = planned(tmp_path)
    assert not folder.in_use()
    line = [sys.executable, "-c", HOLD, str(folder.path.parent)]
    holder = subprocess.Popen(line, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert holder.stdout is not None
    child = int(holder.stdout.readline())
    try:
        assert folder.in_use()
        with pytest.raises(InputError, match=rf"which is in use by process {holder.pid} on \S+ since"), folder.lock():
            pass
        holder.kill()
        holder.wait()
        assert folder.in_use()
    finally:
        os.kill(child, signal.SIGKILL)
        holder.kill()
        holder.stdout.close()
        holder.wait()
    while folder.in_use():
        time.sleep(0.05)
    with folder.lock():
        assert folder.in_use()
    assert not folder.in_use()


HOLD_WITHOUT_LOCKS = """
import fcntl, sys, time
from pathlib import Path
from hpc_adabatch.study.folder import StudyFolder

def refuse(*_):
    raise OSError(int(sys.argv[2]), "no locks here")

fcntl.flock = refuse
with StudyFolder(Path(sys.argv[1]), "scaling").lock() as lock:
    print("mine", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_without_locks_of_the_file_system_a_file_tells_who_submits(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lustre mounted without flock: every verb was a traceback."""

    def refuse(*_: object) -> None:
        raise OSError(number, "no locks here")

    monkeypatch.setattr(fcntl, "flock", refuse)
    _, folder = planned(tmp_path)
    assert not folder.in_use()
    line = [sys.executable, "-c", HOLD_WITHOUT_LOCKS, str(folder.path.parent), str(number)]
    holder = subprocess.Popen(line, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == "mine\n"
        assert folder.in_use()
        taken = rf"^NAME: given .*process {holder.pid} on \S+ .*: wait for its end"
        with pytest.raises(InputError, match=taken), folder.lock():
            pass
    finally:
        holder.kill()
        holder.stdout.close()
        holder.wait()
    assert not folder.in_use()
    with folder.lock():
        assert folder.in_use()
    assert not folder.in_use()
    assert not (folder.path / "owner.json").exists()


def test_another_fault_of_the_lock_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", refuse)
    _, folder = planned(tmp_path)
    with pytest.raises(InputError, match=r"^folder: given .*lock \(Input/output error\)"), folder.lock():
        pass


def test_a_path_that_sbatch_would_read_otherwise_is_refused(tmp_path: Path) -> None:
    for name in ("back\\slash", "new\nline"):
        with pytest.raises(InputError, match="a path without control characters"):
            StudyFolder(tmp_path / name, "scaling")
