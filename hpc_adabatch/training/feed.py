"""This rank's micro-batches on its device, augmented; and the same ones again, where a step size is searched."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from ..batches import AdaptiveBatches
from ..batches.keys import sample_keys
from ..batches.loader import LOOKED_AT
from ..cluster import Cluster

Micro = Any  # a micro-batch in the form of the dataset's samples (batches/samples.py), or of the user's collate


class Feed:
    """The samples of this rank, one micro-batch after another.

    Args:
        batches: The training set, its transform and its seed.
        cluster: The ranks, and this one's device.
        keeps: True where the micro-batches of a step will be asked for again.
    """

    def __init__(self, batches: AdaptiveBatches, cluster: Cluster, *, keeps: bool) -> None:
        self._batches, self._device, self._keeps = batches, cluster.device, keeps
        self._cluster, self._watchdog = cluster, cluster.watchdog
        self._loader = batches.loader(cluster.rank, cluster.size)
        self._kept: list[tuple[Micro, torch.Tensor]] = []  # of the step in hand: samples, and numbers for their keys

    def enter_epoch(self) -> None:
        """Starts reading at the plan's cursor; all ranks wait until a stream has been passed over that far."""
        if not self._batches.is_stream:
            self._loader.enter_epoch()
            return
        self._watchdog.enter("passing over a stream's samples up to the cursor", prepares=True)
        with self._cluster.together():
            self._loader.enter_epoch()

    def begin_step(self) -> None:
        """Forgets the micro-batches of the step before."""
        self._kept = []

    @property
    def passes(self) -> int:
        """Returns the number of micro-batches of the step so far, where they are kept."""
        return len(self._kept)

    def mark(self) -> None:
        """Keeps the samples of the step that begins, which may be taken again."""
        self._loader.mark()

    def go_back(self) -> None:
        """Goes back to the first sample of the step."""
        self._loader.go_back()
        self._kept = []

    def look_ahead(self) -> None:
        """Reads the samples that ``look`` shows.

        Raises:
            OneLineError: They cannot be read.
        """
        self._loader.look(LOOKED_AT)

    def look(self, n_samples: int) -> Micro:
        """Returns a micro-batch like the next ones, of any size; the next ones stay where they are."""
        return self._ready(*self._loader.look(n_samples))

    def take(self, n_samples: int) -> Micro:
        """Returns the next samples of this rank as a micro-batch."""
        self._watchdog.beat()
        samples, numbers = self._loader.take(n_samples)
        if self._keeps:
            self._kept.append((samples, numbers))
        return self._ready(samples, numbers)

    def again(self) -> Iterator[tuple[int, Micro]]:
        """Yields the micro-batches of the step once more, augmented alike, each with the number of its samples."""
        for samples, numbers in self._kept:
            yield len(numbers), self._ready(samples, numbers)

    def _ready(self, samples: Micro, numbers: torch.Tensor) -> Micro:
        micro = moved(samples, self._device)
        if self._batches.transform is None:
            return micro
        epoch = self._batches.plan.epoch
        keys = sample_keys(self._batches.seed, epoch, numbers).to(self._device, non_blocking=True)
        if isinstance(micro, tuple):
            return (self._batches.transform(micro[0], keys), *micro[1:])
        return self._batches.transform(micro, keys)


def moved(form: Any, device: torch.device) -> Any:
    """Returns a micro-batch of any form with its tensors on the device, and whatever else can go there by ``to``."""
    if isinstance(form, torch.Tensor):
        return form.to(device, non_blocking=True)
    if callable(getattr(form, "to", None)):
        return form.to(device)
    if isinstance(form, dict):
        return {key: moved(part, device) for key, part in form.items()}
    if isinstance(form, tuple | list):
        parts = (moved(part, device) for part in form)
        return type(form)(*parts) if hasattr(form, "_fields") else type(form)(parts)  # a named tuple has fields
    return form
