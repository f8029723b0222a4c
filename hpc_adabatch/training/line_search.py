"""The step size found on the batch in hand: losses and gradients of the same samples at other weights.

    1  x, g           the weights, and the averaged gradient with weight decay in it
    2  x - alpha g    the same micro-batches again, losses only -> sum over ranks -> rank 0: accept, or half of alpha
    3  Barzilai-Borwein: at the accepted weights the same micro-batches once more, with gradients
    4  x, g           as they were; alpha is the learning rate of the step

Weight decay belongs to the objective here: decay/2 |w|^2 in the losses, decay w in the gradient. Running statistics of
normalisation layers are put back too; a network with dropout compares losses of different masks and should not be
used with a search. The rules are in optim/armijo.py and optim/barzilai_borwein.py.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass

import torch
from torch import nn

from ..cluster import Cluster
from ..gradients.pieces import inner, square
from ..optim.armijo import HALVINGS, Armijo
from ..optim.barzilai_borwein import BarzilaiBorwein
from .feed import Micro

Again = Callable[[bool], Generator[Micro, None, float]]


@dataclass(frozen=True, kw_only=True)
class Start:
    """The batch in hand, as a search finds it."""

    samples: int
    """The samples of the batch, over all ranks."""
    loss: float
    """The mean loss over them."""
    variance: float
    """The gradient's variance of one sample, as measured last; 0 where it never was."""
    is_whole: bool
    """False where less than 3/4 of a batch was left: its step is as short as its gradient is noisy."""
    batch_after: int
    """The global batch from the next step on."""


class NoSearch:
    """A stand-in for a search, where the schedule gives the learning rate."""

    searches = False
    rule = None
    evaluations = 0

    def find(self, start: Start, again: Again) -> Generator[Micro, None, None]:
        """Hands out nothing, and leaves the learning rate alone."""
        yield from ()

    def state_dict(self) -> None:
        """Returns None, as there is nothing to remember."""

    def load_state_dict(self, state: object) -> None:
        """Takes up nothing."""


