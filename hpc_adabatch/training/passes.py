"""This rank's passes through the batch in hand: handed out one by one, each waiting for its loss."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass

import torch

from ..batches import GlobalBatch
from ..batches.micro_batch import parts, pieces
from ..cluster import Cluster
from ..errors import OneLineError, require
from .feed import Feed, Micro
from .gradient import Gradient
from .measuring import Measuring, NotMeasuring


@dataclass(frozen=True, kw_only=True)
class Pass:
    """A micro-batch that waits for its loss."""

    samples: int
    """The samples of the micro-batch."""
    of: int
    """The samples over which the gradient is a mean, on all ranks; 0 where only the loss of this one is wanted."""
    is_again: bool
    """True where the same micro-batch was handed out before in this step."""


class Passes:
    """The passes of one step after another.

    Args:
        feed: The micro-batches.
        gradient: Takes the gradient of each pass.
        measuring: Measures its length, on measured steps.
        cluster: The ranks that share a batch.
        max_micro_batch: The most samples of a pass.

    Attributes:
        unread: The error that has ended the reading of samples on this rank; all ranks raise it after their sum.
    """

    def __init__(
        self,
        feed: Feed,
        gradient: Gradient,
        measuring: Measuring | NotMeasuring,
        cluster: Cluster,
        max_micro_batch: int,
    ) -> None:
        self._feed, self._gradient, self._measuring = feed, gradient, measuring
        self._cluster, self._max_micro_batch = cluster, max_micro_batch
        self._waiting: Pass | None = None
        self._weighted: bool | None = None  # None before the first pass
        self.unread: OneLineError | None = None

    @property
    def samples_in_hand(self) -> int:
        """Returns the samples of the micro-batch that waits for its loss; 0 where none does."""
        return self._waiting.samples if self._waiting is not None else 0

    def enter_epoch(self) -> None:
        """Starts reading samples at the plan's cursor."""
        self._feed.enter_epoch()

    def begin_step(self) -> None:
        """Forgets the step before."""
        self._feed.begin_step()
        self._waiting = None

    def hand_out(self, batch: GlobalBatch) -> Iterator[Micro]:
        """Yields this rank's micro-batches of a batch; the sum over ranks is told how many."""
        sizes = self._sizes(len(batch.share(self._cluster.rank, self._cluster.size)))
        self._measuring.begin_passes(len(sizes))
        self._gradient.expect(len(sizes))
        for samples in sizes:
            try:
                micro_batch = self._feed.take(samples)
            except OneLineError as error:
                self.unread = error
                return
            yield from self._wait(micro_batch, Pass(samples=samples, of=len(batch), is_again=False))

    def again(self, samples: int, gradients: bool) -> Generator[Micro, None, float]:
        """Yields the micro-batches of the step once more, at the weights there are now.

        Args:
            samples: The samples of the batch, over all ranks.
            gradients: True for gradients, whose mean ``p.grad`` holds afterwards; False for losses only.

        Returns:
            The mean loss of the batch; 0 where gradients were asked for.
        """
        if gradients:
            self._gradient.begin_again(self._feed.passes)
        was_enabled = torch.is_grad_enabled()
        for own, micro_batch in self._feed.again():
            try:  # the caller's loop may be left here
                torch.set_grad_enabled(gradients)
                yield from self._wait(micro_batch, Pass(samples=own, of=samples if gradients else 0, is_again=True))
            finally:
                torch.set_grad_enabled(was_enabled)
        if not gradients:
            return self._gradient.mean_loss_again()
        self._gradient.sum_again(samples)
        return 0.0

    def backward(self, loss: torch.Tensor, weight: float | torch.Tensor | None) -> None:
        """Takes the loss of the micro-batch in hand. Shape (), a mean.

        Args:
            loss: The loss.
            weight: The number of what it is a mean over; its samples when not given.

        Raises:
            InputError: The loss is no tensor of one number with a graph, or the weight is negative or not finite.
            RuntimeError: No micro-batch waits for its loss; or some passes have a weight and others have none.
        """
        taken, self._waiting = self._waiting, None
        if taken is None:
            raise RuntimeError("one backward(loss) for each micro-batch of the step")
        if self._weighted not in (None, weight is not None):
            raise RuntimeError("backward(loss, weight=...) on every micro-batch or on none: some had a weight")
        self._weighted = weight is not None
        check_loss(loss, of_gradient=taken.of > 0)
        counted = taken.samples if weight is None else checked(float(weight))
        if counted == 0:  # the mean over nothing is no number
            if taken.of:
                self._gradient.pass_by()
        elif taken.of:
            factor = self._gradient.factor(counted, taken.of)
            if not taken.is_again:
                self._measuring.begin_pass(counted, factor)
            self._gradient.backward(loss, counted, factor)
        else:
            self._gradient.add_loss(loss, counted)

    def _wait(self, micro_batch: Micro, waiting: Pass) -> Iterator[Micro]:
        self._waiting = waiting
        yield micro_batch
        if self._waiting is not None:
            raise RuntimeError("one backward(loss) for each micro-batch of the step; the last one had none")

    def _sizes(self, share: int) -> list[int]:
        """Returns the samples of each pass; a measured step is cut into as many pieces as a variance needs.

        None of these has one sample, with which a layer of batch normalisation cannot be trained.
        """
        sizes = pieces(share, self._max_micro_batch)
        if self._measuring.active and len(sizes) < (wanted := min(share // 2, self._measuring.pieces)):
            sizes = parts(share, wanted)
        return sizes


def check_loss(loss: torch.Tensor, *, of_gradient: bool) -> None:
    """Checks the loss of a pass.

    Args:
        loss: The loss.
        of_gradient: True where a gradient is taken of it.

    Raises:
        InputError: It is no tensor of one number, or has no graph.
    """
    is_number = isinstance(loss, torch.Tensor) and loss.numel() == 1
    given = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, torch.Tensor) else type(loss).__name__
    require(is_number, "loss", given, "a tensor of one number, the mean over the micro-batch", "loss.mean()")
    has_graph = loss.requires_grad or not of_gradient
    allowed = "one that the model's parameters lead to, without no_grad(), detach() or item() on the way"
    require(has_graph, "loss", "a tensor without a graph", allowed, "step.backward(loss_fn(model(inputs), targets))")


def checked(weight: float) -> float:
    """Returns the weight of a pass.

    Raises:
        InputError: It is negative or not finite.
    """
    require(weight >= 0 and math.isfinite(weight), "weight", weight, "what the loss is a mean over, 0 or more")
    return weight
