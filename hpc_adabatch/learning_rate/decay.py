"""How the learning rate falls over the epochs, from 1.

    name      factor at epoch e, after warm-up W, of E epochs
    constant  1
    step      gamma ^ (number of milestones <= e)
    poly      f + (1 - f) (1 - (e - W) / (E - W)) ^ power, f the final fraction     (LARS 1708.03888: power 2)
    cosine    f + (1 - f) (1 + cos(pi (e - W) / (E - W))) / 2                       (Loshchilov & Hutter, 1608.03983)

poly and cosine start after the warm-up, so the peak is reached, as in MLPerf's reference; the LARS paper's
Algorithm 1 decays from step 0 and never reaches it.

Not here: warm-up (warmup.py), batches (scaling.py).
"""

import math


def step(epoch: float, milestones: tuple[float, ...], gamma: float) -> float:
    return gamma ** sum(milestone <= epoch for milestone in milestones)


def poly(done: float, power: float, final: float) -> float:
    """``done`` is the part of the decay that lies behind, 0 to 1."""
    return final + (1.0 - final) * (1.0 - done) ** power


def cosine(done: float, final: float) -> float:
    """``done`` is the part of the decay that lies behind, 0 to 1."""
    return final + (1.0 - final) * (1.0 + math.cos(math.pi * done)) / 2.0
