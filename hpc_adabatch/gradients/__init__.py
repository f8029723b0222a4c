"""How noisy the gradient is: measured on pieces of the batch, estimated without bias, averaged over steps."""

from .noise import Measurement, samples_for
from .pieces import PieceMeter
from .smoothing import Estimate, Smoother

__all__ = ["Estimate", "Measurement", "PieceMeter", "Smoother", "samples_for"]
