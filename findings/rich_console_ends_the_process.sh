#!/usr/bin/env bash
# rich's Console ends the whole process, without a word, when who reads its output has left.
#
# Guess before it was run: as print() does, it raises BrokenPipeError, so a training loop whose log lines stand in
# `except OSError` (or `except Exception`) goes on when its log reader is gone: a closed terminal, tee, head, a launcher.
# Seen with rich 15.0.0: print() behaves so, and the loop comes to its end. Console.print() raises SystemExit(1) in
# its place, which neither clause catches: the loop ends at its next line with code 1, nothing on standard error, and
# standard output is /dev/null from then on. A subclass whose on_broken_pipe raises BrokenPipeError goes on.
#
# Exit code 0: it is still so. 1: it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q rich==15.0.0
cat >"$folder/loop.py" <<'PYTHON'
import sys
from pathlib import Path

from rich.console import Console


class Raising(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def say(way: str, text: str) -> None:
    try:
        if way == "print":
            print(text, flush=True)
        else:
            console.print(text)
            console.file.flush()
    except Exception:  # a log is not worth a run
        pass


console = Raising() if sys.argv[1] == "subclass" else Console()
for step in range(100):
    say(sys.argv[1], f"step {step}")
Path(sys.argv[2]).touch()  # the checkpoint at the end
PYTHON
cat >"$folder/start.py" <<'PYTHON'
import os
import subprocess
import sys
from pathlib import Path

found = {}
for way in ("print", "console", "subclass"):
    done = Path(sys.argv[1], f"{way}.done")
    reads, writes = os.pipe()
    os.close(reads)
    loop = subprocess.run([sys.executable, sys.argv[2], way, done], stdout=writes, stderr=subprocess.PIPE, text=True)
    os.close(writes)
    said = [line for line in loop.stderr.splitlines() if "flushing sys.stdout" not in line and "BrokenPipe" not in line]
    found[way] = (done.exists(), loop.returncode, "".join(said))
    print(way, "came to its end:", found[way][0], "exit code", found[way][1], "said", repr(found[way][2]))
sys.exit(0 if found["print"][0] and found["subclass"][0] and found["console"] == (False, 1, "") else 1)
PYTHON
"$folder/venv/bin/python" "$folder/start.py" "$folder" "$folder/loop.py"
