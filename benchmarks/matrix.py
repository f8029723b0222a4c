"""Trains, stops, refuses and loses a rank under every launcher, as a table for docs/clusters.md.

    python benchmarks/matrix.py [--mpirun OTHER/bin/mpirun,...] [--only WORDS] [--write docs/results/launchers.md]

Each row goes through launch/run with two ranks, outside of jobs on this machine, and inside of jobs on a Slurm of its
own with two nodes (root; Debian's packages). What is done:

    trains         recipes/quickstart.yaml for two epochs
    is stopped     launch/run gets TERM while it trains
    bad input      --global_batch 0
    loses a rank   SIGKILL to rank 1 while it trains

The cells have launch/run's exit code, the seconds from the event (a signal, or the start) to its end, and how many
ranks were left a second later; the last column, what is said of the lost rank.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(HERE), str(ROOT / "tests" / "slurm")]  # neither is a package
from cluster import SlurmCluster  # noqa: E402 (after the path is set)
from launchers import name_of  # noqa: E402
from machine import machine, versions  # noqa: E402

LIMIT_S = 150.0
RANK = ("HOROVOD_RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "RANK", "SLURM_PROCID")
TRAIN = ["adabatch", "train", str(ROOT / "recipes" / "quickstart.yaml"), "--checkpoint_steps=20"]
DONE = {
    "trains": ["--epochs=2"],
    "is stopped": ["--epochs=2000", "--policy=fixed"],
    "bad input": ["--global_batch=0"],
    "loses a rank": ["--epochs=2000", "--policy=fixed"],
}


@dataclass(frozen=True)
class Launcher:
    """A way to start two ranks."""

    name: str
    """What a person would type, in the table's words."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """The environment of launch/run."""
    job: Sequence[str] = ()
    """The command of Slurm that it runs in; nothing outside of jobs."""


def launchers(others: Sequence[str]) -> list[Launcher]:
    """Returns the rows, with those of further mpiruns."""
    rows = [Launcher("mpirun"), Launcher("mpirun, engine torch", {"ADABATCH_ENGINE": "torch"})]
    for mpirun in others:
        path = f"{Path(mpirun).resolve().parent}:{os.environ['PATH']}"
        own = {"PATH": path, "ADABATCH_ENGINE": "torch", "ADABATCH_LAUNCHER": "mpirun"}
        rows.append(Launcher(f"mpirun of {name_of(mpirun)}, engine torch", own))
    for flag in ("--mpi", "--gloo"):
        variables = {"ADABATCH_LAUNCHER": "horovodrun", "HOROVODRUN_FLAGS": flag}
        rows.append(Launcher(f"horovodrun {flag}", variables))
    rows.append(Launcher("torchrun", {"ADABATCH_LAUNCHER": "torchrun"}))
    salloc = ("salloc", "-N2", "-n2", "--ntasks-per-node=1")
    for pmi in ("pmix", "pmi2"):
        rows.append(Launcher(f"srun --mpi={pmi}", {"MPI_TYPE": pmi}, salloc))
    rows.append(Launcher("srun --mpi=none, engine torch", {"MPI_TYPE": "none", "ADABATCH_ENGINE": "torch"}, salloc))
    rows.append(Launcher("mpirun", {"ADABATCH_LAUNCHER": "mpirun"}, salloc))
    rows.append(Launcher("local, in a job", {"ADABATCH_LAUNCHER": "local"}, salloc))
    return rows


def variables_of(pid: str) -> dict[str, str]:
    """Returns the environment of a process; nothing when it is gone."""
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
        return dict(word.split("=", 1) for word in words if "=" in word)
    return {}