class LineSearch:
    """A search that finds the step size of one step after another.

    Args:
        rule: Armijo, or Barzilai-Borwein.
        model: The network whose weights are moved.
        optimizer: Its optimizer; the learning rates of its groups are set.
        cluster: The ranks, of which rank 0 accepts a step size for all.
        start_batch: The global batch at step 0.
        samples_per_epoch: The length of the training set.
        draws: True where samples are drawn with replacement.

    Attributes:
        evaluations: The samples whose loss alone was computed again, over all ranks, since the search was made.
    """

    searches = True

    def __init__(
        self,
        rule: Armijo,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        cluster: Cluster,
        *,
        start_batch: int,
        samples_per_epoch: int,
        draws: bool = False,
    ) -> None:
        self.rule = rule
        self.evaluations = 0
        self._model, self._optimizer, self._cluster = model, optimizer, cluster
        self._samples_per_epoch, self._draws = samples_per_epoch, draws
        self._batch = start_batch  # of the last search that the next one starts from

    def find(self, start: Start, again: Again) -> Generator[Micro, None, None]:
        """Hands out the step's micro-batches again until a step size is found, and sets the learning rate to it.

        The next search starts from what this one finds, except for the few samples left of an epoch.

        Args:
            start: The batch, whose averaged gradient ``p.grad`` holds on every rank.
            again: Hands out its micro-batches once more, with gradients or without; returns the mean loss over all
                ranks.
        """
        grew = start.batch_after > self._batch
        if start.is_whole:
            self._batch = start.batch_after
        # 1 where the search starts, with weight decay in loss and gradient
        line = Line(self._model, self._optimizer)
        try:
            alpha = yield from self._search(line, start, again, grew=grew)
        finally:  # also where the caller's loop is left
            # 4 back, for the optimizer to take the step
            line.back()
        for group in self._optimizer.param_groups:
            group["lr"] = alpha

    def _search(self, line: Line, start: Start, again: Again, *, grew: bool) -> Generator[Micro, None, float]:
        """Hands the micro-batches out at other weights. Returns the step size that was found; 0 for no descent."""
        loss = start.loss + line.penalty()
        # 2 rank 0's step size, halved until it accepts
        alpha = self._told(self.rule.first(grew=grew, part=start.samples / self._samples_per_epoch))
        for _ in range(HALVINGS):
            line.go(alpha)
            there = (yield from again(False)) + line.penalty()
            self.evaluations += start.samples
            if self._told(float(self.rule.accepts(alpha, loss, there, line.slope))):
                if start.is_whole:
                    self.rule.after(alpha)
                    if isinstance(self.rule, BarzilaiBorwein):
                        # 3 the change of the gradient along the step, on the same batch
                        yield from again(True)
                        self._learn(self.rule, line, start)
                return alpha
            alpha /= 2
        # no descent that floating point could show: the weights stay, the next batch tries again, lower down
        if start.is_whole:
            self.rule.after(alpha * 2 ** (HALVINGS // 2))
        return 0.0

    def _learn(self, rule: BarzilaiBorwein, line: Line, start: Start) -> None:
        change, moved = line.curvature()
        rule.learn(
            change=change,
            moved=moved,
            variance=start.variance,
            mean_square=line.slope,
            samples=start.samples,
            samples_per_epoch=self._samples_per_epoch,
            draws=self._draws,
        )
        rule.alpha = self._told(rule.alpha)

    def _told(self, number: float) -> float:
        """Rank 0's number."""
        return self._cluster.announce([number])[0]

    def state_dict(self) -> list[float]:
        """Returns what the next search starts from: the batch, and the step size."""
        return [self._batch, self.rule.alpha]

    def load_state_dict(self, state: list[float]) -> None:
        """Takes up what ``state_dict`` returned."""
        batch, self.rule.alpha = state
        self._batch = int(batch)


class Line:
    """The line x - alpha g through the weights, on which a search moves them.

    Args:
        model: The network, at x; its running statistics come back with the weights.
        optimizer: Its optimizer, whose groups say in ``search_decay`` which weights decay.

    Attributes:
        slope: |g|^2, weight decay included.
    """

    @torch.no_grad()
    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        decays = [
            (p, float(group.get("search_decay", 0.0))) for group in optimizer.param_groups for p in group["params"]
        ]
        self._weights = [(p, decay) for p, decay in decays if p.grad is not None]
        for p, decay in self._weights:
            p.grad.add_(p, alpha=decay)
        self._start = [p.clone() for p, _ in self._weights]
        self._gradient: list[torch.Tensor] = [p.grad.clone() for p, _ in self._weights]
        self._buffers = list(model.buffers())
        self._kept = [buffer.clone() for buffer in self._buffers]
        self.slope = float(torch.stack([square(g) for g in self._gradient]).sum())

    @torch.no_grad()
    def go(self, alpha: float) -> None:
        """Moves the weights to x - alpha g."""
        for (p, _), x, g in zip(self._weights, self._start, self._gradient, strict=True):
            p.copy_(x).add_(g, alpha=-alpha)

    @torch.no_grad()
    def back(self) -> None:
        """Puts weights, gradients and running statistics back as they were at x."""
        for (p, _), x, g in zip(self._weights, self._start, self._gradient, strict=True):
            p.copy_(x)
            p.grad.copy_(g)
        for buffer, kept in zip(self._buffers, self._kept, strict=True):
            buffer.copy_(kept)

    def penalty(self) -> float:
        """Returns decay/2 |w|^2 at the weights there are now."""
        return float(sum(decay / 2 * square(p) for p, decay in self._weights if decay))  # one wait for the device

    @torch.no_grad()
    def curvature(self) -> tuple[float, float]:
        """Returns <x' - x, g(x') - g(x)> and |x' - x|^2, with ``p.grad`` computed at the weights x' there are now."""
        change = moved = torch.zeros((), dtype=torch.float64)
        for (p, decay), x, g in zip(self._weights, self._start, self._gradient, strict=True):
            p.grad.add_(p, alpha=decay)
            change = change + inner(p - x, p.grad - g)  # on the device, which is waited for once
            moved = moved + square(p - x)
        return float(change), float(moved)
