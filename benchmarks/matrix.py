"""Trains, stops, refuses and loses a rank under every launcher, as a table for docs/clusters.md.

    python benchmarks/matrix.py [--mpirun OTHER/bin/mpirun,...] [--only WORDS] [--write docs/results/launchers.md]

Each row has two ranks: on this machine without Slurm, or on two nodes of a Slurm of its own (root; Debian's packages).
The libraries of each OTHER are found first, as with its module loaded. What is done:

    trains         recipes/quickstart.yaml for two epochs
    is stopped     TERM while it trains: to launch/run, or where there is none, to the ranks
    bad input      --global_batch 0
    loses a rank   SIGKILL to rank 1 while it trains

The cells have the exit code of what was typed, the seconds from the event (a signal, or the start) to its end, how many
ranks were left a second later, and of a row that cannot train what is said; the last column, what is said of the lost
rank.
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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
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
# of Open MPI; horovodrun --gloo; torchrun; srun; Intel MPI; MPICH
LOST = (
    r"\S+ noticed that process rank 1 .*?\(Killed\)|Process 1 exit with status code \d+|rank : 1 \(.*?\) exitcode : -9"
    r"|error: \S+ task 1: \w+|RANK 1 PID \d+ RUNNING AT \S+ KILLED BY SIGNAL: \d+|PID \d+ RUNNING AT \S+ EXIT CODE: \d+"
)
RUN = (str(ROOT / "launch" / "run"),)
TORCH = {"ADABATCH_ENGINE": "torch"}


@dataclass(frozen=True)
class Launcher:
    """A way to start two ranks."""

    name: str
    """What a person would type, in the table's words."""
    line: Sequence[str] = (*RUN, "-n", "2")
    """What is typed before ``adabatch``."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """The environment that it is typed in."""
    job: Sequence[str] = ()
    """The command of Slurm that it runs in; nothing outside of jobs."""

    @property
    def needs_slurm(self) -> bool:
        """True where the test cluster must be there."""
        return bool(self.job) or self.line[0] == "srun"

    @property
    def where(self) -> str:
        """Returns where it is typed, in the table's words."""
        return "in a job" if self.job else "outside" if self.needs_slurm else "no Slurm"


def launchers(others: Sequence[str]) -> list[Launcher]:
    """Returns the rows, with those of further mpiruns."""
    salloc = ("salloc", "-N2", "-n2", "--ntasks-per-node=1")
    mpirun, run = ("mpirun", "-np", "2"), Launcher("").line
    rows = [
        Launcher("`launch/run`: mpirun"),
        Launcher("`launch/run`, engine torch: mpirun", variables=TORCH),
        Launcher("`mpirun`", (*mpirun, "--oversubscribe")),
        Launcher("`mpirun`, engine torch", (*mpirun, "--oversubscribe"), TORCH),
    ]
    found = {}
    for other in others:
        place, name = Path(other).resolve().parent, name_of(other)
        libraries = f"{place.parent / 'lib'}:{os.environ.get('LD_LIBRARY_PATH', '')}".rstrip(":")
        own = found[name] = {"PATH": f"{place}:{os.environ['PATH']}", "LD_LIBRARY_PATH": libraries}
        slots = ("--oversubscribe",) if name.startswith("Open MPI") else ()
        rows += [
            Launcher(f"{name}, `launch/run`, engine torch: mpirun", run, own | TORCH),
            Launcher(f"{name}, `mpirun`, engine torch", (*mpirun, *slots), own | TORCH),
            Launcher(f"{name}, `mpirun`", (*mpirun, *slots), own),
        ]
    for flag in ("--mpi", "--gloo"):
        variables = {"ADABATCH_LAUNCHER": "horovodrun", "HOROVODRUN_FLAGS": flag}
        rows.append(Launcher(f"`launch/run`: horovodrun {flag}", run, variables))
        rows.append(Launcher(f"`horovodrun {flag}`", ("horovodrun", "-np", "2", flag)))
    rows.append(Launcher("`launch/run`: torchrun", run, {"ADABATCH_LAUNCHER": "torchrun"}))
    rows.append(Launcher("`torchrun`", ("torchrun", "--nproc-per-node", "2", "--no-python")))
    for pmi, engine in (("pmix", {}), ("pmi2", {}), ("none", {}), ("none", TORCH)):
        name = f"srun --mpi={pmi}" + (", engine torch" if engine else "")
        srun = ("srun", f"--mpi={pmi}", "--kill-on-bad-exit=1")
        rows.append(Launcher(f"`launch/run`: {name}", RUN, {"MPI_TYPE": pmi} | engine, salloc))
        rows.append(Launcher(f"`{name}`", srun, engine, salloc))
        rows.append(Launcher(f"`{name}`", (*srun, "-N2", "-n2", "--ntasks-per-node=1"), engine))
    for name, own in found.items():
        own["UCX_TLS"] = "tcp,self"  # MPICH's: both nodes are this machine, and do not share its memory
        rows.append(Launcher(f"{name}, `launch/run`, engine torch: srun", RUN, own | TORCH, salloc))
        chosen = {"ADABATCH_LAUNCHER": "mpirun"}
        rows.append(Launcher(f"{name}, `launch/run`, engine torch: mpirun", RUN, own | TORCH | chosen, salloc))
    for launcher in ("horovodrun", "torchrun"):  # no ssh between these nodes
        rows.append(Launcher(f"`launch/run`: {launcher}", RUN, {"ADABATCH_LAUNCHER": launcher}, salloc))
    rows.append(Launcher("`launch/run`: mpirun", RUN, {"ADABATCH_LAUNCHER": "mpirun"}, salloc))
    rows.append(Launcher("`mpirun`", ("mpirun",), {}, salloc))
    rows.append(Launcher("`launch/run`: local", run, {"ADABATCH_LAUNCHER": "local"}, salloc))
    return rows


