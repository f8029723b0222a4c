"""The norm test: the batch is large enough when the gradient stands out of its noise.

Byrd, Chin, Nocedal & Wu 2012, https://doi.org/10.1007/s10107-012-0572-5, equation 3.9; from the gradients of workers as
in DDP-Norm (Lau et al. 2024, https://arxiv.org/abs/2412.21124).

    paper                                  here
    |Var g|_1 / |S| <= theta^2 |g_S|^2     variance (1/B - 1/N) <= theta^2 signal; raw: variance / B <= theta^2 |g_S|^2
    |S| = |Var g|_1 / (theta^2 |g_S|^2)    wanted

The test of Big Batch SGD (1610.05792) is the same, with growth in steps of a tenth. The published tests take |g_S|^2
as it is; its expectation contains the noise itself, variance / B, so that at theta = 1 they pass about half of the time
even if the true gradient is 0. ``signal: debiased`` takes that part out, and counts that a batch is drawn from the N
samples of the training set without replacement (a factor that Byrd et al. take to be 1); ``raw`` is the paper's.

When to use it: you want descent directions with a stated certainty and as few samples as that allows.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from ..errors import real, require
from ..gradients import Estimate, samples_for
from .measured import Measured
from .policy import Progress


@dataclass(kw_only=True, eq=False)
class NormTest(Measured):
    """Norm test: a rule that jumps to the smallest batch that passes the norm test.

    ``Measured`` explains the other arguments.

    Args:
        theta: Largest noise-to-signal ratio (of lengths) that passes.
        signal: Signal of the test: the mean gradient's squared length (raw, as in the papers), or that minus its noise.

    Raises:
        InputError: An argument is out of range.
    """

    any_geometry: ClassVar[bool] = True
    theta: float = 1.0
    signal: Literal["debiased", "raw"] = "debiased"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < real(self.theta) < math.inf, "policy.theta", self.theta, "more than 0", "--policy.theta 1")
        known = self.signal in ("debiased", "raw")
        require(known, "policy.signal", self.signal, "debiased, raw", "--policy.signal debiased")

    def wanted(self, estimate: Estimate, progress: Progress) -> float:
        if self.signal == "debiased":
            return estimate.batch_with(self.theta**2 * estimate.signal)
        raw = estimate.disjoint_signal + estimate.variance / progress.global_batch
        return samples_for(estimate.variance, self.theta**2 * raw, None)
