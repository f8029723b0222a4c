"""The learning rate as one pure function of samples and batches, and a run's place on it."""

from .course import Course
from .rule import LearningRate

__all__ = ["Course", "LearningRate"]
