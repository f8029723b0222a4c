"""The batch follows the gradient noise scale.

McCandlish, Kaplan & Amodei 2018, https://arxiv.org/abs/1812.06162: at B = B_simple = tr Var / |grad l|^2 an update
makes half of the progress of a noiseless one (section 2.2), so larger batches pay less and less, smaller ones waste
updates.

    paper       here                        meaning                        unit
    B_simple    estimate.noise_scale        variance over signal           samples

The paper draws samples independently. Of a training set of N samples no batch holds one twice, and at B = N there is no
noise: half of the progress is made where variance (1/B - 1/N) is the signal, which is B = 1 / (1/B_simple + 1/N).

When to use it: you want each update to be worth its samples, and have no schedule. The noise scale rises through
training, so the batch grows by itself.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

from ..errors import real, require
from ..gradients import Estimate
from .measured import Measured
from .policy import Progress


@dataclass(kw_only=True, eq=False)
class NoiseScale(Measured):
    """Noise scale: a rule that keeps the batch at a fraction of the gradient's noise scale.

    ``Measured`` explains the other arguments.

    Args:
        fraction: Signal / noise of a batch: of a large training set batch / noise scale. 1 is the paper's balance,
            smaller favours fewer samples, larger favours fewer updates.

    Raises:
        InputError: An argument is out of range.
    """

    any_geometry: ClassVar[bool] = True
    fraction: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            0 < real(self.fraction) < math.inf, "policy.fraction", self.fraction, "more than 0", "--policy.fraction 1"
        )

    def wanted(self, estimate: Estimate, progress: Progress) -> float:
        return estimate.batch_with(estimate.signal / self.fraction)