def ranks(mark: str) -> dict[int, int]:
    """Returns the processes that are ranks of the launch with this stop file, by their number."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or "adabatch\0train" not in _command(entry.name):
            continue
        own = variables_of(entry.name)
        number = next((own[name] for name in RANK if own.get(name, "").isdigit()), None)
        if own.get("ADABATCH_STOP_FILE") == mark and number is not None and _is_python(entry.name):
            found[int(number)] = int(entry.name)
    return found


def _command(pid: str) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    return ""


def _is_python(pid: str) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/exe").readlink().name.startswith("python")
    return False


def measure(launcher: Launcher, what: str, cluster: SlurmCluster | None, folder: Path) -> tuple[str, str]:
    """Returns a cell, and what was said last."""
    mark, out, log = folder / "stop", folder / "run", folder / "log"
    line = [*launcher.job, str(ROOT / "launch" / "run"), *(() if launcher.job else ("-n", "2"))]
    line += [*TRAIN, *DONE[what], *(("--out", str(out)) if what != "bad input" else ())]
    own = {"OMP_NUM_THREADS": "1", "ADABATCH_STOP_FILE": str(mark)} | dict(launcher.variables)
    base = cluster.environment if cluster and launcher.job else os.environ
    with log.open("w") as file:
        process = subprocess.Popen(line, stdout=file, stderr=file, env={**base, **own}, cwd=folder)
    began_s = time.monotonic()
    if what in ("is stopped", "loses a rank"):
        journal = out / "journal.jsonl"
        while process.poll() is None and not (journal.exists() and '"statistics"' in journal.read_text()):
            if time.monotonic() - began_s > LIMIT_S:
                break
            time.sleep(0.1)
        began_s, found = time.monotonic(), ranks(str(mark))
        if what == "loses a rank" and 1 in found:
            os.kill(found[1], signal.SIGKILL)
        elif what == "is stopped":
            _tell(process.pid)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(LIMIT_S)
    seconds = time.monotonic() - began_s
    time.sleep(1)
    left = ranks(str(mark))
    for pid in left.values():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if process.poll() is None:
        process.kill()
    code = "no end" if seconds >= LIMIT_S else str(process.wait())
    cell = f"{code}, {seconds:.1f} s" + (f", {len(left)} left" if left else "")
    return cell, said(log.read_text(errors="replace"))


def _tell(launched: int) -> None:
    """Sends TERM to launch/run, which is below salloc where there is one."""
    for pid in [launched, *_below(launched)]:
        if f"{ROOT}/launch/run" in _command(str(pid)) and "salloc" not in _command(str(pid)):
            os.kill(pid, signal.SIGTERM)
            return


def _below(pid: int) -> list[int]:
    listed = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False).stdout.split()
    return [each for child in map(int, listed) for each in (child, *_below(child))]


def said(text: str) -> str:
    """Returns the line that this package has said last, without what only this machine has."""
    lines = [line for line in text.splitlines() if re.search(r"adabatch: |launch/run: |given ", line)]
    if not lines:
        lines = [line for line in text.splitlines() if line.strip(" -*=")][-1:]
    last = lines[-1] if lines else "nothing"
    last = re.sub(r" on [\w.-]+(?=,| has)", " on HOST", re.sub(r"/\S+/", "", last))
    return last.replace("|", "/")[:160]


def main() -> None:
    """Measures every row, and prints or writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mpirun", default="", help="more of them, with commas between")
    parser.add_argument("--only", default="", help="rows that have these words")
    parser.add_argument("--write", type=Path)
    flags = parser.parse_args()
    others = [word for word in flags.mpirun.split(",") if word]
    chosen = [row for row in launchers(others) if flags.only in row.name]
    lines = [
        "# Every launcher, and what may happen under it",
        "",
        "    python benchmarks/matrix.py --mpirun OTHER/bin/mpirun,...",
        "",
        f"{machine(2)}; {versions()}; one try, other work beside it.",
        "",
        "Two ranks through launch/run; *in a job*: on two nodes of a Slurm 22.05 of its own. Cells: exit code, seconds",
        "from the event (the start, or the signal) to the end, and the ranks that were left, if any. 75 waits to be",
        "started again.",
        "",
        f"| launcher | where | {' | '.join(DONE)} | what is said of the lost rank |",
        f"|---|---|{'---|' * len(DONE)}---|",
    ]
    print("\n".join(lines), flush=True)
    with contextlib.ExitStack() as stack:
        cluster = None
        if any(row.job for row in chosen):
            cluster = stack.enter_context(SlurmCluster(2, 2))
        for row in chosen:
            cells, words = [], ""
            for what in DONE:
                with tempfile.TemporaryDirectory() as folder:
                    cell, words = measure(row, what, cluster, Path(folder))
                cells.append(cell if "given" not in words or what == "bad input" else f"{cell}: {words}")
            where = "in a job" if row.job else "by hand"
            lines.append(f"| {row.name} | {where} | {' | '.join(cells)} | {words} |")
            print(lines[-1], flush=True)
    if flags.write:
        flags.write.write_text("\n".join([*lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
