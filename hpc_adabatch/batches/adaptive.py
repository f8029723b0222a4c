"""The training set with the limits of its batch."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sized
from typing import Any, cast

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

from ..errors import require, whole
from .draws import Draws, Weights
from .loader import Collate, Loader, open_loader
from .plan import BatchPlan
from .sampler import RankSampler

Transform = Callable[[Any, torch.Tensor], Any]  # (inputs, keys) -> inputs, on the device


class AdaptiveBatches:
    """A training set cut into global batches whose size may change at every optimizer step.

    An epoch has each sample once, in an order that follows from the seed: there is no sampler, and no IterableDataset.
    ``Subset(dataset, indices)`` with indices that come several times weighs samples. Micro-batches have any number of
    samples, so there is no collate_fn: the dataset gives samples of one shape.

    Args:
        dataset: A map-style dataset; a TensorDataset is indexed without workers. Its samples may be tensors, numbers,
            text, and tuples and dicts of them: a micro-batch has their form, with a tensor (samples, ...) in the place
            of each tensor and number, and a list in that of each text and of all else.
        global_batch: Samples per optimizer step over all ranks, at the start.
        max_global_batch: Largest global batch, in samples; a whole epoch when not given.
        min_global_batch: Smallest global batch, in samples; ``global_batch`` when not given.
        max_micro_batch: Most samples that one rank passes through its device at once; ``global_batch`` when not given.
        seed: Seed of the order of the samples and of their augmentation.
        workers: Number of processes of each rank that read samples ahead.
        transform: A function (inputs, keys) -> inputs that prepares a micro-batch on the device. Inputs are the first
            field of a micro-batch that is a tuple, else all of it. The keys, one for each sample, shape (samples,),
            int64, are equal for equal seed, epoch and sample on any number of ranks.
        collate: A function that makes a micro-batch of any form of a list of samples, as DataLoader's ``collate_fn``:
            for example, one that pads sequences to the longest of them.
        weights: A positive number for each sample, where an epoch is made of draws with replacement: as many as there
            are samples, each of which comes as often as its weight says. Else an epoch has every sample once.
        samples_per_epoch: The draws of an epoch, where ``weights`` are given; the samples of the dataset when not
            given.

    Attributes:
        plan: The cursor over the epochs, which cuts the global batches.

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
        max_micro_batch: int | None = None,
        seed: int = 0,
        workers: int = 0,
        transform: Transform | None = None,
        collate: Collate | None = None,
        weights: Weights | None = None,
        samples_per_epoch: int | None = None,
    ) -> None:
        sized = isinstance(dataset, Sized)
        require(
            sized, "dataset", type(dataset).__name__, "a map-style dataset, which has a length", "TensorDataset(x, y)"
        )
        n_samples = length = len(cast(Sized, dataset))
        if samples_per_epoch is not None:
            require(weights is not None, "samples_per_epoch", samples_per_epoch, "none: an epoch has every sample once")
            require(whole(samples_per_epoch) >= 1, "samples_per_epoch", samples_per_epoch, "1 or more draws")
            n_samples = samples_per_epoch
        self.plan = BatchPlan(n_samples, seed)
        self._draws = Draws(weights, length, n_samples, seed) if weights is not None else None
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
        micro = global_batch if max_micro_batch is None else max_micro_batch
        require(whole(micro) >= 1, "max_micro_batch", micro, "1 or more", "--max_micro_batch 64")
        require(whole(workers) >= 0, "workers", workers, "0 or more", "--workers 2")
        require(transform is None or callable(transform), "transform", transform, "a function (inputs, keys) -> inputs")
        require(collate is None or callable(collate), "collate", collate, "a function (list of samples) -> micro-batch")
        self._owner: weakref.ref[object] | None = None
        self.dataset = dataset
        self.global_batch = global_batch
        self.min_global_batch = minimum
        self.max_global_batch = min(maximum, n_samples)
        self.max_micro_batch = micro
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
        sampler = RankSampler(self.plan, rank, n_ranks, self._draws)
        return open_loader(self.dataset, sampler, chunk=chunk, workers=self.workers, collate=self.collate)
