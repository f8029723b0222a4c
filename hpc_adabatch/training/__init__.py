"""The closed loop, for scripts as for recipes."""

from .adaptive import AdaptiveTraining
from .options import LoopOptions
from .step import Step

__all__ = ["AdaptiveTraining", "LoopOptions", "Step"]
