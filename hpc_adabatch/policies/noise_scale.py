"""The batch follows the gradient noise scale.

McCandlish, Kaplan & Amodei 2018, https://arxiv.org/abs/1812.06162: at B = B_simple = tr Var / |grad l|^2 an update
makes half of the progress of a noiseless one (section 2.2), so larger batches pay less and less, smaller ones waste
updates.

    paper       here                        meaning                        unit
    B_simple    estimate.noise_scale        variance over signal           samples

When to use it: you want each update to be worth its samples, and have no schedule. The noise scale rises through
training, so the batch grows by itself.
"""

from ..errors import require
from ..gradients import Estimate
from .measured import Measured
from .policy import Progress


class NoiseScale(Measured):
    """Keeps the batch at ``fraction`` of the noise scale.

    Args:
        fraction: of the noise scale; 1 is the paper's balance, less favours fewer samples, more favours fewer updates.
        window: samples that the average reaches back; half an epoch when not given.
        dwell: measurements between two changes, at least.
        growth: factor per change, at most.
        tolerance: relative change of the batch below which it stays.
        shrink: whether the batch may become smaller again.
    """

    def __init__(
        self,
        *,
        fraction: float = 1.0,
        window: int | None = None,
        dwell: int = 5,
        growth: float = 2.0,
        tolerance: float = 0.05,
        shrink: bool = False,
    ) -> None:
        super().__init__(window=window, dwell=dwell, growth=growth, tolerance=tolerance, shrink=shrink)
        require(fraction > 0, "policy.fraction", fraction, "more than 0", "--policy.fraction 1")
        self.fraction = fraction

    def wanted(self, estimate: Estimate, progress: Progress) -> float:
        return self.fraction * estimate.noise_scale
