"""Studies to try things on, and the command as a process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from fake_slurm import FakeSlurm

from hpc_adabatch.study.cells import Cell, cell_name
from hpc_adabatch.study.folder import StudyFolder
from hpc_adabatch.study.slurm.commands import Slurm
from hpc_adabatch.study.spec import Study

FAKES = Path(__file__).resolve().parent
ROOT = FAKES.parents[2]
RECIPE = str(ROOT / "recipes" / "quickstart.yaml")
TEMPLATE = "#!/usr/bin/env bash\n#SBATCH --time=00:10:00\n#SBATCH --ntasks-per-node=1\nexec true\n"
COMMAND = [sys.executable, "-c", "import sys; from hpc_adabatch.study.cli import main; sys.exit(main(sys.argv[1:]))"]


def template(folder: Path, text: str = TEMPLATE) -> Path:
    path = folder / "own.sbatch"
    path.write_text(text, encoding="utf-8")
    return path


def cells(nodes: tuple[int, ...] = (1, 2), repeats: int = 2, mode: str = "strong") -> tuple[Cell, ...]:
    verb = "train" if mode in ("adaptive", "follow") else "measure"
    return tuple(
        Cell(
            name=cell_name(mode, n, "", repeat),
            mode=mode,
            nodes=n,
            ranks=n,
            variant="",
            repeat=repeat,
            verb=verb,
            arguments=("--global_batch=16",),
            global_batch=16,
        )
        for repeat in range(1, repeats + 1)
        for n in nodes
    )


def planned(folder: Path, own: tuple[Cell, ...] | None = None, **fields: Any) -> tuple[Study, StudyFolder]:
    """A small study on disk."""
    chosen = cells() if own is None else own
    study = Study(
        **{
            "name": "scaling",
            "key": "a1b2c3",
            "created": "2024-11-21T14:35:00+00:00",
            "modes": tuple(dict.fromkeys(cell.mode for cell in chosen)),
            "nodes": tuple(dict.fromkeys(cell.nodes for cell in chosen)),
            "ranks_per_node": 1,
            "repeats": max(cell.repeat for cell in chosen),
            "warmup": 2,
            "steps": 5,
            "until": None,
            "vary": {},
            "zipped": {},
            "where": "slurm",
            "template": str(template(folder)),
            "launcher": "srun",
            "sbatch": ("--account=abc",),
            "time_limit_s": 600.0,
            "recipe": RECIPE,
            "flags": (),
            "directory": str(folder),
            "cells": chosen,
        }
        | fields
    )
    files = StudyFolder(folder / "studies", study.name)
    files.create(study)
    return study, files


def fake_slurm(folder: Path, monkeypatch: Any) -> FakeSlurm:
    """Puts the fake commands first on PATH."""
    for name, value in variables(folder).items():
        monkeypatch.setenv(name, value)
    return FakeSlurm(folder / "slurm")


def variables(folder: Path) -> dict[str, str]:
    return {"FAKE_SLURM": str(folder / "slurm"), "PATH": f"{FAKES}:{os.environ['PATH']}"}


def impatient(folder: Path) -> Slurm:
    """Calls the commands, and waits for nothing."""

    class Impatient(Slurm):
        def wait(self, seconds: float) -> None:
            raise AssertionError(f"waits {seconds} s")

    return Impatient(folder, patience_s=20)


def finish(files: StudyFolder, cell: str, **content: Any) -> None:
    """The cell's result, as a measurement leaves it."""
    step = {"median_s": 0.1, "lower_quartile_s": 0.09, "upper_quartile_s": 0.12, "repeats": 5}
    parts = {"data_s": 0.01, "compute_s": 0.05, "straggler_s": 0.02, "exposed_s": 0.02, "allreduce_s": 0.03}
    result = {"kind": "measure", "step_s": step, **parts, "global_batch": 16, "gradient_bytes": 4000}
    files.make_cell(cell)
    (files.cell(cell) / "result.json").write_text(
        json.dumps(result | {"samples_per_s": 160.0} | content), encoding="utf-8"
    )


def study_command(folder: Path, *arguments: object, **more: Any) -> subprocess.Popen[str]:
    """``adabatch study ...`` in a process of its own, with the fake Slurm."""
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        cwd=folder,
        env=os.environ | variables(folder) | {"PYTHONPATH": str(ROOT)} | more.pop("env", {}),
        stdout=pipe,
        stderr=pipe,
        text=True,
        preexec_fn=heed_interrupts,
        **more,
    )


def heed_interrupts() -> None:
    """Also where the tests run in a shell's background, which ignores SIGINT."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
