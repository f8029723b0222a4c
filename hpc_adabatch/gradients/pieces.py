"""Squared lengths of each piece's gradient, read before anything is summed over passes or ranks.

A hook on each parameter sees the gradient of one backward pass alone: before it is added to ``p.grad``, and before
Horovod's allreduce, which works in place and in the background. The hooks are there on measured steps only, so other
steps do no extra work.

    backward of pass i  ->  hook: h = scale_i * g_i,  scale_i = loss scale * b_i / B   ->  |h|^2 in float64
    after the last pass ->  sum over i of b_i |g_i|^2, one number a parameter group, ready to travel with the gradients

Inner products with the mean gradient need the pieces until the mean is known. A rank then keeps one piece, the sum of
all its passes, or two, one for each half of its passes, if there is one rank only. Each costs a copy of the gradient.

    after the sum over ranks  ->  sum over kept pieces of b_i (g_i . g)^2

The formulas for which these sums are taken stand in noise.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch.utils.hooks import RemovableHandle

CHUNK = 2**20  # elements summed in float32 before float64 takes over: 30 million at once lose four digits


def inner(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Returns the inner product of two tensors of one shape: float64, shape (), without waiting for the device."""
    kind = torch.promote_types(torch.promote_types(a.dtype, b.dtype), torch.float32)  # half precision overflows
    flat, other = (tensor.detach().reshape(-1).to(kind) for tensor in (a, b))
    if flat.numel() <= CHUNK:
        return torch.dot(flat, other).double()
    chunks = zip(torch.split(flat, CHUNK), torch.split(other, CHUNK), strict=True)
    return torch.stack([torch.dot(one, two) for one, two in chunks]).double().sum()


def square(tensor: torch.Tensor) -> torch.Tensor:
    """Returns the squared Euclidean length of a tensor: float64, shape (), without waiting for the device."""
    return inner(tensor, tensor)


class _Kept:
    """A piece that is kept: the weighted sum of the gradients of its passes."""

    def __init__(self) -> None:
        self.weight = 0.0
        self.scale = 0.0
        self.gradients: dict[int, torch.Tensor] = {}  # by the parameter's place

    @property
    def factor(self) -> float:
        """Returns the factor that makes b |g|^2 of the weighted sum's squared length."""
        return self.weight / self.scale**2


class PieceMeter:
    """A meter of the pieces of one step on this rank.

    Args:
        groups: The groups of parameters whose squares are summed together; parameters without gradient are left out.
        clock: A function that returns the time in seconds, with which the hooks are timed; not timed when not given.

    Attributes:
        seconds: Seconds spent in the hooks so far; on a GPU only the time to launch their work.
    """

    def __init__(
        self, groups: Sequence[Sequence[torch.nn.Parameter]], *, clock: Callable[[], float] = lambda: 0.0
    ) -> None:
        self._clock = clock
        self._given = groups
        self._groups: list[list[torch.nn.Parameter]] = []
        self._handles: list[RemovableHandle] = []
        self._factor = 0.0
        self._sums: list[torch.Tensor] = []
        self._kept: list[_Kept] = []
        self._keep = 0
        self._passes = self._passes_done = 0
        self._divisors: Mapping[torch.Tensor, torch.Tensor] = {}
        self.seconds = 0.0

    def start(self, *, passes: int, keep: int = 0, divisors: Mapping[torch.Tensor, torch.Tensor] | None = None) -> None:
        """Puts the hooks on, before the first backward pass of a measured step.

        Args:
            passes: Number of backward passes to come.
            keep: Number of pieces to keep for inner products; with 0 nothing is kept and every pass is a piece.
            divisors: The numbers that gradients are divided by before they are squared, by parameter and in its shape;
                not together with ``keep``. None for the gradients as they are.
        """
        self.stop()
        self._divisors = divisors or {}
        self._passes, self._passes_done = passes, 0
        self._keep, self._kept = min(keep, passes), []
        self._groups = [[parameter for parameter in group if parameter.requires_grad] for group in self._given]
        device = self._given[0][0].device
        self._sums = [torch.zeros((), dtype=torch.float64, device=device) for _ in self._groups]
        place = 0
        for number, group in enumerate(self._groups):
            for parameter in group:
                reader = self._keeper(place) if keep else self._reader(number, parameter)
                self._handles.append(parameter.register_hook(reader))  # type: ignore[no-untyped-call]
                place += 1

    def piece(self, weight: float, scale: float) -> None:
        """Announces the next backward pass.

        Args:
            weight: Samples of the pass, b, or what else its loss is a mean over.
            scale: Factor with which its mean loss is multiplied.
        """
        if self._keep:
            if self._passes_done * self._keep >= len(self._kept) * self._passes:
                self._kept.append(_Kept())
            self._kept[-1].weight += weight
            self._kept[-1].scale += scale
        self._factor = weight / scale**2
        self._passes_done += 1

    @property
    def pieces(self) -> int:
        """Returns the number of pieces of this rank so far."""
        return len(self._kept) if self._keep else self._passes_done

    def square_sums(self) -> torch.Tensor:
        """Returns the sum of b_i |g_i|^2 over this rank's pieces, after the last pass. Shape (groups,), float64."""
        sums, place = list(self._sums), 0
        for number, group in enumerate(self._groups):
            for _ in group:
                for kept in self._kept:
                    if place in kept.gradients:
                        sums[number] = sums[number] + square(kept.gradients[place]) * kept.factor
                place += 1
        return torch.stack(sums)

    def mean_squares(self) -> torch.Tensor:
        """Returns |g|^2 of the unscaled mean gradient, after the sum over ranks. Shape (groups,), float64."""
        sums = []
        for group in self._groups:
            squares = [square(self._divided(p, p.grad)) for p in group if p.grad is not None]
            sums.append(torch.stack(squares).sum() if squares else torch.zeros_like(self._sums[0]))
        return torch.stack(sums)

    def inner_square_sum(self) -> torch.Tensor:
        """Returns the sum of b_i (g_i . g)^2 over the kept pieces, after the sum over ranks. Shape (), float64."""
        total = torch.zeros_like(self._sums[0])
        parameters = [parameter for group in self._groups for parameter in group]
        for kept in self._kept:
            products = [inner(gradient, self._mean(parameters[place])) for place, gradient in kept.gradients.items()]
            total += torch.stack(products).sum() ** 2 * kept.factor
        self._kept = []
        return total

    def stop(self) -> None:
        """Takes the hooks off the parameters."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    @staticmethod
    def _mean(parameter: torch.nn.Parameter) -> torch.Tensor:
        assert parameter.grad is not None  # it had a gradient in a pass of this step
        return parameter.grad

    def _divided(self, parameter: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        divisor = self._divisors.get(parameter)
        return gradient if divisor is None else gradient.detach() / divisor

    def _reader(self, number: int, parameter: torch.Tensor) -> Callable[[torch.Tensor], None]:
        def read(gradient: torch.Tensor) -> None:
            began_s = self._clock()
            self._sums[number] += square(self._divided(parameter, gradient)) * self._factor
            self.seconds += self._clock() - began_s

        return read

    def _keeper(self, place: int) -> Callable[[torch.Tensor], None]:
        def keep(gradient: torch.Tensor) -> None:
            began_s = self._clock()
            gradients = self._kept[-1].gradients
            if place in gradients:
                gradients[place] += gradient
            else:
                kind = torch.promote_types(gradient.dtype, torch.float32)
                gradients[place] = gradient.detach().to(kind, copy=True)
            self.seconds += self._clock() - began_s

        return keep
