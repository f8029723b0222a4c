"""Loses a rank in every way, under every launcher, with nothing set, and times the end of the others.

    python benchmarks/failures.py [--write docs/results/failures.md]

Two ranks of a script train; after step 20, rank 1 fails. The table has the seconds from then to the launcher's end, its
exit code, the processes that were left a second later, and the line that says which rank was lost and why.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from machine import machine, versions
from torch.utils.data import Dataset, TensorDataset

import hpc_adabatch as hab

LIMIT_S = 120.0
LAUNCHERS = {
    "mpirun": ["mpirun", "-np", "2", "--oversubscribe"],
    "horovodrun --mpi": ["horovodrun", "-np", "2", "-H", "localhost:2", "--mpi"],
    "horovodrun --gloo": ["horovodrun", "-np", "2", "-H", "localhost:2", "--gloo"],
    "torchrun": ["torchrun", "--nproc-per-node", "2", "--no-python"],
    "mpirun, torch": ["env", "ADABATCH_ENGINE=torch", "mpirun", "-np", "2", "--oversubscribe"],
}
FAILURES = {
    "raises an error": "raises",
    "is killed (SIGKILL), as by the kernel when memory runs out": "killed",
    "asks for more memory than there is": "memory",
    "is frozen (SIGSTOP)": "frozen",
    "leaves its loop": "leaves",
    "loses the process that reads its data": "reader",
    "ends without a word (exit 0)": "exits",
}


class Images(Dataset[torch.Tensor]):
    """A data set that processes read."""

    def __len__(self) -> int:
        """Returns the number of samples."""
        return 4000

    def __getitem__(self, index: int) -> torch.Tensor:
        """Returns a sample. Shape (16,)."""
        return torch.full((16,), float(index % 7))


def train(how: str, note: Path) -> None:
    """Trains on this rank, and fails on rank 1 after step 20 in the way that is asked for."""
    cluster = hab.Cluster.start()
    torch.manual_seed(0)
    model = torch.nn.Linear(16, 1)
    data = Images() if how == "reader" else TensorDataset(torch.randn(4000, 16))
    training = hab.AdaptiveTraining(
        model,
        torch.optim.SGD(model.parameters(), lr=1e-4),
        hab.AdaptiveBatches(data, 16, workers=1 if how == "reader" else 0),
        cluster=cluster,
    )
    for step in training.epoch(0):
        for inputs in step:
            step.backward(model(inputs[0] if isinstance(inputs, list | tuple) else inputs).pow(2).mean())
        step.update()
        if cluster.rank == 1 and training.steps == 20:
            note.write_text(str(time.time()), encoding="utf-8")
            if how == "leaves":
                break
            fail(how)
        time.sleep(0.02)
    cluster.stop()


def fail(how: str) -> None:
    """Fails in one of the ways."""
    if how == "raises":
        raise ValueError("a fault of the script")
    if how == "memory":
        torch.empty(2**50)
    if how == "exits":
        os._exit(0)
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "frozen":
        os.kill(os.getpid(), signal.SIGSTOP)
    if how == "reader":
        children = subprocess.run(["pgrep", "-P", str(os.getpid())], capture_output=True, text=True, check=True)
        for pid in map(int, children.stdout.split()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def measure(launcher: str, how: str) -> str:
    """Returns the cells of a row: seconds, exit code, processes left, the line."""
    with tempfile.TemporaryDirectory() as name:
        note, log = Path(name) / "note", Path(name) / "log"
        line = [*LAUNCHERS[launcher], sys.executable, __file__, "--train", how, "--note", str(note)]
        own = {"OMP_NUM_THREADS": "1", "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        own |= {"OMPI_MCA_mpi_yield_when_idle": "1"}
        with log.open("w") as file:
            process = subprocess.Popen(line, stdout=file, stderr=file, env=os.environ | own)
        started: set[int] = set()
        while process.poll() is None and (not note.exists() or time.time() - note.stat().st_mtime < LIMIT_S):
            started |= set(below(process.pid)) if len(started) < 40 else set()
            time.sleep(0.05)
        seconds = time.time() - note.stat().st_mtime
        ended = process.poll() is not None
        time.sleep(1)
        left = [pid for pid in started if lives(pid)]
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        code = process.wait()
        said = re.findall(r"(?:adabatch: )?(rank \d.*?)(?:; ends with|$)", log.read_text(), re.MULTILINE)
        told = next((each for each in reversed(said) if "Traceback" not in each), "")
        tag = r"^(?:\[[\d,]+\]<stderr>:)?(?:\[rank\d\]: )?"  # of a launcher
        raised = re.findall(rf"{tag}(\w*Error: .*)$", log.read_text(), re.MULTILINE)
        told = told or (f"the script's own traceback: {raised[0]}" if raised else "only the launcher's own words")
        told = told.replace(platform.node(), "HOST").partition("; this one")[0][:200]
        return f"{seconds:.1f} | {code if ended else 'none'} | {len(left)} | {told} |"


def below(pid: int) -> list[int]:
    """Returns the processes that a process has started, and those that they have."""
    found = [pid]
    for parent in found:
        children = subprocess.run(["pgrep", "-P", str(parent)], capture_output=True, text=True, check=False)
        found += map(int, children.stdout.split())
    return found[1:]


def lives(pid: int) -> bool:
    """Reports whether there is such a process still."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def main() -> None:
    """Measures every row, and prints or writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path)
    parser.add_argument("--train", help=argparse.SUPPRESS)
    parser.add_argument("--note", type=Path, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.train:
        train(flags.train, flags.note)
        return
    rows = []
    for launcher in LAUNCHERS:
        for words, how in FAILURES.items():
            rows.append(f"| {launcher} | {words} | {measure(launcher, how)}")
            print(rows[-1], flush=True)
    text = "\n".join(
        [
            "# How long the others go on when a rank is lost",
            "",
            "    python benchmarks/failures.py",
            "",
            f"{machine(2)}, other work beside it; {versions()}. A script of one's own, nothing set; one try.",
            "",
            "| launcher | rank 1 | seconds to the end | exit code | processes left | what is said last |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
        ]
    )
    print(text)
    if flags.write:
        flags.write.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
