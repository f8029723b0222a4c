"""Starts training of a checkout by mpirun, and waits for its first step: what image_folder.py and start.py measure."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

LIMIT_S = 1800.0
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # a bench that is ended leaves no ranks behind


@contextmanager
def training(
    checkout: Path, ranks: int, flags: Sequence[str], out: Path, own: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Trains the quickstart with these flags in a folder, from before its first step to the end of the block.

    Args:
        checkout: Folder with a checkout.
        ranks: Number of ranks, each with a thread.
        flags: Flags of ``adabatch train``.
        out: Folder of the run; the log lies beside it.
        own: Variables of the ranks' environment; PYTHONPATH stands before the checkout.

    Yields:
        The process of mpirun; its children are the ranks.

    Raises:
        RuntimeError: There is no first step.
    """
    line = ["mpirun", "-np", str(ranks), "--oversubscribe", "--bind-to", "none", sys.executable, "-m", "hpc_adabatch"]
    line += ["train", str(checkout / "recipes" / "quickstart.yaml"), "--journal_every=1", "--epochs=1000"]
    line += [*flags, f"--out={out}"]
    given = {"OMP_NUM_THREADS": "1", "OMPI_MCA_mpi_yield_when_idle": "1", **(own or {})}
    given |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    given["PYTHONPATH"] = ":".join(filter(None, [given.get("PYTHONPATH"), str(checkout)]))
    log = out.parent / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            line, env=os.environ | given, cwd=checkout, stdout=file, stderr=file, start_new_session=True
        )
    try:
        give_up, journal = time.monotonic() + LIMIT_S, out / "journal.jsonl"
        while not (journal.exists() and '"statistics"' in journal.read_text(encoding="utf-8")):
            if process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError(f"{checkout} took no step: {log.read_text(errors='replace')}")
            time.sleep(0.02)
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            for rank in below(process.pid):
                os.kill(rank, signal.SIGKILL)
            process.wait()


def below(pid: int) -> list[int]:
    """Returns the processes that this one has started."""
    listed = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    return [int(word) for word in listed.stdout.split()]


def seconds(checkout: Path, ranks: int, flags: Sequence[str]) -> tuple[float, float]:
    """Returns the seconds from the start of mpirun to the end of the first step, and those that ranks computed."""
    with tempfile.TemporaryDirectory() as folder:
        began_s = time.monotonic()
        with training(checkout, ranks, flags, Path(folder) / "run") as process:
            took_s = time.monotonic() - began_s
            return took_s, sum(map(_computed_s, below(process.pid)))


def _computed_s(pid: int) -> float:
    """Returns the seconds that a process has computed so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def commit(checkout: Path) -> str:
    """Returns the commit of a checkout, with its day, and with a + where files have changed since."""
    lines = (["git", "describe", "--always", "--dirty=+", "--exclude=*"], ["git", "log", "-1", "--format=%cs"])
    said = [subprocess.run(line, cwd=checkout, capture_output=True, text=True, check=True).stdout for line in lines]
    return " of ".join(map(str.strip, said))
