"""Squared lengths of each piece's gradient, read before anything is summed over passes or ranks.

A hook on each parameter sees the gradient of one backward pass alone: before it is added to ``p.grad``, and before
Horovod's allreduce, which works in place and in the background. The hooks hang on measured steps only, so other steps
do no work at all.

    backward of pass i  ->  hook: h = (b_i / B) * scale * g_i  ->  |h|^2 in float64
    after the last pass ->  sum over i of b_i |g_i|^2, one number a parameter group, ready for the step's message

Not here: what the sums mean (noise.py), the message (training/adaptive.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch.utils.hooks import RemovableHandle

CHUNK = 2**20  # elements summed in float32 before float64 takes over: 30 million at once lose four digits


def square(tensor: torch.Tensor) -> torch.Tensor:
    """Squared Euclidean length, float64, shape (), without waiting for the device."""
    flat = tensor.detach().reshape(-1)
    if flat.dtype not in (torch.float32, torch.float64):
        flat = flat.float()
    if flat.numel() <= CHUNK:
        return torch.dot(flat, flat).double()
    return torch.stack([torch.dot(part, part) for part in torch.split(flat, CHUNK)]).double().sum()


class PieceMeter:
    """Measures the pieces of one step on this rank.

    Args:
        groups: the parameters whose squares are summed together, in this order; parameters that need no gradient are
            passed over.
    """

    def __init__(self, groups: Sequence[Sequence[torch.nn.Parameter]]) -> None:
        self._groups = [[parameter for parameter in group if parameter.requires_grad] for group in groups]
        self._handles: list[RemovableHandle] = []
        self._factor = 0.0
        self._sums: list[torch.Tensor] = []
        self.pieces = 0

    def start(self) -> None:
        """Before the first backward pass of a measured step."""
        self.stop()
        self.pieces = 0
        device = self._groups[0][0].device
        self._sums = [torch.zeros((), dtype=torch.float64, device=device) for _ in self._groups]
        for number, group in enumerate(self._groups):
            for parameter in group:
                self._handles.append(parameter.register_hook(self._reader(number)))  # type: ignore[no-untyped-call]

    def piece(self, samples: int, weight: float) -> None:
        """Before each backward pass: its samples, and the factor that its mean loss was multiplied by."""
        self._factor = samples / weight**2
        self.pieces += 1

    def square_sums(self) -> torch.Tensor:
        """After the last pass: sum of b_i |g_i|^2 over this rank's pieces. Shape (groups,), float64."""
        return torch.stack(self._sums)

    def mean_squares(self, weight: float = 1.0) -> torch.Tensor:
        """After the sum over ranks: |g|^2 of the gradients times ``weight``. Shape (groups,), float64."""
        sums = []
        for group in self._groups:
            squares = [square(parameter.grad) for parameter in group if parameter.grad is not None]
            sums.append(torch.stack(squares).sum() if squares else torch.zeros_like(self._sums[0]))
        return torch.stack(sums) / weight**2

    def stop(self) -> None:
        """Takes the hooks off."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _reader(self, number: int) -> Callable[[torch.Tensor], None]:
        def read(gradient: torch.Tensor) -> None:
            self._sums[number] += square(gradient) * self._factor

        return read
