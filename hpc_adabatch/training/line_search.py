"""The step size found on the batch in hand: losses and gradients of the same samples at other weights.

    x, g of the batch  ->  x - alpha g: the same micro-batches again, losses only  ->  sum over ranks
    rank 0             ->  accept, or try another alpha  ->  every rank
    Barzilai-Borwein   ->  at the accepted weights the same micro-batches once more, with gradients

The loop that feeds the micro-batches is the caller's, unchanged: it is handed the same ones again. Weight decay belongs
to the objective here: decay/2 |w|^2 in the losses, decay w in the gradient. Running statistics of normalisation layers
are put back after a search; a network with dropout compares losses of different masks and should not be used with it.

Not here: the rules (optim/armijo.py, optim/barzilai_borwein.py).
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

import torch

from ..gradients.pieces import inner, square
from ..optim.armijo import HALVINGS, Armijo
from ..optim.barzilai_borwein import BarzilaiBorwein

if TYPE_CHECKING:
    from .adaptive import AdaptiveTraining
    from .step import Step

Micro = tuple[torch.Tensor, ...]


class LineSearch:
    """Finds the step size of one step after another.

    Args:
        rule: Armijo, or Barzilai-Borwein.
        training: whose weights are moved.

    Attributes:
        evaluations: samples whose loss was computed again, over all ranks.
    """

    def __init__(self, rule: Armijo, training: AdaptiveTraining) -> None:
        self.rule = rule
        self.evaluations = 0
        self._training = training
        self._batch = training.start_batch  # of the last search that the next one starts from

    def _decays(self) -> list[tuple[torch.nn.Parameter, float]]:
        groups = self._training.optimizer.param_groups
        return [(p, float(group.get("search_decay", 0.0))) for group in groups for p in group["params"]]

    def run(self, step: Step) -> Generator[Micro, None, None]:
        """Sums the step's gradients over ranks and sets its learning rate; leaves weights and gradients as they are.

        The next search starts from what this one finds; not from what the few samples left of an epoch gave, whose step
        is as short as their gradient is noisy.
        """
        training, samples = self._training, len(step.batch)
        training.sum_over_ranks(step)
        if not step.finite:
            return
        learns, grew = step.is_whole, step.batch_after > self._batch
        if learns:
            self._batch = step.batch_after
        weights = [(p, decay) for p, decay in self._decays() if p.grad is not None]
        with torch.no_grad():
            for p, decay in weights:
                p.grad.add_(p, alpha=decay)  # type: ignore[union-attr]
            start = [p.clone() for p, _ in weights]
            gradient = [p.grad.clone() for p, _ in weights]  # type: ignore[union-attr]
            buffers = [buffer.clone() for buffer in training.model.buffers()]
        slope = float(torch.stack([square(g) for g in gradient]).sum())
        loss = step.loss_sum / samples + self._penalty(weights)
        alpha = self._told(self.rule.first(grew=grew, part=samples / training.plan.n_samples))
        for _ in range(HALVINGS):
            self._move(weights, start, gradient, alpha)
            there = (yield from self._losses(step)) / samples + self._penalty(weights)
            if self._told(float(self.rule.accepts(alpha, loss, there, slope))):
                if learns:
                    self.rule.after(alpha)
                    if isinstance(self.rule, BarzilaiBorwein):
                        yield from self._learn(step, self.rule, weights, start, gradient, slope)
                break
            alpha /= 2
        else:  # no descent that floating point could show: the weights stay, the next batch tries again, lower down
            if learns:
                self.rule.after(alpha * 2 ** (HALVINGS // 2))
            alpha = 0.0
        with torch.no_grad():
            for (p, _), value, g in zip(weights, start, gradient, strict=True):
                p.copy_(value)
                p.grad.copy_(g)  # type: ignore[union-attr]
            for buffer, value in zip(training.model.buffers(), buffers, strict=True):
                buffer.copy_(value)
        for group in training.optimizer.param_groups:
            group["lr"] = alpha

    def _learn(
        self,
        step: Step,
        rule: BarzilaiBorwein,
        weights: list[tuple[torch.nn.Parameter, float]],
        start: list[torch.Tensor],
        gradient: list[torch.Tensor],
        slope: float,
    ) -> Generator[Micro, None, None]:
        """The change of the gradient along the step, on the same batch."""
        training = self._training
        training.averaging.begin_again(step.passes_taken)
        yield from step.again(gradients=True)
        training.averaging.sum_again(step)
        change = moved = 0.0
        with torch.no_grad():
            for (p, decay), x, g in zip(weights, start, gradient, strict=True):
                p.grad.add_(p, alpha=decay)  # type: ignore[union-attr]
                change += float(inner(p - x, p.grad - g))  # type: ignore[operator]
                moved += float(square(p - x))
        measured = training.measuring.last if training.measuring is not None else None
        rule.learn(
            change=change,
            moved=moved,
            variance=measured.variance if measured is not None else 0.0,
            mean_square=slope,
            samples=len(step.batch),
            samples_per_epoch=training.plan.n_samples,
        )
        rule.alpha = self._told(rule.alpha)

    def _losses(self, step: Step) -> Generator[Micro, None, float]:
        """The loss summed over samples and ranks."""
        yield from step.again(gradients=False)
        self.evaluations += len(step.batch)
        return float(self._training.cluster.allreduce_(step.take_losses(), "search"))

    def _penalty(self, weights: list[tuple[torch.nn.Parameter, float]]) -> float:
        return sum(decay / 2 * float(square(p)) for p, decay in weights if decay)

    @staticmethod
    @torch.no_grad()
    def _move(
        weights: list[tuple[torch.nn.Parameter, float]],
        start: list[torch.Tensor],
        gradient: list[torch.Tensor],
        alpha: float,
    ) -> None:
        for (p, _), x, g in zip(weights, start, gradient, strict=True):
            p.copy_(x).add_(g, alpha=-alpha)

    def _told(self, number: float) -> float:
        """Rank 0's."""
        return self._training.cluster.announce([number])[0]

    def state_dict(self) -> list[float]:
        """What the next search starts from: the batch, and the step size."""
        return [self._batch, self.rule.alpha]

    def load_state_dict(self, state: list[float]) -> None:
        batch, self.rule.alpha = state
        self._batch = int(batch)
