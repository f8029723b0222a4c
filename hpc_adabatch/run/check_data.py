"""Reading every image once before a run: a list of those that cannot be read, for ``task.leave_out``.

All ranks share the images, each with its loader workers. An image is decoded as a run would, whatever size it is then
scaled to. What the list holds already, for whatever reason, it keeps.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from ..batches.workers import Chunks
from ..cluster import Cluster
from ..errors import InputError, complain, require
from ..files import make_writable, whole
from ..recipe import Recipe
from ..tasks import leave_out
from ..tasks.image_folder import FolderTask
from ..tasks.images import ImagePaths

CHUNK = 32  # images that a worker reads at a time
SHOWN = 20  # images that are named one by one
SECONDS_BETWEEN_LINES = 30.0


@dataclass(frozen=True, kw_only=True)
class CheckFlags:
    """The list of images that cannot be read."""

    out: str | None = None
    """The file for the list; that of task.leave_out, or leave-out.txt, when not given."""


def check_data(recipe: Recipe, flags: CheckFlags, cluster: Cluster) -> int:
    """Reads every image on all ranks together, and lists those that fail. Returns 2, the exit code, if one is new.

    Raises:
        InputError: The task has no images that are read one by one, or the list cannot be written; on every rank.
    """
    task = recipe.task
    with cluster.together():
        if not isinstance(task, FolderTask):
            raise InputError(
                "task", recipe.chosen["task"], "a task of image files: image_folder, imagenet", "--task image_folder"
            )
        known = leave_out.read(task.leave_out, task.root) if task.leave_out is not None else set()
        out = Path(flags.out or task.leave_out or leave_out.FILE)
        taken = out.exists() and (task.leave_out is None or not out.samefile(task.leave_out))
        given = f"{out}, which is there already"
        require(not taken, "out", given, "a new file, or the list to add to", f"--task.leave_out {out}")
        if cluster.leads:
            make_writable(out.parent, given=out, allowed="a file in a folder that can be written", example="--out FILE")
    train, test = replace(task, leave_out=None).listings(cluster)
    failed: dict[str, str] = {}
    for part, files in (("training", train.files), ("test", test.files)):
        failed |= _failures(files, part, cluster, recipe.options.workers)
    new = failed.keys() - known
    if cluster.leads:
        for name in sorted(new)[:SHOWN]:
            print(failed[name])
        if len(new) > SHOWN:
            print(f"and {len(new) - SHOWN} more")
        said = f"{len(failed):,} of {len(train.files) + len(test.files):,} images cannot be read"
        if new:
            with whole(out) as file:
                file.write(leave_out.content(known.union(failed)))
            said += f"; to leave them out: --task.leave_out {out}"
        elif failed:
            said += f", and {task.leave_out} leaves them out"
        print(said)
    return 2 if new else 0


def _failures(files: ImagePaths, part: str, cluster: Cluster, workers: int) -> dict[str, str]:
    """Returns what is wrong with each image that cannot be read, by its path below the root; on every rank."""
    mine = range(cluster.rank, len(files), cluster.size)
    cluster.watchdog.enter(f"reading the {part} images", prepares=True)  # ranks wait for the slowest
    found: dict[str, str] = {}
    done, told_s = 0, time.monotonic()
    for chunk in Chunks(_Readings(files, mine), chunk=CHUNK, workers=workers):
        found |= {name: fault for name, fault in zip(*chunk, strict=True) if fault}
        cluster.watchdog.beat()
        done += len(chunk[0])
        if cluster.leads and time.monotonic() - told_s > SECONDS_BETWEEN_LINES:
            told_s = time.monotonic()
            complain(f"{part} images: {100 * done // len(mine)} %")
    return {name: fault for told in cluster.gather(found) for name, fault in told.items()}


class _Readings(Dataset[Any]):
    """A dataset of the images' paths below the root, each with what is wrong with it, if anything is."""

    def __init__(self, files: ImagePaths, mine: range) -> None:
        self._files, self._mine = files, mine

    def __len__(self) -> int:
        return len(self._mine)

    def __getitem__(self, number: int) -> tuple[str, str]:
        index, fault = self._mine[number], ""
        try:
            self._files.decode(index, 1)
        except InputError as error:
            fault = error.given
        return self._files.name(index), fault
