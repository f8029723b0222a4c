"""Optimizers for large batches, applied to gradients that are averaged already."""

from .lars import LARS
from .options import OPTIMIZERS, OptimizerOptions
from .parameter_groups import parameter_groups

__all__ = ["LARS", "OPTIMIZERS", "OptimizerOptions", "parameter_groups"]
