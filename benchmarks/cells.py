"""A training run of a benchmark: launched once, then kept, and run again only when its recipe or flags change.

FOLDER/NAME-sSEED/        the run's folder (docs/run-folder.md); result.json is there when it is complete
FOLDER/NAME-sSEED.json    what was asked for, by which code, and how it ended
FOLDER/NAME-sSEED.err     what it wrote to stderr
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
STOPPED = (75, 130)  # the run was told to stop: that is no result
TOO_LONG = -1  # stands for an exit code


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A training run, by name and seed."""

    name: str
    seed: int
    flags: tuple[str, ...]
    """The flags of ``adabatch train``, besides recipe, seed and folder."""
    recipe: Path
    ranks: int
    folder: Path
    """The folder of all runs of the benchmark."""

    @property
    def run(self) -> Path:
        """Returns the folder of the run."""
        return self.folder / f"{self.name}-s{self.seed}"

    @property
    def note(self) -> Path:
        """Returns the file that says what was asked for and how the run ended."""
        return self.run.with_name(self.run.name + ".json")

    def with_seed(self, seed: int) -> Cell:
        """Returns the same run with another seed."""
        return replace(self, seed=seed)

    def asked(self) -> dict[str, Any]:
        """Returns all that decides what the run does, except the code; comments in the recipe do not count."""
        recipe = yaml.safe_load(self.recipe.read_text(encoding="utf-8"))
        return {"recipe": recipe, "flags": list(self.flags), "seed": self.seed, "ranks": self.ranks}

    def known(self) -> dict[str, Any]:
        """Returns the content of the note; empty without a note, or where the note was about other flags."""
        if not self.note.exists():
            return {}
        note: dict[str, Any] = json.loads(self.note.read_text(encoding="utf-8"))
        return note if note["asked"] == self.asked() else {}

    def result(self) -> dict[str, Any] | None:
        """Returns the content of result.json, or None while the run is not complete."""
        path = self.run / "result.json"
        return json.loads(path.read_text(encoding="utf-8")) if self.known() and path.exists() else None

    def failure(self) -> str | None:
        """Returns why the run failed, or None if it did not fail."""
        note = self.known()
        if self.result() is not None or note.get("exit_code") in (None, *STOPPED):
            return None
        exit_code = "" if note["exit_code"] == TOO_LONG else f"exit code {note['exit_code']}: "
        return exit_code + note["last_line"]

    def records(self) -> list[dict[str, Any]]:
        """Returns the lines of the journal."""
        return [json.loads(line) for line in (self.run / "journal.jsonl").read_text(encoding="utf-8").splitlines()]

    def train(self, limit_s: float) -> None:
        """Trains from the start.

        Raises:
            KeyboardInterrupt: the run was told to stop.
        """
        shutil.rmtree(self.run, ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        note = {"asked": self.asked(), "code": code(), "began": f"{datetime.now():%Y-%m-%d %H:%M}", "exit_code": None}
        write(self.note, note)
        train = [sys.executable, "-m", "hpc_adabatch", "train", str(self.recipe), *self.flags]
        line = ["mpirun", "-np", str(self.ranks), "--oversubscribe", *train, "--seed", str(self.seed)]
        errors = self.run.with_name(self.run.name + ".err")
        exit_code = launch([*line, "--out", str(self.run)], errors, limit_s)
        if exit_code in STOPPED:
            raise KeyboardInterrupt
        text = errors.read_text(encoding="utf-8", errors="replace")
        last = f"stopped after {limit_s:g} s" if exit_code is None else last_line(text)
        exit_code = TOO_LONG if exit_code is None else exit_code
        load = round(os.getloadavg()[0], 1)  # more than the ranks: something else ran beside
        write(self.note, note | {"exit_code": exit_code, "last_line": last, "load": load})


def launch(line: list[str], errors: Path, limit_s: float) -> int | None:
    """Runs the command. Returns its exit code, or None when it took longer than ``limit_s`` and was ended."""
    with errors.open("w", encoding="utf-8") as stderr:
        process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=stderr, env=environment())
        try:
            return process.wait(limit_s)
        except subprocess.TimeoutExpired:
            return None
        finally:  # a run that is too long, or that this program was told to leave, must not stay behind
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()


def environment() -> dict[str, str]:
    """Returns the variables of a launched run: one thread per rank, idle ranks yield, root may start ranks."""
    root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"} if os.geteuid() == 0 else {}
    return os.environ | root | {"OMP_NUM_THREADS": "1", "OMPI_MCA_mpi_yield_when_idle": "1"}


def last_line(stderr: str) -> str:
    """Returns the line that tells why a run failed, without folders: adabatch's own, else the last error or line."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip(" -")]
    own = [line for line in lines if line.startswith("adabatch:") and "ends because another rank did" not in line]
    faults = [line for line in lines if re.match(r"\w*(?:Error|Exception)\b", line)]
    last = (own or faults or lines or ["nothing on stderr"])[-1]
    return re.sub(r"(?<![\w/:])(?:/[\w.+-]+)*/(?=[\w.+-])", "", last)[:160]


def code() -> str:
    """Returns the commit, with a + where the package was changed since."""
    git = ["git", "-C", str(ROOT)]
    try:
        commit = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    changed = subprocess.run([*git, "status", "--short", "hpc_adabatch"], capture_output=True, text=True, check=True)
    return commit.stdout.strip() + ("+" if changed.stdout else "")


def write(path: Path, content: dict[str, Any]) -> None:
    """Writes JSON to a temporary file, then renames it."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)
