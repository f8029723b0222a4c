"""Optimizers for large batches, applied to gradients that are averaged already."""

from .armijo import Armijo
from .barzilai_borwein import BarzilaiBorwein
from .lamb import LAMB
from .lars import LARS
from .options import OPTIMIZERS, OptimizerOptions
from .parameter_groups import parameter_groups
from .weight_average import WeightAverage

__all__ = [
    "LAMB",
    "LARS",
    "OPTIMIZERS",
    "Armijo",
    "BarzilaiBorwein",
    "OptimizerOptions",
    "WeightAverage",
    "parameter_groups",
]
