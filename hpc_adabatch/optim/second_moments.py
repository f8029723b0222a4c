"""What Adam's kind divides each entry of a gradient by: the root of its second moment.

    D = sqrt(v / (1 - beta2^t)) + eps        of v before the step; infinite where v = 0

A step of AdamW goes along the momentum of g / D, one of LAMB does within each layer. Noise that is measured on g / D is
noise of such steps: entries whose gradients are always large do not drown the others (AdamScale of adaptdl, Qiao et al.
2021, https://arxiv.org/abs/2008.12260, section 3; for signs and matrices 2602.03001).

An entry that had no gradient yet, such as the row of a word that is seen for the first time, has no scale: divided by
eps alone it would be all there is of the noise. It is left out until the next step.
"""

from __future__ import annotations

import math

import torch

from .lamb import LAMB

SECOND, LARGEST = "exp_avg_sq", "max_exp_avg_sq"  # of the state of torch's Adam and AdamW, and of LAMB; with amsgrad
FIRST_STEPS = 5  # until when v is little more than the last gradient's squares

Divisors = dict[torch.Tensor, torch.Tensor]
"""The divisor of each parameter. Same shape, or () for all of its entries."""


def has_second_moments(optimizer: torch.optim.Optimizer) -> bool:
    """Reports whether an optimizer keeps second moments as Adam does."""
    return isinstance(optimizer, torch.optim.Adam | torch.optim.AdamW | LAMB)


@torch.no_grad()
def divisors(optimizer: torch.optim.Optimizer) -> Divisors | None:
    """Returns D of each parameter; None while the optimizer has taken less than five steps.

    Args:
        optimizer: One that keeps second moments.
    """
    found: Divisors = {}
    taken = 0.0
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            state = optimizer.state.get(parameter, {})
            if SECOND not in state:
                found[parameter] = torch.full((), math.inf, device=parameter.device)
                continue
            steps = float(state.get("step", group.get("step", 0)))
            taken = max(taken, steps)
            second = state.get(LARGEST, state[SECOND])
            root = (second / (1 - _kept(group, steps))).sqrt_().add_(group["eps"])
            found[parameter] = root.masked_fill_(second == 0, math.inf)
    return found if taken >= FIRST_STEPS else None


def _kept(group: dict[str, object], steps: float) -> float:
    """Returns the part of the zeros, with which v begins, that is left in it; 0 where it is not corrected for."""
    if steps == 0 or not group.get("bias_correction", True):
        return 0.0
    kept: float = group["beginning"][1] if "beginning" in group else group["betas"][1] ** steps  # type: ignore[index]
    return kept  # LAMB's betas may change
