"""adabatch train with a fault on rank 1 in the middle of an epoch. fault.py ARGUMENTS..."""

import sys

import torch

from hpc_adabatch.cli import main
from hpc_adabatch.environment import launch
from hpc_adabatch.tasks import Digits

calls = 0
whole = Digits.loss


def loss(self: Digits, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    global calls
    calls += 1
    found = launch()
    if calls == 30 and found is not None and found.rank == 1:
        raise ZeroDivisionError("a fault on one rank")
    return whole(self, outputs, targets)


Digits.loss = loss  # type: ignore[method-assign]
main(sys.argv[1:])
