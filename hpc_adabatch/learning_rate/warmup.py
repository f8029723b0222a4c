"""The warm-up: the first epochs of the learning rate.

    none     no warm-up
    fixed    linear over ``warmup_epochs``              Goyal et al. 2017, 1706.02677, section 2.2
    legw     linear over ``warmup_epochs`` times k      You et al. 2019 (LEGW), 1901.08256: as many steps at any batch

The k of legw is batch / reference batch at step 0. A change of the batch after the warm-up does not reopen it: with the
present batch's k, growth late in training would make the learning rate fall.

For a batch that changes inside the warm-up, the papers have no rule. Here the learning rate then goes on from its
present height, without a jump. Where the batch grows, it climbs to the peak of the larger batch, reached at the end of
the larger batch's warm-up. With legw at k1, growing to k2 at epoch e:

    sqrt(k2) |                 .--------        LEGW with k2 from the start would arrive there too
             |            .  '                  continuous, never falling; the slope stays below that of
    sqrt(k1) |    .  '                          LEGW's own warm-up for k2, 1 / (w0 sqrt(k2))
             | .'
             +-----|-------------|-----> epoch
                   e           w0 k2

Where the batch shrinks, the line stays and its peak is lowered to that of the smaller batch, which is reached earlier,
but not before the end of the smaller batch's own warm-up. A rate above the lower peak falls to it at once.
"""

from collections.abc import Callable
from dataclasses import dataclass

LENGTHS: dict[str, Callable[[float, float], float]] = {  # (warmup_epochs, k) -> epochs
    "none": lambda *_: 0.0,
    "fixed": lambda warmup_epochs, _: warmup_epochs,
    "legw": lambda warmup_epochs, k: warmup_epochs * k,
}


def ramp(epoch: float, length: float, start: float) -> float:
    """Returns the height of a warm-up: linear from ``start`` at epoch 0 to 1 at ``length`` epochs, then 1.

    Args:
        epoch: Epochs since the start of training.
        length: Epochs of the warm-up.
        start: Height at epoch 0, as a part of the peak.
    """
    return 1.0 if epoch >= length else start + (1.0 - start) * epoch / length


@dataclass(frozen=True)
class Climb:
    """A warm-up from some epoch on: a line from its present height to the batch's peak."""

    epoch: float
    """Epoch at which the line begins."""
    height: float
    """Learning rate / base learning rate at the beginning, without decay."""
    end: float
    """Epoch at which the warm-up ends."""
    peak: float
    """Learning rate / base learning rate at the end, without decay."""

    def at(self, epoch: float) -> float:
        """Returns learning rate / base learning rate, without decay, at an epoch after the beginning."""
        if epoch >= self.end:
            return self.peak
        return self.height + (self.peak - self.height) * (epoch - self.epoch) / (self.end - self.epoch)

    def resized(self, epoch: float, length: float, peak: float) -> "Climb":
        """Returns the warm-up as it goes on with another batch; one that is over stays over.

        Args:
            epoch: Epoch of the change.
            length: Epochs of the other batch's own warm-up.
            peak: Learning rate / base learning rate at its end, without decay.
        """
        height, end = self.at(epoch), self.end
        if epoch >= end:
            return Climb(epoch, peak, epoch, peak)
        if peak < self.peak:  # the same line, up to where it meets the lower peak
            left = (peak - height) / (self.peak - height) if height < peak else 0.0
            end = epoch + left * (end - epoch)
        return Climb(epoch, min(height, peak), max(length, end), peak)
