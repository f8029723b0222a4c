"""SimiGrad: the batch keeps the gradients of its two halves similar.

Qin, Rajbhandari, Ruwase, Yan, Yang & He 2021 (NeurIPS), https://github.com/HeyangQin/SimiGrad: the cosine of the mean
gradients of two halves of the batch; below its target the batch grows by a tenth, above it shrinks by a tenth.

    paper              here
    cos(g_A, g_B)      signal / (signal + 2 variance / B): numerator and denominator are what <g_A, g_B> and |g_A|^2 are
                       on average, estimated from all pieces instead of two
    target             similarity; met at the batch 2 noise_scale similarity / (1 - similarity)

When to use it: as noise_scale, with a target that reads as an angle; it follows more nervously, in steps of a tenth.
"""

import math
from dataclasses import dataclass

from ..errors import require
from ..gradients import Estimate
from .measured import Measured
from .policy import Progress


@dataclass(kw_only=True, eq=False)
class SimiGrad(Measured):
    """Grows or shrinks by a tenth towards a cosine of the halves' gradients."""

    similarity: float = 0.5
    """Cosine of the two halves' gradients that is kept; higher asks for larger batches."""
    dwell: int = 1
    """Measurements between two changes, at least."""
    growth: float = 1.1
    """Factor per change, at most."""
    shrink: bool = True
    """Whether the batch may become smaller again."""

    def __post_init__(self) -> None:
        super().__post_init__()
        inside = 0 < self.similarity < 1
        example = "--policy.similarity 0.5"
        require(inside, "policy.similarity", self.similarity, "more than 0, less than 1", example)

    def wanted(self, estimate: Estimate, progress: Progress) -> float:
        if estimate.signal <= 0:
            return math.inf
        return 2 * estimate.noise_scale * self.similarity / (1 - self.similarity)
