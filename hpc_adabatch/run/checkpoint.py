"""The state of a run on disk, whole or not at all.

    write a temporary file -> fsync -> last.pt becomes previous.pt -> the file becomes last.pt -> fsync of the folder

A kill between any two of these leaves at least one complete checkpoint.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from ..cluster import Cluster
from ..errors import InputError
from ..files import whole

LAST, PREVIOUS = "last.pt", "previous.pt"


def save(folder: Path, state: dict[str, Any]) -> None:
    """Writes the state, and keeps the one before; called on rank 0 only."""
    folder.mkdir(parents=True, exist_ok=True)
    with whole(folder / LAST, previous=folder / PREVIOUS) as file:
        torch.save(state, file)


def load(folder: Path, cluster: Cluster) -> dict[str, Any] | None:
    """Returns the newest complete state, read by rank 0 and sent to all ranks; None when there is none.

    Raises:
        InputError: There are checkpoints, and none of them can be read.
    """
    found = _read(folder) if cluster.leads else None
    content = cluster.tell(found)
    if isinstance(content, InputError):
        raise content
    if content is None:
        return None
    return torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")


def exists(folder: Path) -> bool:
    """Reports whether a run has saved a checkpoint in the folder."""
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
