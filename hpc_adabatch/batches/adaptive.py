"""The training set with its batch: how large at the start, at most, and per pass.

Not here: deciding the batch (policies/), training on it (training/).
"""

from __future__ import annotations

from collections.abc import Callable, Sized
from typing import Any, cast

import torch
from torch.utils.data import Dataset

from ..errors import require
from .loader import Loader, open_loader
from .plan import BatchPlan
from .sampler import RankSampler

Transform = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # (inputs, keys) -> inputs, on the device


class AdaptiveBatches:
    """A training set cut into global batches whose size may change at every optimizer step.

    Args:
        dataset: any map-style dataset whose samples start with the input; a TensorDataset is indexed without workers.
        global_batch: samples per optimizer step over all ranks, at the start.
        max_global_batch: the largest it may become; the whole training set when not given.
        min_global_batch: the smallest it may become; ``global_batch`` when not given.
        max_micro_batch: the most samples one rank passes through its device at once; ``global_batch`` when not given.
        seed: of the order of the samples and of their augmentation.
        workers: processes that read samples ahead, per rank.
        transform: turns a micro-batch of inputs into what the model sees, on the device. Its second argument is one
            key per sample, shape (samples,), int64, equal for the same seed, epoch and sample on any number of ranks.

    Raises:
        InputError: a size is not positive, or the maximum is below the start.
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
    ) -> None:
        n_samples = len(cast(Sized, dataset))
        self.plan = BatchPlan(n_samples, seed)
        require(
            1 <= global_batch <= n_samples,
            "global_batch",
            global_batch,
            f"1 to {n_samples}, the samples of the training set",
            f"--global_batch {min(64, n_samples)}",
        )
        maximum = n_samples if max_global_batch is None else max_global_batch
        require(
            maximum >= global_batch,
            "max_global_batch",
            maximum,
            f"global_batch ({global_batch}) or more",
            f"--max_global_batch {max(8 * global_batch, 1)}",
        )
        minimum = global_batch if min_global_batch is None else min_global_batch
        require(
            1 <= minimum <= global_batch,
            "min_global_batch",
            minimum,
            f"1 to global_batch ({global_batch})",
            f"--min_global_batch {global_batch}",
        )
        micro = global_batch if max_micro_batch is None else max_micro_batch
        require(micro >= 1, "max_micro_batch", micro, "1 or more", "--max_micro_batch 64")
        require(workers >= 0, "workers", workers, "0 or more", "--workers 2")
        self.dataset = dataset
        self.global_batch = global_batch
        self.min_global_batch = minimum
        self.max_global_batch = min(maximum, n_samples)
        self.max_micro_batch = micro
        self.seed = seed
        self.workers = workers
        self.transform = transform

    def check_ranks(self, n_ranks: int) -> None:
        """Raises InputError when there are more ranks than samples."""
        most = self.plan.n_samples
        require(n_ranks <= most, "ranks", n_ranks, f"at most {most}, one sample each", f"-np {most}")

    def loader(self, rank: int, n_ranks: int) -> Loader:
        """This rank's reader, which follows the plan's epochs."""
        self.check_ranks(n_ranks)
        chunk = min(self.max_micro_batch, -(-self.global_batch // n_ranks))
        return open_loader(self.dataset, RankSampler(self.plan, rank, n_ranks), chunk=chunk, workers=self.workers)
