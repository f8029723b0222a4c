"""Passes of one sample, with which batch normalisation of one position cannot be trained: told before they come.

Such a layer takes its mean and variance over the samples alone, as BatchNorm1d does behind a linear layer, and
BatchNorm2d where convolutions have left 1x1 positions. torch raises a ValueError there, and would do so at the same
step of every epoch, resumed or not. A pass has one sample where a rank's share has (batches/plan.py), or where
``max_micro_batch`` leaves one over (batches/micro_batch.py).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.hooks import RemovableHandle

from ..batches import AdaptiveBatches
from ..batches.micro_batch import leaves_one
from ..batches.plan import sizes_ahead
from ..cluster import Cluster
from ..errors import InputError
from .micro_batch import MicroBatch


class OneSampleError(InputError):
    """A batch whose passes of one sample the network cannot be trained with."""


class OneSampleWatch:
    """A look at a network's batch normalisation while passes of one sample are ahead, and at no other time.

    Args:
        model: The network.
        batches: The training set, and the limits of its batch.
        cluster: The ranks.
        micro_batch: The most samples of a pass.
        samples: Tells the samples of the pass in hand, over which a layer may normalise; 0 between passes.
    """

    def __init__(
        self,
        model: nn.Module,
        batches: AdaptiveBatches,
        cluster: Cluster,
        micro_batch: MicroBatch,
        samples: Callable[[], int],
    ) -> None:
        self._model, self._plan, self._cluster, self._samples = model, batches.plan, cluster, samples
        self._micro_batch = micro_batch
        self._hooks: dict[str, RemovableHandle] = {}

    def foresee(self, global_batch: int) -> None:
        """Looks at the next pass, where this batch leaves that one or a later one of the epoch one sample."""
        for hook in self._hooks.values():
            hook.remove()
        self._hooks = {}
        if self._leaves_one(global_batch, self._cluster.size, self._micro_batch.largest):
            for name, layer in self._model.named_modules():
                if isinstance(layer, _BatchNorm):
                    look = partial(self._look, name, global_batch)
                    self._hooks[name] = layer.register_forward_pre_hook(look)

    def _look(self, name: str, global_batch: int, layer: Any, inputs: tuple[Any, ...]) -> None:
        samples, ranks = self._samples(), self._cluster.size
        if samples == 0:
            return
        self._hooks.pop(name).remove()  # a copy of the network shall have none
        normalises = layer.training or layer.running_mean is None
        if not normalises or inputs[0].numel() != samples * inputs[0].shape[1]:  # a channel has more values
            return
        error = OneSampleError(
            "global_batch",
            f"{global_batch} on {ranks} rank(s), of which a pass has one sample",
            f"two samples or more a pass, for batch normalisation of one position ({name})",
            self._remedy(global_batch, ranks),
        )
        error.shared = len(self._plan.cut(global_batch)) >= ranks  # all have a pass
        raise error

    def _remedy(self, batch: int, ranks: int) -> str:
        """Returns what to type instead."""
        now = self._micro_batch.largest
        for largest in (2, 3):
            if now < largest and not self._leaves_one(batch, ranks, largest):
                return f"--max_micro_batch {largest}"
        largest, more = max(now, 3), " --max_micro_batch 3" if now < 3 else ""
        sizes, fewer = range(batch + 1, self._plan.n_samples + 1), range(ranks - 1, 0, -1)
        larger = (f"--global_batch {size}{more}" for size in sizes if not self._leaves_one(size, ranks, largest))
        together = (f"-np {n}{more}" for n in fewer if not self._leaves_one(batch, n, largest))
        return ", or ".join(found for found in (next(larger, ""), next(together, "")) if found)

    def _leaves_one(self, batch: int, ranks: int, largest: int) -> bool:
        left = self._plan.n_samples - self._plan.cursor or self._plan.n_samples
        return any(leaves_one(size, ranks, largest) for size in sizes_ahead(left, batch))
