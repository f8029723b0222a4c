"""Numbers of each rank in float64, which travel at the end of a message of gradients.

    rank r       the 64 bits of a number -> whole numbers of 24, 24 and 16 bits (in float32) -> slot r, all others zero
    the sum      every slot as its rank has filled it, as x + 0 = x
    all ranks    slots -> float64 -> added in the order of the ranks: the same bits on each, whatever has summed

A message of their own would wait behind those of the gradients, and on a slow link cost as much as a bucket. The room
of a slot is the same in every step: from three ranks on, the length of a message decides in which order a sum adds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
import torch

Numbers = Sequence[float | torch.Tensor]  # tensors stand for as many numbers as they have, where a GPU has them
ROOM = 16  # numbers; a slot's room is a multiple, so that runs with and without measurements sum in one order
BITS = {torch.float16: 11, torch.float32: 24, torch.float64: 53}  # of the whole numbers that are exact


class Slots:
    """A slot for each rank, in the tail of a message.

    Args:
        numbers: The most numbers of a rank.
        rank: The number of this rank.
        ranks: The number of ranks.
        kind: The type in which the message travels: float16, float32 or float64.
        device: The device that the numbers are on.

    Attributes:
        elements: The length of the tail.
    """

    def __init__(self, numbers: int, rank: int, ranks: int, kind: torch.dtype, device: torch.device) -> None:
        bits = BITS[kind]
        n_parts = math.ceil(64 / bits)
        self._shape = ranks, n_parts, math.ceil(numbers / ROOM) * ROOM
        self._rank, self._numbers = rank, 0
        self._shifts = np.arange(n_parts)[:, None] * bits
        self._masks = np.array([2**bits - 1] * (n_parts - 1) + [-1])[:, None]  # the last part has the sign
        self._device = device
        self._cuts: list[Any] = [torch.tensor(cut, device=device) for cut in (self._shifts, self._masks)]
        self.elements = math.prod(self._shape)

    def fill(self, tail: torch.Tensor, numbers: Numbers) -> None:
        """Writes this rank's numbers into its slot, and zeros into all others.

        Args:
            tail: The tail of the message before the sum.
            numbers: The numbers, equally many on every rank.
        """
        self._numbers = sum(part.numel() if isinstance(part, torch.Tensor) else 1 for part in numbers)
        if tail.device.type == "cpu":  # numpy takes a third of the time for so few of them
            self._write(tail.numpy(), np.array(listed(numbers)).view(np.int64), self._shifts, self._masks)
        else:  # which is not waited for
            self._write(tail, joined(numbers, self._device).view(torch.int64), *self._cuts)

    def _write(self, tail: Any, words: Any, shifts: Any, masks: Any) -> None:
        """Writes the words of this rank, in arrays of numpy or of torch."""
        slots = tail.reshape(self._shape)
        slots[:] = 0
        slots[self._rank, :, : self._numbers] = (words >> shifts) & masks

    def read(self, tail: torch.Tensor) -> list[float]:
        """Returns the numbers summed over ranks, from the tail of the summed message."""
        slots = tail.cpu().numpy().reshape(self._shape)[:, :, : self._numbers]
        numbers = (slots.astype(np.int64) << self._shifts).sum(1).view(np.float64)
        return numbers.cumsum(0)[-1].tolist()  # one rank after the other


def listed(numbers: Numbers) -> list[float]:
    """Returns all of the numbers."""
    found: list[float] = []
    for part in numbers:
        found += part.flatten().tolist() if isinstance(part, torch.Tensor) else [float(part)]
    return found


def joined(numbers: Numbers, device: torch.device) -> torch.Tensor:
    """Returns all of the numbers on a device. Float64, shape (numbers,)."""
    parts = [torch.zeros(0, dtype=torch.float64, device=device)]
    for are_tensors, run in groupby(numbers, torch.is_tensor):
        if are_tensors:
            parts += [torch.as_tensor(part).flatten().to(device, torch.float64) for part in run]
        else:  # one copy to a GPU for all of them
            parts.append(torch.tensor([*run], dtype=torch.float64, device=device))
    return torch.cat(parts)
