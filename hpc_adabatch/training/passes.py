"""This rank's passes through the batch in hand: handed out one by one, each waiting for its loss."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from ..batches import GlobalBatch
from ..batches.micro_batch import parts, pieces
from ..cluster import Cluster
from ..cluster.room import lacks_memory, let_go
from ..errors import InputError, OneLineError
from .attempt import Attempts
from .bookmark import Bookmark
from .feed import Feed, Micro
from .gradient import Gradient
from .measuring import Measuring, NotMeasuring
from .micro_batch import MicroBatch
from .pass_loss import LossOf, check_loss, checked


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
        micro_batch: The most samples of a pass.
        bookmark: The state to which a step goes back that is made again.

    Attributes:
        unread: The error that has ended the reading of samples on this rank; all ranks raise it after their sum.
    """

    def __init__(
        self,
        feed: Feed,
        gradient: Gradient,
        measuring: Measuring | NotMeasuring,
        cluster: Cluster,
        micro_batch: MicroBatch,
        bookmark: Bookmark,
    ) -> None:
        self._feed, self._gradient, self._measuring = feed, gradient, measuring
        self._cluster, self._micro_batch, self._bookmark = cluster, micro_batch, bookmark
        self._waiting: Pass | None = None
        self._is_again = self._gave_up = False
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
        self._waiting, self._is_again, self._gave_up = None, False, False
        if self._micro_batch.is_auto:
            self._feed.mark()
            self._bookmark.set()

    def check_loop(self) -> None:
        """Sees that a loop over the micro-batches of a step may be a script's own.

        Raises:
            InputError: A pass that was too large could not be made again; all ranks raise it.
        """
        if self._micro_batch.is_auto:
            given, allowed = "auto, in a loop over the micro-batches", "a number there; or step.backward_all(loss)"
            example = "step.backward_all(lambda inputs, targets: loss_fn(model(inputs), targets))"
            error = InputError("max_micro_batch", given, allowed, example)
            error.shared = True
            raise error

    def find(self, loss_of: LossOf, share: int) -> dict[str, Any]:
        """Finds the most samples of a pass, before the first step, on all ranks together.

        Args:
            loss_of: The loss of a pass.
            share: The samples of a rank in the first step.

        Returns:
            How it was found, as fields of the journal.

        Raises:
            InputError: Not even one sample fits; all ranks raise it.
        """
        with self._cluster.together():
            self._feed.look_ahead()
        self._gradient.begin_step()
        self._bookmark.set()
        with Attempts(loss_of, self._feed, self._bookmark, self._gradient, self._cluster, least=share) as attempt:
            return self._micro_batch.find(attempt)

    def gives_up(self, error: Exception) -> bool:
        """Reports whether this rank may leave out the rest of its passes, so that all ranks make the step again.

        Args:
            error: The error that a pass has raised.
        """
        if self._is_again or not (self._micro_batch.is_auto and lacks_memory(error)):
            return False
        self._waiting, self._gave_up = None, True
        self._gradient.void()
        return True

    def begin_again(self) -> None:
        """Goes back to the beginning of a step that some ranks gave up."""
        let_go(self._cluster.device)
        self._gradient.restart()
        self._measuring.begin_again()
        self._feed.go_back()
        self._bookmark.go_back()
        self._gave_up = False

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
            except Exception as error:
                if not self.gives_up(error):
                    raise
                return
            yield from self._wait(micro_batch, Pass(samples=samples, of=len(batch), is_again=False))
            if self._gave_up:
                return

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
        self._waiting, self._is_again = waiting, waiting.is_again
        yield micro_batch
        if self._waiting is not None:
            raise RuntimeError("one backward(loss) for each micro-batch of the step; the last one had none")

    def _sizes(self, share: int) -> list[int]:
        """Returns the samples of each pass; a measured step is cut into as many pieces as a variance needs.

        None of these has one sample, with which a layer of batch normalisation cannot be trained.
        """
        sizes = pieces(share, self._micro_batch.largest)
        if self._measuring.active and len(sizes) < (wanted := min(share // 2, self._measuring.pieces)):
            sizes = parts(share, wanted)
        return sizes
