"""The first epochs of the learning rate.

    none     no warm-up
    fixed    linear over ``warmup_epochs`` (Goyal et al. 2017, 1706.02677, section 2.2)
    legw     linear over ``warmup_epochs`` times k (You et al. 2019, LEGW, 1901.08256): as many steps at any batch

The k of legw is that of the batch at step 0. A batch that grows after the warm-up does not reopen it: with the k of the
current batch, growth late in training would cut the learning rate below what it was.

What a batch that grows inside the warm-up should do, no paper says. Ours, a climb: from the rate it had, straight to
the rate at which the warm-up of the larger batch ends, when that ends. With legw at k1, growing to k2 at epoch e:

    sqrt(k2) |                 .--------        LEGW with k2 from the start would arrive there too
             |            .  '                  continuous, never falling; the slope stays below that of
    sqrt(k1) |    .  '                          LEGW's own warm-up for k2, 1 / (w0 sqrt(k2))
             | .'
             +-----|-------------|-----> epoch
                   e           w0 k2
"""

from collections.abc import Callable
from dataclasses import dataclass

LENGTHS: dict[str, Callable[[float, float], float]] = {  # (warmup_epochs, k) -> epochs
    "none": lambda *_: 0.0,
    "fixed": lambda warmup_epochs, _: warmup_epochs,
    "legw": lambda warmup_epochs, k: warmup_epochs * k,
}


def ramp(epoch: float, length: float, start: float) -> float:
    """Linear from ``start`` at epoch 0 to 1 at ``length`` epochs, then 1."""
    return 1.0 if epoch >= length else start + (1.0 - start) * epoch / length


@dataclass(frozen=True)
class Climb:
    """A warm-up that goes on with a larger batch: linear from where it was to where it must end."""

    epoch: float
    """Where it begins."""
    height: float
    """Learning rate over base there, decay left out."""
    end: float
    """Epoch at which it is over."""
    peak: float
    """Learning rate over base from there on."""

    def at(self, epoch: float) -> float:
        """Learning rate over base, decay left out, at an epoch from its beginning on."""
        if epoch >= self.end:
            return self.peak
        return self.height + (self.peak - self.height) * (epoch - self.epoch) / (self.end - self.epoch)
