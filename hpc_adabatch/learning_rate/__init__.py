"""The learning rate as one pure function of samples and batches."""

from .rule import LearningRate

__all__ = ["LearningRate"]
