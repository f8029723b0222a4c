"""What each mpirun does with signals and with exit codes of ranks, as a table for docs/clusters.md.

    python -m benchmarks.launchers mpirun OTHER/bin/mpirun ...

Two ranks without MPI, so that any mpirun can start them, say which signals reach them and when; they end by themselves
after RANKS_LIVE_S. Codes are those of the mpirun.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RANKS_LIVE_S = 8.0
STARTS_S = 60.0
RANK = f"""
import os, signal, sys, time
what, folder = sys.argv[1:]
rank = int(os.environ.get("OMPI_COMM_WORLD_RANK") or os.environ["PMI_RANK"])
end = time.monotonic() + {RANKS_LIVE_S}
log = open(f"{{folder}}/{{rank}}", "a", buffering=1)
for name in ("SIGTERM", "SIGINT", "SIGUSR2"):
    say = lambda number, _: print(signal.Signals(number).name[3:], time.time(), file=log)
    signal.signal(getattr(signal, name), say)
print("ready", time.time(), file=log)
if what == "all 75":
    os._exit(75)
if rank == 1 and what == "one 74":
    os._exit(74)
if rank == 1 and what == "one killed":
    os.kill(os.getpid(), signal.SIGKILL)
while time.monotonic() < end:
    time.sleep(0.01)
"""


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mpirun", nargs="+", help="The mpirun to try.")
    print("| `mpirun` of | all end with 75 | one with 74 | one is killed | TERM | INT | USR2 |")
    print("|---|---|---|---|---|---|---|")
    for mpirun in parser.parse_args().mpirun:
        codes = [str(code(mpirun, what)) for what in ("all 75", "one 74", "one killed")]
        told = [sent(mpirun, number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)]
        print("|", " | ".join([name_of(mpirun), *codes, *told]), "|", flush=True)


def name_of(mpirun: str) -> str:
    """Returns name and version of the MPI."""
    done = subprocess.run([mpirun, "--version"], env=environment(mpirun), capture_output=True, text=True, check=False)
    text = done.stdout
    number = re.search(r"\d+\.\d+(\.\d+)?", text)
    kind = "Open MPI" if "Open MPI" in text else "Intel MPI" if "Intel" in text else "MPICH"
    return f"{kind} {number[0] if number else 'of unknown version'}"


def environment(mpirun: str) -> dict[str, str]:
    """Returns the environment of an mpirun, which may be one that is not on PATH and calls others beside it."""
    root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    return os.environ | root | ({"PATH": f"{Path(mpirun).parent}:{os.environ['PATH']}"} if "/" in mpirun else {})


def start(mpirun: str, what: str, folder: str) -> subprocess.Popen[bytes]:
    """Starts two ranks, in a session of their own."""
    more = ["--oversubscribe"] if name_of(mpirun).startswith("Open MPI") else []
    line = [mpirun, "-np", "2", *more, "--bind-to", "none", sys.executable, "-c", RANK, what, folder]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(line, env=environment(mpirun), stdout=quiet, stderr=quiet, start_new_session=True)


def code(mpirun: str, what: str) -> int:
    """Returns the exit code of an mpirun whose ranks do so."""
    with tempfile.TemporaryDirectory() as folder:
        return shell_code(start(mpirun, what, folder).wait(timeout=STARTS_S))


def sent(mpirun: str, number: signal.Signals) -> str:
    """Returns what becomes of a signal to mpirun, in words."""
    with tempfile.TemporaryDirectory() as folder:
        process = start(mpirun, "wait", folder)
        give_up = time.monotonic() + STARTS_S
        while len(list(Path(folder).iterdir())) < 2 and time.monotonic() < give_up:
            time.sleep(0.05)
        time.sleep(0.5)
        began = time.time()
        process.send_signal(number)
        ended = shell_code(process.wait(timeout=STARTS_S))
        seconds = time.time() - began
        time.sleep(RANKS_LIVE_S)  # ranks that nobody has ended
        words = [line.split() for line in (Path(folder) / "0").read_text(encoding="utf-8").splitlines()]
    heard = [f"{name} after {float(at) - began:.1f} s" for name, at in words if name != "ready"]
    last = "the ranks' own end" if seconds > RANKS_LIVE_S - 2 else f"{seconds:.1f} s"
    return f"{', '.join(heard) or 'nothing'} reaches the ranks; ends after {last} with {ended}"


def shell_code(code: int) -> int:
    """Returns the code as a shell tells it."""
    return 128 - code if code < 0 else code


if __name__ == "__main__":
    main()
