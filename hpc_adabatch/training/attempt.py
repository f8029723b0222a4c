"""Micro-batches tried on this rank before training, by the passes of the caller's own loss, which leave no trace.

    two passes             the second finds the gradients of the first, as all passes of a step do but its first
    in a part of the room  cluster/room.py: less the head-room, and what the optimizer will keep
    then                   buffers, generators and gradients are as before; the samples were only looked at

Nothing is sent to other ranks meanwhile: a rank that fails keeps none waiting.
"""

from __future__ import annotations

import time

import torch

from ..cluster import Cluster
from ..cluster.room import Room, lacks_memory
from ..errors import OneLineError
from .bookmark import Bookmark
from .feed import Feed
from .gradient import Gradient
from .micro_batch import Verdict
from .pass_loss import LossOf, check_loss

LONG_S = 5.0  # seconds of a pass that fills any device: a larger one would be no quicker a sample
STATE = 2  # tensors that an optimizer keeps for each parameter, as Adam does, until it has shown what it keeps


class Attempts:
    """Micro-batches of growing size, tried one after another within a ``with`` block.

    Args:
        loss_of: The loss of a pass.
        feed: The samples.
        bookmark: The state that a pass changes, set by now.
        gradient: The gradient, in a step that has begun: what sums it over ranks has its memory.
        cluster: The ranks.
        least: The samples of which the network must take a pass: a rank's share of the first step.
    """

    def __init__(
        self, loss_of: LossOf, feed: Feed, bookmark: Bookmark, gradient: Gradient, cluster: Cluster, *, least: int
    ) -> None:
        self._loss_of, self._feed, self._bookmark, self._gradient = loss_of, feed, bookmark, gradient
        self._cluster, self._least = cluster, least
        parameters = [p for group in gradient.optimizer.param_groups for p in group["params"] if p.requires_grad]
        later = 0 if gradient.optimizer.state else STATE * sum(parameter.nbytes for parameter in parameters)
        self._room = Room(cluster.device, cluster.local_size, later)
        self._before = 1  # samples that were tried last

    def __enter__(self) -> Attempts:
        return self

    def __exit__(self, *_: object) -> None:
        self._room.leave()

    def __call__(self, samples: int) -> Verdict:
        """Returns how passes of so many samples go."""
        self._cluster.watchdog.beat()
        factor, self._before = samples / self._before, samples
        if not self._room.allows(factor):
            return Verdict.LACKS
        try:
            self._room.begin()
            seconds = min(self._pass_s(samples) for _ in range(2))  # the first one may compile
            fits = self._room.end()
        except OneLineError:
            raise
        except (RuntimeError, ValueError, MemoryError) as error:
            if not lacks_memory(error) and samples >= self._least:
                raise
            return Verdict.LACKS if lacks_memory(error) else Verdict.REFUSES
        finally:
            self._gradient.restart()
            self._bookmark.go_back()
        return Verdict.LACKS if not fits else Verdict.FILLS if seconds > LONG_S else Verdict.FITS

    def _pass_s(self, samples: int) -> float:
        """Returns the seconds of a pass."""
        began_s = time.perf_counter()
        loss, _ = self._loss_of(self._feed.look(samples))
        check_loss(loss, of_gradient=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if self._cluster.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began_s
