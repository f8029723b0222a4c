"""The state of a run on disk, whole or not at all, and from there on every rank.

    write a temporary file -> fsync -> last.pt becomes previous.pt -> the file becomes last.pt -> fsync of the folder

A kill between any two of these leaves at least one complete checkpoint. A file is what ``torch.save`` writes and a line
behind it, which ``torch.load`` passes over:

    hpc_adabatch checkpoint 1 sha256 <of everything before this word>

The sum is checked before anything is used, because torch does not look at the checksums of its own format: one changed
bit in the weights goes unnoticed. Where a file is damaged the one before is taken, and a run that goes on from that one
keeps the damaged one as damaged.pt. Rank 0 alone reads; the tensors travel to the other ranks one by one, so that no
rank ever holds the state twice.
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch

from ..cluster import Cluster
from ..errors import InputError, require
from ..files import sync_folder, whole

LAST, PREVIOUS, DAMAGED = "last.pt", "previous.pt", "damaged.pt"
FORMAT = 1
_MARK = b"\nhpc_adabatch checkpoint "
_LINE = len(_MARK) + len(b"1 ") + len(b"sha256 ") + 64 + 1
_PIECE = 2**26  # bytes read, or sent in one message: Horovod and MPI count in 32 bits


@dataclass(frozen=True)
class Loaded:
    """A checkpoint that was found whole."""

    state: dict[str, Any]
    """The state that was saved."""
    damaged: dict[str, str]
    """The newer files that are not whole: what is wrong by name."""

    def told(self, folder: Path) -> Iterator[str]:
        """Yields a line for each file of the folder that is not whole."""
        for name, why in self.damaged.items():
            yield f"{folder / name} is {why}: kept as {DAMAGED}"


def save(folder: Path, state: dict[str, Any]) -> None:
    """Writes the state, and keeps the one before; called on rank 0 only."""
    folder.mkdir(parents=True, exist_ok=True)
    with whole(folder / LAST, previous=folder / PREVIOUS) as file:
        summing = _Summing(file)
        torch.save(state, summing)  # type: ignore[arg-type]
        summing.write(_MARK + f"{FORMAT} ".encode())
        file.write(f"sha256 {summing.sum.hexdigest()}\n".encode())


def load(folder: Path, cluster: Cluster) -> Loaded | None:
    """Returns the newest whole state, read by rank 0 and sent to all ranks; None when there is none.

    Raises:
        InputError: There are checkpoints, and none of them is whole; or a newer release has written them.
    """
    found: Loaded | InputError | None = None
    if cluster.leads:
        try:
            found = _newest(folder)
        except InputError as error:
            found = error
    told = cluster.tell(Loaded(_without_tensors(found.state), found.damaged) if isinstance(found, Loaded) else found)
    if isinstance(told, InputError):
        raise told
    if told is None or cluster.size == 1:
        return found if isinstance(found, Loaded) else None
    own = iter(_tensors(found.state)) if isinstance(found, Loaded) else None
    return Loaded(_with_tensors(told.state, own, cluster), told.damaged)


def put_aside(folder: Path, damaged: dict[str, str]) -> None:
    """Renames damaged files, which the next save would else keep in the place of the one that is whole."""
    for name in damaged:
        os.replace(folder / name, folder / DAMAGED)
        sync_folder(folder)


def exists(folder: Path) -> bool:
    """Reports whether a run has saved a checkpoint in the folder."""
    return any((folder / name).exists() for name in (LAST, PREVIOUS))


class _Summing(io.RawIOBase):
    """A file that takes the checksum of what is written to another one."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._file, self.sum = file, hashlib.sha256()

    def write(self, content: Any) -> int:
        self.sum.update(content)
        return self._file.write(content)


def _newest(folder: Path) -> Loaded | None:
    """Returns the state of the newest file that is whole; damaged ones before it are put aside."""
    wrong: dict[str, str] = {}
    for name in (LAST, PREVIOUS):
        if not (folder / name).exists():
            continue
        try:
            fault = _fault(folder / name)
            state = torch.load(folder / name, weights_only=True, map_location="cpu") if fault is None else None
        except InputError:
            raise
        except Exception as error:  # torch names no common class for what it cannot read
            fault, state = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}", None
        if isinstance(state, dict):
            return Loaded(state, wrong)
        wrong[name] = fault or "no checkpoint of this program"
    if wrong:
        given = f"{folder}: " + ", ".join(f"{name} is {why}" for name, why in wrong.items())
        raise InputError("resume", given, "a whole checkpoint", "another --out, to start anew")
    return None


def _fault(path: Path) -> str | None:
    """Returns what is wrong with a file, in words; None where its checksum holds.

    Raises:
        InputError: A newer release has written it.
    """
    if not path.is_file():
        return "a folder"
    length = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, length - _LINE))
        line = file.read()
        if not line.startswith(_MARK):  # cut; or of a release that wrote no line, but each tensor has a checksum too
            old = b"hpc_adabatch" not in line and zipfile.is_zipfile(path)
            return None if old and zipfile.ZipFile(path).testzip() is None else "damaged"
        said, _, wanted = line.rpartition(b"sha256 ")
        file.seek(0)
        found, left = hashlib.sha256(), length - len(line) + len(said)
        while left > 0 and (piece := file.read(min(_PIECE, left))):
            found.update(piece)
            left -= len(piece)
    if found.hexdigest().encode() != wanted.rstrip():
        return "damaged"
    version = said[len(_MARK) :].decode().strip()
    given = f"{path}, in format {version}"
    require(version == str(FORMAT), "resume", given, f"format {FORMAT}", "a newer release of hpc_adabatch")
    return None


@dataclass(frozen=True)
class _Place:
    """The place of a tensor in a state that travels without its tensors."""

    shape: torch.Size
    dtype: torch.dtype


def _tensors(tree: Any) -> Iterator[torch.Tensor]:
    """Yields the tensors of nested dictionaries, lists and tuples in their order."""
    if isinstance(tree, torch.Tensor):
        yield tree
    elif isinstance(tree, dict | list | tuple):
        for inner in tree.values() if isinstance(tree, dict) else tree:
            yield from _tensors(inner)


def _without_tensors(tree: Any) -> Any:
    if isinstance(tree, torch.Tensor):
        return _Place(tree.shape, tree.dtype)
    if isinstance(tree, dict):
        return type(tree)((key, _without_tensors(inner)) for key, inner in tree.items())
    return type(tree)(map(_without_tensors, tree)) if isinstance(tree, list | tuple) else tree


def _with_tensors(tree: Any, own: Iterator[torch.Tensor] | None, cluster: Cluster) -> Any:
    """Returns the tree with its tensors: rank 0's own, sent to the others."""
    if isinstance(tree, _Place):
        tensor = next(own).contiguous() if own is not None else torch.empty(tree.shape, dtype=tree.dtype)
        for piece in torch.split(tensor.reshape(-1).view(torch.uint8), _PIECE) if tensor.numel() else ():
            cluster.broadcast_(piece, "checkpoint")
        return tensor
    if isinstance(tree, dict):
        return type(tree)((key, _with_tensors(inner, own, cluster)) for key, inner in tree.items())
    return type(tree)(_with_tensors(inner, own, cluster) for inner in tree) if isinstance(tree, list | tuple) else tree
