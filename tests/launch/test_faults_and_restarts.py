"""Property 4 of CONTRIBUTING with real ranks: a run stopped or killed and resumed equals the one left alone."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from hpc_adabatch.training import journal

pytestmark = pytest.mark.launch
RUN = [
    "train",
    "recipes/quickstart.yaml",
    "--epochs=4",
    "--journal_every=1",
    "--max_micro_batch=5",
    "--checkpoint_steps=37",
    "--policy=schedule",
    "--policy.text=0:16 1000sa:24 3001sa:8",
    "--optimizer.lr=0.001",
]


def state(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "checkpoint" / "last.pt", weights_only=True)["training"]


def records(folder: Path) -> list[dict[str, Any]]:
    path = folder / "journal.jsonl"
    return journal.read(path) if path.exists() else []


def assert_same_training(found: Path, reference: Path) -> None:
    """Bitwise equal weights, momentum and journal of statistics."""
    a, b = state(found), state(reference)
    for name, weights in b["model"].items():
        assert torch.equal(a["model"][name], weights), name
    for key, buffers in b["optimizer"]["state"].items():
        assert torch.equal(a["optimizer"]["state"][key]["momentum_buffer"], buffers["momentum_buffer"])
    assert {k: v for k, v in a.items() if k not in ("model", "optimizer")} == {
        k: v for k, v in b.items() if k not in ("model", "optimizer")
    }
    kept = ("step", "cursor", "loss", "learning_rate", "global_batch")
    lines = [[{k: r[k] for k in kept} for r in records(run) if r["kind"] == "statistics"] for run in (found, reference)]
    assert lines[0] == lines[1]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, adabatch: Any) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    adabatch(*RUN, "--out", folder)
    return folder


def disturb(
    start: Callable[..., subprocess.Popen[str]],
    out: Path,
    at_step: int,
    how: Callable[[int], None],
    run: list[str] = RUN,
    launcher: str = "mpirun",
    ranks: int = 2,
) -> int:
    """Starts the run, waits for a step, does something to it, returns the exit code."""
    process = start("-m", "hpc_adabatch", *run, "--out", out, launcher=launcher, ranks=ranks)
    deadline = time.monotonic() + 90
    while not any(record["step"] >= at_step for record in records(out)):
        assert process.poll() is None, "the run ended too early"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    how(process.pid)
    return process.wait(timeout=60)


def wait_for_owner(folder: Path) -> None:
    """Waits until no rank holds the folder: torchrun may end before the ranks that it has told to."""
    owner, deadline = folder / "owner.json", time.monotonic() + 60
    while owner.exists() and Path(f"/proc/{json.loads(owner.read_text(encoding='utf-8'))['pid']}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def one_rank(launcher_pid: int) -> int:
    """Process id of one of the ranks that mpirun started."""
    children = subprocess.run(["pgrep", "-P", str(launcher_pid)], capture_output=True, text=True, check=True)
    return int(children.stdout.split()[0])


DISTURBANCES: dict[str, tuple[Callable[[int], None], int | None]] = {  # what is done to mpirun, its exit code
    "SIGTERM to mpirun": (lambda pid: os.kill(pid, signal.SIGTERM), None),
    "SIGTERM to one rank": (lambda pid: os.kill(one_rank(pid), signal.SIGTERM), 75),
    "SIGINT to one rank": (lambda pid: os.kill(one_rank(pid), signal.SIGINT), 130),
    "SIGKILL of one rank": (lambda pid: os.kill(one_rank(pid), signal.SIGKILL), 137),
}


@pytest.mark.parametrize("disturbance", DISTURBANCES)
def test_a_disturbed_run_goes_on_exactly(
    disturbance: str, adabatch: Any, start: Any, undisturbed: Path, tmp_path: Path
) -> None:
    how, expected = DISTURBANCES[disturbance]
    code = disturb(start, tmp_path / "run", 130, how)
    assert code == expected or (expected is None and code != 0)
    assert not (tmp_path / "run" / "result.json").exists()
    adabatch(*RUN, "--out", tmp_path / "run", "--resume", "auto")
    assert_same_training(tmp_path / "run", undisturbed)
    results = [json.loads((run / "result.json").read_text(encoding="utf-8")) for run in (tmp_path / "run", undisturbed)]
    for name in ("metric", "batches", "steps", "samples_seen"):
        assert results[0][name] == results[1][name]


def test_what_torchrun_has_begun_goes_on_under_horovod_exactly(
    adabatch: Any, start: Any, undisturbed: Path, tmp_path: Path
) -> None:
    """A sum of two ranks has two terms, so both engines come to the same bits."""
    stop = DISTURBANCES["SIGTERM to one rank"][0]
    assert disturb(start, tmp_path / "run", 130, stop, launcher="torchrun") == 1  # whatever its ranks end with
    wait_for_owner(tmp_path / "run")
    adabatch(*RUN, "--out", tmp_path / "run", "--resume", "auto")
    assert_same_training(tmp_path / "run", undisturbed)


def test_ranks_that_torchrun_starts_again_go_on_exactly(start: Any, undisturbed: Path, tmp_path: Path) -> None:
    """Torchrun keeps its store, in which the new ranks found the addresses of the old ones."""
    kill, run = DISTURBANCES["SIGKILL of one rank"][0], [*RUN, "--resume", "auto"]
    assert disturb(start, tmp_path / "run", 130, kill, run, launcher="torchrun, once more") == 0
    assert_same_training(tmp_path / "run", undisturbed)
    kinds = [record["kind"] for record in records(tmp_path / "run")]
    assert (kinds.count("start"), kinds.count("resume"), kinds.count("end")) == (1, 1, 1)


def test_torchrun_that_is_killed_leaves_no_rank_behind(start: Any, tmp_path: Path) -> None:
    started: list[int] = []

    def kill(launcher_pid: int) -> None:
        started.extend(processes_of(launcher_pid))
        os.kill(launcher_pid, signal.SIGKILL)

    disturb(start, tmp_path / "run", 20, kill, launcher="torchrun")
    assert len(started) >= 3
    wait_until_gone(started)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of noise, 60 training images and 4 test images each."""
    root, draw = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for part, n_images in (("train", 60), ("test", 4)):
        for kind in ("a", "b"):
            (root / part / kind).mkdir(parents=True)
            for number in range(n_images):
                pixels = draw.integers(256, size=(16, 16, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / part / kind / f"{number}.png")
    return root


def processes_of(pid: int) -> list[int]:
    """The process and all that it has started."""
    found, lines = [pid], subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = [tuple(map(int, line.split())) for line in lines.splitlines()]
    for parent in found:
        found += [child for child, its_parent in parents if its_parent == parent]
    return found


def wait_until_gone(processes: list[int]) -> None:
    """Waits for the end of all of them; the first is the launcher, which this process waits for itself."""
    deadline = time.monotonic() + 60
    while left := [pid for pid in processes[1:] if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < deadline, f"left behind: {left}"
        time.sleep(0.02)


def stop_groups(launcher_pid: int) -> None:
    """SIGTERM to the process group of each rank, as mpirun and batch systems send it: the loaders' workers too."""
    for group in {os.getpgid(pid) for pid in processes_of(launcher_pid)[1:]}:
        os.killpg(group, signal.SIGTERM)


def stop_all(launcher_pid: int) -> None:
    """SIGTERM to every process of the job, the launcher's own too, as scancel sends it."""
    for pid in processes_of(launcher_pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


@pytest.fixture(scope="module")
def reading_run(tmp_path_factory: pytest.TempPathFactory, images: Path, adabatch: Any) -> tuple[list[str], Path]:
    """Arguments of a run with loader workers, and the folder of the undisturbed one."""
    run = ["train", "recipes/cifar10-resnet20-adabatch.yaml", "--task.root", str(images), "--model=small_cnn"]
    run += ["--epochs=4", "--global_batch=4", "--journal_every=1", "--precision=float32", "--optimizer.lr=0.001"]
    run += ["--task.memory_gb=0", "--workers=2"]
    folder = tmp_path_factory.mktemp("reading") / "run"
    adabatch(*run, "--out", folder)
    return run, folder


@pytest.mark.parametrize(
    ("launcher", "how", "expected"), [("mpirun", stop_groups, 75), ("horovodrun --gloo", stop_all, 1)]
)
def test_a_stop_of_the_whole_job_leaves_the_workers_to_their_ranks(
    launcher: str,
    how: Callable[[int], None],
    expected: int,
    adabatch: Any,
    start: Any,
    reading_run: tuple[list[str], Path],
    tmp_path: Path,
) -> None:
    """Story: the workers died first, and the ranks of that, without a checkpoint."""
    run, undisturbed = reading_run
    started: list[int] = []

    def stop(launcher_pid: int) -> None:
        started.extend(processes_of(launcher_pid))
        how(launcher_pid)

    assert disturb(start, tmp_path / "run", 10, stop, run, launcher) == expected
    assert len(started) >= 1 + 2 + 4
    wait_until_gone(started)
    end = records(tmp_path / "run")[-1]
    assert (end["kind"], end["reason"]) == ("end", "SIGTERM")
    assert state(tmp_path / "run")["steps"] == end["step"]
    adabatch(*run, "--out", tmp_path / "run", "--resume", "auto")
    assert_same_training(tmp_path / "run", undisturbed)


def test_a_run_goes_on_with_any_number_of_ranks_under_any_launcher(adabatch: Any, start: Any, tmp_path: Path) -> None:
    """Ranks add in other orders, which rounds otherwise. A network without kinks keeps that small.

    Bug story of the test: a rectifier or a maximum may fall to the other side, with or without a restart, and then
    weights are 1e-3 apart.
    """
    run = [*RUN, "--model=lstm_1x32", "--task.augment=false", "--optimizer.lr=0.01"]
    out, undisturbed = tmp_path / "run", tmp_path / "undisturbed"
    adabatch(*run, "--out", undisturbed)

    def stop(_: int) -> None:
        os.kill(json.loads((out / "owner.json").read_text(encoding="utf-8"))["pid"], signal.SIGTERM)

    for ranks, launcher, step in ((2, "mpirun", 60), (3, "horovodrun --gloo", 130), (1, "plain", 200)):
        disturb(start, out, step, stop, [*run, "--resume", "auto"], launcher, ranks)
        assert records(out)[-1]["reason"] == "SIGTERM"
    adabatch(*run, "--out", out, "--resume", "auto", ranks=4, launcher="torchrun")
    found, reference = state(out), state(undisturbed)
    assert found["plan"] == reference["plan"]
    for name, weights in reference["model"].items():
        torch.testing.assert_close(found["model"][name], weights, rtol=1e-5, atol=1e-6)
    lines = [[r for r in records(run) if r["kind"] == "statistics"] for run in (out, undisturbed)]
    for name in ("step", "cursor", "global_batch", "learning_rate"):
        assert [line[name] for line in lines[0]] == [line[name] for line in lines[1]], name
    losses = [[line["loss"] for line in of] for of in lines]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)  # another sample in a step would show at once


def test_a_complete_run_is_left_as_it_is(adabatch: Any, undisturbed: Path) -> None:
    before = (undisturbed / "result.json").read_bytes(), (undisturbed / "journal.jsonl").read_bytes()
    assert "complete" in adabatch(*RUN, "--out", undisturbed, "--resume", "auto").stdout
    assert before == ((undisturbed / "result.json").read_bytes(), (undisturbed / "journal.jsonl").read_bytes())


def test_a_complete_run_may_be_prolonged(adabatch: Any, undisturbed: Path, tmp_path: Path) -> None:
    adabatch(*RUN, "--epochs=2", "--out", tmp_path / "run")
    adabatch(*RUN, "--out", tmp_path / "run", "--resume", "auto")
    assert_same_training(tmp_path / "run", undisturbed)
    result = json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8"))
    assert result["epochs"] == 4
    assert result["samples_seen"] == 4 * 1437


@pytest.mark.parametrize("launcher", ["mpirun", "horovodrun --gloo", "torchrun"])
def test_a_fault_on_one_rank_ends_all_and_shows_its_traceback_once(
    launcher: str, launch: Any, programs: Path, tmp_path: Path
) -> None:
    arguments = ["train", "recipes/quickstart.yaml", "--out", tmp_path / "run"]
    done = launch(programs / "fault.py", *arguments, ranks=3, launcher=launcher, code=1, timeout_s=60)
    text = done.stdout + done.stderr
    assert text.count("ZeroDivisionError: a fault on one rank") == 1
    assert "rank 1: Traceback" in text
    assert not (tmp_path / "run" / "result.json").exists()


def test_a_folder_in_which_a_run_writes_is_refused_and_left_alone(adabatch: Any, start: Any, tmp_path: Path) -> None:
    out = tmp_path / "run"

    def again(_: int) -> None:
        owner = json.loads((out / "owner.json").read_text(encoding="utf-8"))["pid"]
        os.kill(owner, signal.SIGSTOP)  # it lives, and does not come to its end meanwhile
        words = adabatch(*RUN, "--out", out, "--resume", "auto", code=2).stderr
        assert words.count("adabatch: error") == 1
        assert f"out: given {out}, in which process {owner} on " in words
        os.kill(owner, signal.SIGKILL)

    assert disturb(start, out, 130, again) == 137
    kinds = [record["kind"] for record in records(out)]
    assert (kinds.count("start"), kinds.count("resume")) == (1, 0)


@pytest.mark.parametrize(
    ("how", "launcher", "code"),
    [
        *(("leaves", "mpirun", 75), ("leaves", "horovodrun --gloo", 1), ("leaves", "torchrun", 1)),
        *(("freezes", "mpirun", 75), ("freezes", "horovodrun --gloo", 1), ("freezes", "mpirun, torch", 75)),
        ("freezes", "torchrun", 1),
    ],
)
def test_a_script_that_loses_a_rank_is_ended_and_told_which(
    how: str, launcher: str, code: int, launch: Any, programs: Path
) -> None:
    """Bug story: the ranks of a script waited for each other for ever; then, for a watchdog's ten minutes."""
    done = launch(programs / "lost.py", how, launcher=launcher, code=code, fresh=True)
    text = done.stdout + done.stderr
    assert "rank 0: " in text
    if how == "leaves":
        assert "all ranks wait for each other for 2 s: rank 1 on " in text
        assert ", in the end, where all ranks meet, waits too; this one is in step 6, at " in text
    else:
        assert "rank 1 on " in text
        assert "has not been heard for 2 s: frozen, or cut off; this one is in step 6, at " in text


def test_a_rank_that_has_died_is_named_where_no_launcher_ends_the_others(tmp_path: Path) -> None:
    """Bug story: a closed connection ended the others at once with 1, as a fault of the program, and named nobody."""
    with socket.socket() as free:
        free.bind(("", 0))
        port = str(free.getsockname()[1])
    variables = os.environ | {"MASTER_ADDR": "localhost", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "by hand"}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-m", "hpc_adabatch", *RUN, "--epochs=1000", "--out", tmp_path / "run"],
            env=variables | {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": "2"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in ("0", "1")
    ]
    deadline = time.monotonic() + 90
    while not any(record["step"] >= 20 for record in records(tmp_path / "run")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    ranks[1].kill()
    _, said = ranks[0].communicate(timeout=60)
    ranks[1].communicate()
    assert ranks[0].returncode == 75
    assert re.search(r"^adabatch: rank 0: rank 1 on .* is gone; this one is in step \d+, .*; ends with 75;", said, re.M)


def test_a_frozen_rank_ends_the_run_and_none_is_left_behind(
    start: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADABATCH_STALL_S", "3")
    started: list[int] = []

    def freeze(launcher_pid: int) -> None:
        started.extend(processes_of(launcher_pid))
        os.kill(one_rank(launcher_pid), signal.SIGSTOP)

    assert disturb(start, tmp_path / "run", 20, freeze) == 75
    wait_until_gone(started)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB, which has room for one checkpoint of the quickstart."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], check=False).returncode:
        pytest.skip("only root may mount a disk")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_full_disk_ends_all_ranks_with_one_line_and_leaves_the_last_good_checkpoint(
    adabatch: Any, small_disk: Path
) -> None:
    """Bug story: rank 0 ended with torch's "unexpected pos", and the others waited for it."""
    run = ["train", "recipes/quickstart.yaml", "--epochs=3", "--out", small_disk / "run"]
    done = adabatch(*run, code=74)
    text = done.stdout + done.stderr
    assert text.count("checkpoint/last.pt cannot be written: No space left on device; ") == 2
    assert text.count("warning: ") == 1  # after the second epoch; the third was the last
    assert "Traceback" not in text
    assert [path.name for path in (small_disk / "run" / "checkpoint").iterdir()] == ["last.pt"]
    subprocess.run(["mount", "-o", "remount,size=50m", small_disk], check=True)
    assert "resumed" in adabatch(*run, "--resume", "auto").stdout
    assert (small_disk / "run" / "result.json").exists()


def test_a_run_that_has_diverged_is_ended_on_all_ranks_with_a_code_of_its_own(adabatch: Any, tmp_path: Path) -> None:
    """Bug story: it went on to its end, every step skipped, and ended with 0."""
    arguments = [
        "train",
        "recipes/quickstart.yaml",
        "--optimizer.lr=1e30",
        "--max_skipped=7",
        "--out",
        tmp_path / "run",
    ]
    done = adabatch(*arguments, code=70, launcher="mpirun, torch")
    text = done.stdout + done.stderr
    assert text.count("adabatch: error: training has diverged: 7 steps in a row") == 1
    assert "Traceback" not in text
    end = records(tmp_path / "run")[-1]
    assert (end["kind"], end["reason"]) == ("end", "diverged: 7 steps in a row were skipped")
    assert not (tmp_path / "run" / "result.json").exists()


def test_a_script_that_has_diverged_hears_so_on_all_ranks_at_the_same_step(
    launch: Any, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ADABATCH_STALL_S", raising=False)
    assert launch(programs / "diverge.py").stdout.count("diverged at step 8") == 2
