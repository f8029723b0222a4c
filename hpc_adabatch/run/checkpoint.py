"""The state of a run on disk, whole or not at all.

    write last.tmp -> fsync -> last.pt becomes previous.pt -> last.tmp becomes last.pt -> fsync of the folder

A kill between any two of these leaves at least one complete checkpoint.

Not here: what the state is (adaptive.py, run.py).
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import torch

from ..cluster import Cluster
from ..errors import InputError

LAST, PREVIOUS = "last.pt", "previous.pt"


def save(folder: Path, state: dict[str, Any]) -> None:
    """Writes the state; call on rank 0 only."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary, last = folder / "last.tmp", folder / LAST
    with temporary.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    if last.exists():
        os.replace(last, folder / PREVIOUS)
    os.replace(temporary, last)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def load(folder: Path, cluster: Cluster) -> dict[str, Any] | None:
    """The newest complete state, read by rank 0 and sent to all; None when there is none.

    Raises:
        InputError: there are checkpoints and none can be read.
    """
    found = _read(folder) if cluster.leads else None
    content = cluster.tell(found)
    if isinstance(content, InputError):
        raise content
    if content is None:
        return None
    return torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")


def exists(folder: Path) -> bool:
    """Whether a run has saved here."""
    return any((folder / name).exists() for name in (LAST, PREVIOUS))


def _read(folder: Path) -> bytes | InputError | None:
    wrong = []
    for name in (LAST, PREVIOUS):
        if not (folder / name).exists():
            continue
        content = (folder / name).read_bytes()
        try:
            torch.load(io.BytesIO(content), weights_only=True, map_location="meta")
        except Exception as error:  # torch names no common class for a damaged file
            wrong.append(f"{name} ({type(error).__name__})")
            continue
        return content
    if wrong:
        return InputError(
            "resume", f"{folder}: {', '.join(wrong)}", "a complete checkpoint", "another --out, to start anew"
        )
    return None