def variables_of(pid: str) -> dict[str, str]:
    """Returns the environment of a process; nothing when it is gone."""
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
        return dict(word.split("=", 1) for word in words if "=" in word)
    return {}


def ranks(out: Path) -> dict[int, int]:
    """Returns the processes that are ranks of the run in this folder, by their number."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or f"--out={out}" not in _command(entry.name) or not _is_python(entry.name):
            continue
        own = variables_of(entry.name)
        number = next((own[name] for name in RANK if own.get(name, "").isdigit()), None)
        if number is not None:
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


@contextlib.contextmanager
def started(line: Sequence[str], environment: Mapping[str, str], out: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Starts a line within the block, after which nothing of it is left; what it says is in the file log.

    In a session of its own, as a terminal is: on some kernels the sessions share the cores, not their processes.
    """
    with (out.parent / "log").open("w") as file:
        process = subprocess.Popen(
            line,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env=environment,
            cwd=out.parent,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        for pid in ranks(out).values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def measure(launcher: Launcher, what: str, cluster: SlurmCluster | None, folder: Path) -> tuple[str, str]:
    """Returns a cell, and what was said last."""
    out = folder / "run"
    line = [*launcher.job, *launcher.line, *TRAIN, *DONE[what], f"--out={out}"]
    own = {"OMP_NUM_THREADS": "1", "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    base = cluster.environment if cluster and launcher.needs_slurm else os.environ
    with started(line, {**base, **own, **launcher.variables}, out) as process:
        began_s = time.monotonic()
        if what in ("is stopped", "loses a rank"):
            journal = out / "journal.jsonl"
            while process.poll() is None and not (journal.exists() and '"statistics"' in journal.read_text()):
                if time.monotonic() - began_s > LIMIT_S:
                    break
                time.sleep(0.1)
            began_s, found = time.monotonic(), ranks(out)
            if what == "loses a rank" and 1 in found:
                os.kill(found[1], signal.SIGKILL)
            elif what == "is stopped":
                _tell(launcher, process.pid, found)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(LIMIT_S)
        seconds = time.monotonic() - began_s
        code = "no end" if process.poll() is None else str(process.returncode)
        time.sleep(1)
        left = len(ranks(out))
    cell = f"{code}, {seconds:.1f} s" + (f", {left} left" if left else "")
    text = (folder / "log").read_text(errors="replace")
    print(f"--- {launcher.where}, {launcher.name}, {what}: {cell}\n{text}", file=sys.stderr, flush=True)
    return cell, said(text, what == "loses a rank")


def _tell(launcher: Launcher, launched: int, found: Mapping[int, int]) -> None:
    """Sends TERM to launch/run, which is below salloc where there is one; without launch/run to the ranks."""
    told = list(found.values())
    if RUN[0] in launcher.line:
        told = [
            pid for pid in (launched, *_below(launched)) if re.search(rf"^[^\0]*bash\0{RUN[0]}\0", _command(str(pid)))
        ]
        told = told[:1]
    for pid in told:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


def _below(pid: int) -> list[int]:
    listed = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False).stdout.split()
    return [each for child in map(int, listed) for each in (child, *_below(child))]


def said(text: str, lost: bool = False) -> str:
    """Returns what this package has said last, or of a lost rank the launcher, without what only this machine has."""
    lines = [line for line in text.splitlines() if re.search(r"adabatch: (?!warning)|launch/run: |given ", line)]
    if lost and not lines:
        words = " ".join(word for word in text.split() if word.strip("-=*"))
        lines = [found[0] for found in re.finditer(LOST, words)]
    if not lines:
        lines = [line for line in text.splitlines() if line.strip(" -*=") and not line.startswith("salloc: ")][-1:]
    last = lines[-1] if lines else "nothing"
    last = re.sub(r"(\bon (node )?|RUNNING AT )[\w.-]+(?=,| has| exited| [A-Z])", r"\1HOST", re.sub(r"/\S+/", "", last))
    return re.sub(r"(?i)\b(pid) \d+", r"\1 N", last).replace("|", "/")[:240]


HEAD = (
    "# Every launcher, and what may happen under it",
    "",
    "    python benchmarks/matrix.py --mpirun OTHER/bin/mpirun,...",
    "",
)
ABOUT = (
    "Two ranks; under Slurm 22.05 on two nodes of its own, without ssh. Cells: exit code, seconds from the event (the",
    "start, or the signal) to the end, and the ranks that were left a second later, if any. The signal is TERM, to",
    "`launch/run`, or where that is not used to the ranks. 75 waits to be started again; horovodrun --gloo and",
    "torchrun by themselves end with 1 whatever their ranks end with. Horovod, built for the first `mpirun`, sums",
    "where the engine is not named. Libraries of another MPI are found first, as with its module loaded.",
    "",
    f"| where | two ranks by | {' | '.join(DONE)} | what is said of the lost rank; or why there is no training |",
    f"|---|---|{'---|' * len(DONE)}---|",
)


def cells(row: Launcher, cluster: SlurmCluster | None) -> list[str]:
    """Returns the cells of a row, and what is said; where it cannot train, bad input alone is tried beside."""
    found, why = {}, ""
    for what in DONE:
        if why and what != "bad input":
            found[what] = ""
            continue
        with tempfile.TemporaryDirectory() as folder:
            found[what], words = measure(row, what, cluster, Path(folder))
        if what == "trains" and not found[what].startswith("0,"):
            why = words
    return [*found.values(), why or words]


def main() -> None:
    """Measures every row, and prints or writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mpirun", default="", help="more of them, with commas between")
    parser.add_argument("--only", default="", help="rows that have these words")
    parser.add_argument("--write", type=Path)
    flags = parser.parse_args()
    others = [word for word in flags.mpirun.split(",") if word]
    chosen = [row for row in launchers(others) if flags.only in f"{row.where}, {row.name}"]
    lines = [*HEAD, f"{machine(2)}; {versions()}; {date.today()}; one try each.", "", *ABOUT]
    print("\n".join(lines), flush=True)
    with contextlib.ExitStack() as stack:
        cluster = None
        if any(row.needs_slurm for row in chosen):
            cluster = stack.enter_context(SlurmCluster(2, 2))
        for row in chosen:
            lines.append(f"| {row.where} | {row.name} | {' | '.join(cells(row, cluster))} |")
            print(lines[-1], flush=True)
    if flags.write:
        flags.write.write_text("\n".join([*lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
