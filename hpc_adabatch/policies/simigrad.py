"""SimiGrad: the batch keeps the gradients of its two halves similar.

Qin, Rajbhandari, Ruwase, Yan, Yang & He 2021 (NeurIPS), https://github.com/HeyangQin/SimiGrad: the cosine of the mean
gradients of two halves of the batch; below its target the batch grows by a tenth, above it shrinks by a tenth.

    paper              here
    cos(g_A, g_B)      disjoint_signal / (disjoint_signal + 2 variance / B): what <g_A, g_B> and |g_A|^2 are on average,
                       estimated from all pieces instead of two; the halves share no sample
    target             similarity; met at the batch 2 (variance / disjoint_signal) similarity / (1 - similarity)

When to use it: as noise_scale, if you prefer an angle as the target; the batch changes more often, by a tenth a time.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

from ..errors import real, require
from ..gradients import Estimate
from .measured import Measured
from .policy import Progress


@dataclass(kw_only=True, eq=False)
class SimiGrad(Measured):
    """SimiGrad: a rule that keeps the cosine between the gradients of the batch's halves, in steps of a tenth.

    ``Measured`` explains the other arguments.

    Args:
        similarity: Cosine to keep between the gradients of the batch's halves; a higher one asks for larger batches.
        dwell: Least number of measurements between two changes.
        growth: Largest factor of one change of the batch.
        shrink: Allows the batch to become smaller.

    Raises:
        InputError: An argument is out of range.
    """

    any_geometry: ClassVar[bool] = True
    similarity: float = 0.5
    dwell: int = 1
    growth: float = 1.1
    shrink: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        inside = 0 < real(self.similarity) < 1
        example = "--policy.similarity 0.5"
        require(inside, "policy.similarity", self.similarity, "more than 0, less than 1", example)

    def wanted(self, estimate: Estimate, progress: Progress) -> float:
        if estimate.disjoint_signal <= 0:
            return math.inf
        scale = estimate.variance / estimate.disjoint_signal
        return 2 * scale * self.similarity / (1 - self.similarity)
