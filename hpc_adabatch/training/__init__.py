"""The closed loop and a whole run around it."""

from .adaptive import AdaptiveTraining
from .step import Step

__all__ = ["AdaptiveTraining", "Step"]
