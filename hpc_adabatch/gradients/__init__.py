"""How noisy the gradient is: measured on pieces of the batch, estimated without bias, averaged over steps."""

from .noise import Measurement, samples_for
from .pieces import PieceMeter
from .smoothing import LEAST_MEASUREMENTS, Estimate, Smoother

__all__ = ["LEAST_MEASUREMENTS", "Estimate", "Measurement", "PieceMeter", "Smoother", "samples_for"]
