"""The training set with the limits of its batch."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset

from ..errors import require, whole
from .dataset import epoch_of
from .draws import Draws, Weights
from .loader import Collate, Loader, open_loader, open_stream
from .plan import BatchPlan
from .sampler import RankPositions, RankSampler

Transform = Callable[[Any, torch.Tensor], Any]  # (inputs, keys) -> inputs, on the device


class AdaptiveBatches:
    """A training set cut into global batches whose size may change at every optimizer step.

    Args:
        dataset: A map-style dataset, or a stream (docs/datasets.md); a TensorDataset is indexed without workers. Its
            samples may be tensors, numbers, text, and tuples and dicts of them: a micro-batch has their form, with a
            tensor (samples, ...) in the place of each tensor and number, and a list in that of each text.
        global_batch: Samples per optimizer step over all ranks, at the start.
        max_global_batch: Largest global batch, in samples; a whole epoch when not given.
        min_global_batch: Smallest global batch, in samples; ``global_batch`` when not given.
        max_micro_batch: Most samples that one rank passes through its device at once; ``global_batch`` when not given.
            With ``auto`` all ranks find together, in the first step, how many fit (``step.backward_all``).
        seed: Seed of the order of the samples and of their augmentation.
        workers: Number of processes of each rank that read samples ahead; 1 at most for a stream that has no
            ``strided``, because each of them would make all samples.
        transform: A function (inputs, keys) -> inputs that prepares a micro-batch on the device. Inputs are the first
            field of a micro-batch that is a tuple, else all of it. The keys, one for each sample, shape (samples,),
            int64, are equal for equal seed, epoch and sample on any number of ranks.
        collate: A function that makes a micro-batch of any form of a list of samples, as DataLoader's ``collate_fn``:
            for example, one that pads sequences to the longest of them.
        weights: A positive number for each sample, where an epoch is made of draws with replacement: as many as there
            are samples, each of which comes as often as its weight says. Else an epoch has every sample once.
        samples_per_epoch: Number of samples of a stream, or of draws with ``weights``, that are an epoch; of draws as
            many as there are samples when not given.

    Attributes:
        plan: The cursor over the epochs, which cuts the global batches.
        is_stream: True for a stream, which is read in its own order.
        finds_micro_batch: True with ``auto``; ``max_micro_batch`` is then what it is when not given.

    Raises:
        InputError: An argument is out of range or of the wrong type.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        global_batch: int,
        *,
        max_global_batch: int | None = None,
        min_global_batch: int | None = None,
        max_micro_batch: int | Literal["auto"] | None = None,
        seed: int = 0,
        workers: int = 0,
        transform: Transform | None = None,
        collate: Collate | None = None,
        weights: Weights | None = None,
        samples_per_epoch: int | None = None,
    ) -> None:
        n_samples = epoch_of(dataset, samples_per_epoch, drawn=weights is not None)
        self.plan = BatchPlan(n_samples, seed)
        self._draws = Draws(weights, len(dataset), n_samples, seed) if weights is not None else None  # type: ignore[arg-type]
        require(
            1 <= whole(global_batch) <= n_samples,
            "global_batch",
            global_batch,
            f"1 to {n_samples}, the samples of an epoch",
            f"--global_batch {min(64, n_samples)}",
        )
        maximum = n_samples if max_global_batch is None else max_global_batch
        require(
            whole(maximum) >= global_batch,
            "max_global_batch",
            maximum,
            f"an integer, global_batch ({global_batch}) or more",
            f"--max_global_batch {max(8 * global_batch, 1)}",
        )
        minimum = global_batch if min_global_batch is None else min_global_batch
        require(
            1 <= whole(minimum) <= global_batch,
            "min_global_batch",
            minimum,
            f"1 to global_batch ({global_batch})",
            f"--min_global_batch {global_batch}",
        )
        self.finds_micro_batch = isinstance(max_micro_batch, str) and max_micro_batch == "auto"
        micro = global_batch if max_micro_batch is None or self.finds_micro_batch else max_micro_batch
        require(whole(micro) >= 1, "max_micro_batch", micro, "1 or more, or auto", "--max_micro_batch 64")
        require(whole(workers) >= 0, "workers", workers, "0 or more", "--workers 2")
        self.is_stream = isinstance(dataset, IterableDataset)
        shares = workers <= 1 or not self.is_stream or hasattr(dataset, "strided")
        allowed = "0 or 1, or a stream with strided(start, step): each worker would make all samples"
        require(shares, "workers", workers, allowed, "workers=1")
        require(transform is None or callable(transform), "transform", transform, "a function (inputs, keys) -> inputs")
        require(collate is None or callable(collate), "collate", collate, "a function (list of samples) -> micro-batch")
        self._owner: weakref.ref[object] | None = None
        self.dataset = dataset
        self.global_batch = global_batch
        self.min_global_batch = minimum
        self.max_global_batch = min(maximum, n_samples)
        self.max_micro_batch = int(micro)
        self.seed = seed
        self.workers = workers
        self.transform = transform
        self.collate = collate

    @property
    def population(self) -> int | None:
        """Returns the samples of the training set, each of which an epoch has once; None where they are drawn."""
        return self.plan.n_samples if self._draws is None else None

    @property
    def weights(self) -> np.ndarray | None:
        """Returns the weights of draws with replacement, one a sample; None where an epoch has every sample once."""
        return self._draws.weights if self._draws is not None else None

    def belong(self, training: object) -> None:
        """Gives the batches, whose cursor moves on with every step, to one training.

        Raises:
            InputError: They belong to another one, which lives.
        """
        owner = self._owner() if self._owner is not None else None
        taken = owner is not None and owner is not training and self.plan.samples_seen > 0
        require(not taken, "batches", "those of another training", "AdaptiveBatches of its own", "AdaptiveBatches(...)")
        self._owner = weakref.ref(training)

    def check_ranks(self, n_ranks: int) -> None:
        """Raises InputError if there are more ranks than samples."""
        most = self.plan.n_samples
        require(n_ranks <= most, "ranks", n_ranks, f"at most {most}, one sample each", f"-np {most}")

    def loader(self, rank: int, n_ranks: int) -> Loader:
        """Returns the reader of a rank's samples, which follows the plan's epochs.

        Args:
            rank: Number of the rank, from 0 on.
            n_ranks: Number of ranks that share a global batch.

        Raises:
            InputError: There are more ranks than samples.
        """
        self.check_ranks(n_ranks)
        chunk = min(self.max_micro_batch, -(-self.global_batch // n_ranks))
        if isinstance(self.dataset, IterableDataset):
            positions = RankPositions(self.plan, rank, n_ranks)
            return open_stream(self.dataset, positions, chunk=chunk, workers=self.workers, collate=self.collate)
        sampler = RankSampler(self.plan, rank, n_ranks, self._draws)
        return open_loader(self.dataset, sampler, chunk=chunk, workers=self.workers, collate=self.collate)
