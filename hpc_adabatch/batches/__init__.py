"""Global batches of changing size, over ranks, passes and loader workers, with every sample once an epoch."""

from .adaptive import AdaptiveBatches
from .plan import BatchPlan, GlobalBatch

__all__ = ["AdaptiveBatches", "BatchPlan", "GlobalBatch"]
