"""The closed loop, for scripts as for recipes."""

from .adaptive import AdaptiveTraining
from .step import Step

__all__ = ["AdaptiveTraining", "Step"]
