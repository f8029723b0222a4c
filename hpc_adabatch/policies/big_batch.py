"""Big Batch SGD: the batch in hand grows until its gradient stands out of its noise.

De, Yadav, Jacobs & Goldstein 2017, https://arxiv.org/abs/1610.05792, Algorithm 1 (Algorithms 2 and 3 are this rule with
``optimizer: armijo`` and ``barzilai_borwein``):

    draw K samples, g and V
    while theta^2 |g|^2 <= V / K:  draw K/10 more, two a rank at least, the old ones kept
    update with all of them; K stays for the next step

    paper        here
    K            global batch; never shrinks
    V_B          variance, from the pieces of all ranks and passes; every step is measured
    |g_B|^2      mean_square (raw), or signal (debiased); then V (1/K - 1/N) stands for V / K
    theta        theta; 1 in the experiments

A variance of few pieces is itself noisy, so a rank's share is cut into ``pieces`` parts. If an epoch ends before the
test passes, the step is taken with the samples there are, and K grows for the next step.

When to use it: you want no schedule and no window, but a decision on the evidence of each step; with armijo or
barzilai_borwein no learning rate either. Every step pays for the measurement (docs/statistics.md).
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from ..errors import real, require, whole
from ..gradients import Measurement
from .policy import Policy, Progress, Proposal


@dataclass(kw_only=True, eq=False)
class BigBatch(Policy):
    """Big Batch SGD: a rule that lengthens each batch, by a tenth at a time, until it passes the norm test.

    Args:
        theta: Largest noise-to-signal ratio (of lengths) that passes; 1 in the paper's experiments.
        growth: Part of the batch that is added whenever the test fails.
        pieces: Least number of parts of a rank's share whose gradients are measured one by one.
        signal: Signal of the test: the mean gradient's squared length (raw, as in the paper), or that minus its noise.

    Raises:
        InputError: An argument is out of range.
    """

    measures: ClassVar[bool] = True
    extends: ClassVar[bool] = True
    theta: float = 1.0
    growth: float = 0.1
    pieces: int = 8
    signal: Literal["debiased", "raw"] = "raw"

    def __post_init__(self) -> None:
        require(0 < real(self.theta) < math.inf, "policy.theta", self.theta, "more than 0", "--policy.theta 1")
        require(
            0 < real(self.growth) <= 1, "policy.growth", self.growth, "more than 0, at most 1", "--policy.growth 0.1"
        )
        require(whole(self.pieces) >= 1, "policy.pieces", self.pieces, "1 or more", "--policy.pieces 8")
        known = self.signal in ("debiased", "raw")
        require(known, "policy.signal", self.signal, "debiased, raw", "--policy.signal raw")

    @property
    def foreseeable(self) -> bool:
        return False

    def phase(self, progress: Progress) -> int:
        return 0  # its decisions are taken inside the steps

    def propose(self, progress: Progress) -> Proposal:
        return Proposal(
            global_batch=progress.global_batch,
            learning_rate_factor=progress.learning_rate_factor,
            reason="decided inside the steps",
        )

    def extension(self, measurement: Measurement, progress: Progress) -> int:
        signal, noise = measurement.signal, measurement.noise
        if self.signal == "raw":
            signal, noise = measurement.mean_square, measurement.variance / measurement.samples
        if self.theta**2 * signal > noise:
            return 0
        least = 2 * progress.n_ranks  # batch normalisation cannot be trained with a pass of one sample
        return max(round(self.growth * measurement.samples), least)
