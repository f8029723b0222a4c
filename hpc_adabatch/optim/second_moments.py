"""What Adam's kind divides each entry of a gradient by: the root of its second moment.

    D = sqrt(v / (1 - beta2^t)) + eps

A step of AdamW or LAMB goes along the momentum of g / D. Noise that is measured on g / D is noise of the steps that are
taken: entries whose gradients are always large do not drown the others (AdamScale of adaptdl, Qiao et al. 2021,
https://arxiv.org/abs/2008.12260, section 3; for signs and matrices 2602.03001).
"""

from __future__ import annotations

import torch

NAME = "exp_avg_sq"  # of the state of torch's Adam and AdamW, and of LAMB
FIRST_STEPS = 5  # until when v is little more than the last gradient's squares

Divisors = dict[torch.Tensor, torch.Tensor]
"""The divisor of each parameter. Same shape, float32 at least."""


def has_second_moments(optimizer: torch.optim.Optimizer) -> bool:
    """Reports whether an optimizer keeps second moments as Adam does."""
    return type(optimizer).__name__ in ("Adam", "AdamW", "LAMB")


@torch.no_grad()
def divisors(optimizer: torch.optim.Optimizer) -> Divisors | None:
    """Returns D of each parameter that has been trained; None while the optimizer has taken less than five steps.

    Args:
        optimizer: One that keeps second moments.
    """
    found: Divisors = {}
    for group in optimizer.param_groups:
        beta2, eps = group["betas"][1], group["eps"]
        for parameter in group["params"]:
            state = optimizer.state.get(parameter, {})
            if NAME not in state:
                continue
            steps = float(state.get("step", group.get("step", 0)))
            if steps < FIRST_STEPS:
                return None
            kept = group["beginning"][1] if "beginning" in group else beta2**steps  # LAMB's betas may change
            found[parameter] = (state[NAME] / (1 - kept)).sqrt_().add_(eps)
    return found or None
