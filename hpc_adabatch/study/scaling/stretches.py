"""Samples needed to a target by the batch, stretch by stretch of the training.

McCandlish, Kaplan & Amodei 2018, https://arxiv.org/abs/1812.06162, equations 2.7, 2.11 and appendix D.

    paper               here                     meaning                                                   unit
    E_min               Stretch.least_samples    samples of a stretch of training, with tiny batches       samples
    B_noise             Stretch.noise_scale      tr Var / |grad|^2 there: it grows as training goes on     samples
    B                   batch                    global batch                                              samples
    E = E_min (1 + B/B_noise)                    samples needed: at B = B_noise twice the least
    S = E/B = S_min (1 + B_noise/B)              steps, with S_min = E_min / B_noise

The worth of a sample is a model: it takes the learning rate to suit the batch at every moment, and says nothing of how
well the weights that were found generalise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ...errors import require


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """A part of the way to the target."""

    least_samples: float
    """The samples that the stretch takes with tiny batches, E_min."""
    noise_scale: float
    """The noise scale in samples, B_noise; infinite where the gradient is all noise, so that no batch is too large."""

    def __post_init__(self) -> None:
        require(self.least_samples > 0, "samples needed", self.least_samples, "more than 0", "--epochs 10")
        require(self.noise_scale > 0, "noise_scale", self.noise_scale, "more than 0 samples", "--noise_scale 2000")

    def samples(self, batch: float) -> float:
        """Returns the samples needed: E = E_min (1 + B/B_noise)."""
        return self.least_samples * (1 + batch / self.noise_scale)


def constant(least_samples: float, noise_scale: float) -> tuple[Stretch, ...]:
    """Returns the way to the target where the noise scale stays."""
    return (Stretch(least_samples=least_samples, noise_scale=noise_scale),)


def from_run(records: Sequence[tuple[float, float, float]], samples: float, most: int = 64) -> tuple[Stretch, ...]:
    """Returns the way to the target, from a run that measured its noise scale.

    A noise scale below one sample, as the noise of measuring has it now and then, counts as one.

    Args:
        records: (samples seen, noise scale, global batch) as a run's journal has them with each measurement; each
            holds until the next, the first from the start.
        samples: The samples of the run until the target; records beyond it are left out.
        most: The largest number of stretches; neighbours are joined down to that.

    Raises:
        InputError: No records, or not in order.
    """
    used = [record for record in records if record[0] < samples]
    require(bool(used), "noise scale", "none measured", "a run that measured it", "--policy noise_scale")
    begins = [0.0, *(seen for seen, _, _ in used[1:])]
    ends = [*begins[1:], float(samples)]
    ordered = all(begin <= end for begin, end in zip(begins, ends, strict=True))
    require(ordered, "noise scale", begins, "measurements in the order of the run", "one run's journal")
    way = [
        Stretch(least_samples=(end - begin) / (1 + batch / max(noise, 1.0)), noise_scale=max(noise, 1.0))
        for begin, end, (_, noise, batch) in zip(begins, ends, used, strict=True)
        if end > begin
    ]
    size = math.ceil(len(way) / most)
    return tuple(joined(way[begin : begin + size]) for begin in range(0, len(way), size))


def joined(way: Sequence[Stretch]) -> Stretch:
    """Returns one stretch that needs as many samples at any batch: E_min adds up, and so does E_min / B_noise."""
    least = sum(stretch.least_samples for stretch in way)
    steps = sum(stretch.least_samples / stretch.noise_scale for stretch in way)
    return Stretch(least_samples=least, noise_scale=least / steps if steps > 0 else math.inf)


def finite(way: Sequence[Stretch]) -> bool:
    """Reports whether any noise scale is known."""
    return any(math.isfinite(stretch.noise_scale) for stretch in way)
