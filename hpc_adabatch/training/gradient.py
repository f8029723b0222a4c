"""The exact mean gradient over a global batch, from the passes of all ranks to one step of the optimizer.

Pass i of rank r holds b of the B samples of the global batch, and its loss is their mean:

    sum over ranks and passes of  (b / B) * gradient of the mean loss   =   gradient of the mean over the B samples

for uneven shares, short last batches and ranks without samples alike. The weights b / B are set here; buckets.py sums:

    backward x passes -> sum over ranks -> loss scale off -> is it finite? -> clip -> optimizer -> zero

A loss may be the mean over other things than samples, such as the words that are no padding. Then each pass tells their
number w, whose sum W over ranks is known after the last pass: the passes have the weights w / B, and the sum B / W.

A parameter that no pass of any rank has reached has no gradient, as in torch: it neither moves nor decays.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from ..cluster import Cluster
from ..errors import require
from .buckets import GradientSum
from .finite import GUARDED, are_finite
from .guard import Guard
from .scaler import NoScaler
from .slots import Numbers, joined

OWN = 4  # numbers beside the gradients that are theirs: loss, weight, how many are absent, whether passes are missing


@dataclass(frozen=True, kw_only=True)
class Summed:
    """The outcome of a sum over ranks, which every rank knows."""

    loss: float
    """The loss summed over all that the mean is over, so far in this step."""
    weight: float
    """The number of what the mean is over, W: the samples of the batch, where losses are means over samples."""
    finite: bool
    """True where that loss and the gradients are finite."""
    beside: list[float]
    """The numbers that travelled beside the gradients, summed over ranks."""
    void: int = 0
    """The ranks that have left passes out: there is no mean, and the step is to be made again."""


class Gradient:
    """The gradient of one optimizer step after another, as the mean over the samples of all ranks.

    Args:
        model: The network.
        optimizer: The optimizer of the parameters to train; others of the network keep no gradient.
        cluster: The ranks that share the batch.
        scaler: The scaler of losses in float16; losses are not scaled when not given.
        clip_norm: The length to which a longer averaged gradient is shortened; None leaves it alone.
        compression: The form in which gradients travel between ranks, ``none`` or ``fp16``.
        beside: The most numbers that ``sum_over_ranks`` is given.

    Attributes:
        optimizer: The optimizer.
        scaler: The scaler of losses.
        guard: The guard over gradients and optimizer within a step.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        cluster: Cluster,
        *,
        scaler: torch.amp.GradScaler | None = None,
        clip_norm: float | None = None,
        compression: str = "none",
        beside: int = 0,
    ) -> None:
        self.scaler: torch.amp.GradScaler | NoScaler = scaler or NoScaler()
        self.scaler.scale(torch.zeros((), device=cluster.device))  # else it has no state before its first loss
        self._scale, self._unscaled = 1.0, False
        self._cluster, self._clip_norm = cluster, clip_norm
        self._sum_of = partial(GradientSum, cluster=cluster, compression=compression, numbers=beside + OWN)
        self._model, self._known = model, [*map(id, model.parameters())]
        self.optimizer: Any = optimizer
        self._own: list[nn.Parameter] = []
        self._strays: list[nn.Parameter] = []  # of the network, which the optimizer does not have
        self._trained: list[nn.Parameter] = []
        self._sum = self._sum_of([])
        self._losses: float | torch.Tensor = 0.0  # of this rank, since the last sum
        self._weight = 0.0
        self._loss_of_batch = self._weight_of_batch = 0.0  # of all ranks, since the step began
        self.guard = Guard(optimizer)
        self._aside: dict[nn.Parameter, torch.Tensor] = {}  # mean gradient of a batch that is being lengthened
        self._unused: list[nn.Parameter] = []  # those that no pass of any rank has reached
        self._is_void = False

    def check_parameters(self) -> None:
        """Sees that the network has the parameters that it had at the start: others are in no optimizer.

        Raises:
            InputError: A layer was replaced or added since.
        """
        same = [*map(id, self._model.parameters())] == self._known
        example = "AdaptiveTraining(...) after the last layer is in its place"
        require(same, "model", "other parameters than at the start", "those that AdaptiveTraining was given", example)

    def begin_step(self) -> None:
        """Takes the loss scale and the parameters that hold for the whole step: layers may be frozen between steps."""
        self._scale, self._unscaled = float(self.scaler.get_scale()), False
        if len(self._own) != sum(len(group["params"]) for group in self.optimizer.param_groups):
            self._own, self._strays = shared_out(self.optimizer, self._model)
        self.restart()  # another network's loss, a GAN's, may have left gradients in this one
        trained = [parameter for parameter in self._own if parameter.requires_grad]
        if [*map(id, trained)] != [*map(id, self._trained)]:
            self._sum.close()
            self._trained, self._sum = trained, self._sum_of(trained)

    def restart(self) -> None:
        """Forgets all passes of the step."""
        self._take_losses()
        self._loss_of_batch = self._weight_of_batch = 0.0
        self._aside, self._is_void = {}, False
        self._zero_grad()

    def void(self) -> None:
        """Leaves out the passes of this rank, some of which could not be made: the next sum tells it to all ranks."""
        self._take_losses()
        self._is_void = True
        self._zero_grad()

    def expect(self, passes: int) -> None:
        """Tells how many passes this rank will make; the sum over ranks starts to travel during the last one."""
        self._sum.expect(passes)

    def factor(self, weight: float, samples: int) -> float:
        """Returns w / B times the loss scale, for a pass of ``weight`` in a batch of ``samples`` over all ranks."""
        return weight / samples * self._scale

    def backward(self, loss: torch.Tensor, weight: float, factor: float) -> None:
        """Adds the gradient of a pass to ``p.grad``, and its loss to the sum.

        Args:
            loss: The mean loss of the pass. Shape ().
            weight: The number of what the mean is over: samples, or what the caller has counted.
            factor: The factor of its gradient, from ``factor``.
        """
        self.guard.look()
        self._sum.backward(loss, factor)
        self.guard.note(self._trained)
        self.add_loss(loss, weight)

    def pass_by(self) -> None:
        """Counts a pass in which there is nothing to learn from."""
        self._sum.pass_by()

    def add_loss(self, loss: torch.Tensor, weight: float) -> None:
        """Adds the mean loss of a pass to the sum."""
        mean = loss.item() if loss.device.type == "cpu" else loss.detach().double()  # a GPU is not waited for
        self._losses = self._losses + mean * weight
        self._weight += weight

    def sum_over_ranks(self, flags: list[float], measured: Numbers, *, samples: int, added: int = 0) -> Summed:
        """Makes ``p.grad`` the mean over the batch on every rank, with the loss scale taken off.

        Args:
            flags: Numbers of this rank to be summed beside the gradients.
            measured: More of them; none where the step is not measured.
            samples: B, the samples of the batch.
            added: The samples of the passes since ``set_aside``, where the batch was lengthened; else 0.

        Raises:
            RuntimeError: No pass of any rank has reached a parameter; all ranks raise it.
        """
        if self._cluster.size == 1:  # else the last pass has handed them over
            self.guard.look()
        self.guard.forget()
        losses, weight = self._take_losses()
        self._sum.fill()
        self._sum.send([losses, weight, len(self._sum.absent), self._is_void, *flags, *measured])
        loss, weight, absent_anywhere, void, *beside = self._sum.wait()
        if void:
            self._zero_grad()
            return Summed(loss=math.nan, weight=0.0, finite=False, beside=beside, void=int(void))
        self._unused = self._reached_by_none(self._sum.absent) if absent_anywhere else []
        if self._trained and weight and len(self._unused) == len(self._trained):
            raise RuntimeError("no parameter has a gradient: the losses are not of the model that is trained")
        self._leave_out()
        self._unscale()
        self._divide(weight, added or samples)
        self._loss_of_batch, before = self._loss_of_batch + loss, self._weight_of_batch
        self._weight_of_batch = before + weight
        if added and self._weight_of_batch:
            self._join(old=before / self._weight_of_batch, new=weight / self._weight_of_batch)
        largest = sys.maxsize if self.scaler.is_enabled() else GUARDED  # float16 overflows in any of them
        finite = math.isfinite(loss) and self._weight_of_batch > 0 and are_finite(self._sum.look(largest))
        return Summed(loss=self._loss_of_batch, weight=self._weight_of_batch, finite=finite, beside=beside)

    def set_aside(self) -> None:
        """Keeps the mean so far, before samples are added to the batch; the next sum is over those alone."""
        self._aside = {p: p.grad.clone() for p in self._trained if p.grad is not None}
        self._zero_grad()

    def begin_again(self, passes: int) -> None:
        """Forgets the gradients before those of the same passes at other weights."""
        self._zero_grad()
        self.expect(passes)

    def sum_again(self, samples: int) -> None:
        """Makes ``p.grad`` the mean over the same batch of ``samples`` at other weights, on every rank."""
        self._sum.fill()
        self._sum.send()
        self._sum.wait()
        self._leave_out()
        self._unscale()
        self._divide(self._weight_of_batch, samples)
        self._take_losses()

    def mean_loss_again(self) -> float:
        """Returns the mean loss of the same batch at other weights, over all ranks."""
        losses, _ = self._take_losses()
        own = joined([losses], self._cluster.device)
        return float(self._cluster.allreduce_(own, "search")) / self._weight_of_batch

    def apply(self, *, finite: bool) -> None:
        """Takes the optimizer's step along ``p.grad`` where it is finite; then forgets the gradients.

        LARS sees the averaged, unscaled, clipped gradient, once a step.

        Raises:
            RuntimeError: The gradients were zeroed since they were summed.
        """
        if len(self._unused) < len(self._trained) and all(p.grad is None for p in self._trained):
            raise RuntimeError("zero_grad() was called before step.update(), which calls it itself: leave it out")
        if finite:
            if self._clip_norm is not None:
                nn.utils.clip_grad_norm_(self._trained, self._clip_norm)
            with self.guard.stepping():
                self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            self._back_off()
        self._zero_grad()

    def _zero_grad(self) -> None:
        self.guard.forget()
        for parameter in (*self._own, *self._strays):  # those that are not trained gather gradients too
            parameter.grad = None

    def _back_off(self) -> None:
        """Makes the loss scale that which torch's own skipped step leaves, whatever it was that was not finite."""
        self.scaler.update(self._scale * self.scaler.get_backoff_factor())  # leaves the count of steps until it grows
        if not isinstance(self.scaler, NoScaler):
            self.scaler.load_state_dict({**self.scaler.state_dict(), "_growth_tracker": 0})

    def _take_losses(self) -> tuple[float | torch.Tensor, float]:
        losses, self._losses = self._losses, 0.0
        weight, self._weight = self._weight, 0.0
        return losses, weight

    def _divide(self, weight: float, samples: int) -> None:
        """Makes the sums of passes that had the weights w / B their mean, where these do not add up to 1."""
        if weight in (samples, 0):
            return
        if gradients := [p.grad for p in self._trained if p.grad is not None]:
            torch._foreach_mul_(gradients, samples / weight)

    def _unscale(self) -> None:
        """Takes the loss scale off the summed gradients. A GradScaler does so once a step; further sums are ours."""
        if not self._unscaled:
            self.scaler.unscale_(self.optimizer)
            self._unscaled = True
        elif self.scaler.is_enabled():
            torch._foreach_mul_([p.grad for p in self._trained if p.grad is not None], 1 / self._scale)

    def _join(self, *, old: float, new: float) -> None:
        """Makes ``p.grad`` the mean over the samples set aside and those added, by their parts of the batch."""
        for p in self._trained:
            aside = self._aside.get(p)
            if p.grad is not None:
                p.grad.mul_(new)
            if aside is not None:
                p.grad = aside.mul_(old) if p.grad is None else p.grad.add_(aside, alpha=old)
        self._unused = [p for p in self._unused if p not in self._aside]
        self._aside = {}

    def _reached_by_none(self, absent: list[nn.Parameter]) -> list[nn.Parameter]:
        """Returns the parameters that are absent on all ranks, each of which calls this with its own."""
        missing = {id(parameter) for parameter in absent}
        reached = torch.tensor([float(id(p) not in missing) for p in self._trained], device=self._cluster.device)
        ranks = self._cluster.allreduce_(reached, "step.reached").tolist()
        return [p for p, count in zip(self._trained, ranks, strict=True) if count == 0]

    def _leave_out(self) -> None:
        for parameter in self._unused:
            parameter.grad = None


def shared_out(optimizer: torch.optim.Optimizer, model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Returns the optimizer's parameters, those of the model first and in its order, and what else the model has."""
    own = {parameter: None for group in optimizer.param_groups for parameter in group["params"]}
    of_model = list(model.parameters())
    ordered = {parameter: None for parameter in of_model if parameter in own} | own
    return list(ordered), [parameter for parameter in of_model if parameter not in own]
