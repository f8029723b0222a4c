"""How the learning rate grows with the batch.

    paper                                   here      learning rate at k times the reference batch
    Goyal et al. 2017, 1706.02677, sec 2.1  linear    k
    You et al. 2019 (LEGW), 1901.08256      sqrt      sqrt(k): the variance of an update stays the same
    Smith et al. 2018, 1711.00489           none      1: a growing batch replaces a decaying learning rate

Not here: warm-up (warmup.py), decay (decay.py).
"""

import math
from collections.abc import Callable

SCALINGS: dict[str, Callable[[float], float]] = {"none": lambda _: 1.0, "linear": lambda k: k, "sqrt": math.sqrt}
