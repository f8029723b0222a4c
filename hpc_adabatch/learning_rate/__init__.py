"""The learning rate as one pure function of samples and batches, and a run's place on it."""

from .auto_warmup import Look
from .course import Course, Rates
from .rule import LearningRate

__all__ = ["Course", "LearningRate", "Look", "Rates"]
