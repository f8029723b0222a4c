"""The inner product test: the batch is large enough when most of its steps are descents, whatever happens across them.

Bollapragada, Byrd & Nocedal 2018, https://arxiv.org/abs/1710.11258: the inner product test, equation 2.6, and the test
of orthogonality that completes it, equation 3.3.

    paper                                                     here
    Var(g_i . g) / |S| <= theta^2 |g|^4                       inner_variance (1/B - 1/N) <= theta^2 signal^2
    Var(g_i - (g_i . g / |g|^2) g) / |S| <= nu^2 |g|^2        orthogonal_variance (1/B - 1/N) <= nu^2 signal
    |S| = the larger of both demands                          wanted

The norm test (norm_test.py) bounds the noise in all directions alike, so it asks for more samples than a descent needs.
As there, the published tests take the raw |g|^2, and 1/B alone; ``signal: debiased`` takes the noise out of it. The
variance along g still holds the noise of g itself, tr(Sigma^2) (1/B - 1/N), so a small batch is asked to grow more than
a large one.

When to use it: as norm_test, if the batch should be no larger than a descent needs. Measured steps keep a copy of the
gradient (two copies on one rank).
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from ..errors import real, require
from ..gradients import Estimate, samples_for
from .measured import Measured
from .policy import Progress


@dataclass(kw_only=True, eq=False)
class InnerProduct(Measured):
    """Inner product test and the test of orthogonality: a rule that jumps to the smallest batch that passes both tests.

    ``Measured`` explains the other arguments.

    Args:
        theta: Largest noise along the gradient that passes, relative to the gradient's length.
        nu: Largest noise across the gradient that passes, relative to its length; 5.84 is the tangent of 80 degrees.
        signal: Signal of the tests: the mean gradient's squared length (raw, as in the paper), or that minus its noise.

    Raises:
        InputError: An argument is out of range.
    """

    inner_products: ClassVar[bool] = True
    theta: float = 0.9
    nu: float = 5.84
    signal: Literal["debiased", "raw"] = "debiased"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < real(self.theta) < math.inf, "policy.theta", self.theta, "more than 0", "--policy.theta 0.9")
        require(0 < real(self.nu) < math.inf, "policy.nu", self.nu, "more than 0", "--policy.nu 5.84")
        known = self.signal in ("debiased", "raw")
        require(known, "policy.signal", self.signal, "debiased, raw", "--policy.signal debiased")

    def wanted(self, estimate: Estimate, progress: Progress) -> float:
        assert estimate.inner_variance is not None  # measured because of ``inner_products``
        assert estimate.orthogonal_variance is not None
        signal, population = estimate.signal, estimate.population
        if self.signal == "raw":
            signal, population = estimate.disjoint_signal + estimate.variance / progress.global_batch, None
        signal = max(signal, 0.0)
        along = samples_for(estimate.inner_variance, (self.theta * signal) ** 2, population)
        across = samples_for(estimate.orthogonal_variance, self.nu**2 * signal, population)
        return max(along, across)
