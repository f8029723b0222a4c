"""Data-parallel training with a batch that grows by itself.

cluster        the ranks: Horovod when launched, one process when not
batches        which samples make which global batch; micro-batches that fit the device
gradients      how noisy the gradient is, measured on pieces of the batch
policies       rules for the batch, one published rule a file
coordinator    rank 0 decides, every rank learns
learning_rate  one function of samples and batches
optim          optimizers for large batches
training       the loop, and a whole run around it
tasks          what there is to learn
"""

from .batches import AdaptiveBatches
from .cluster import Cluster
from .errors import InputError
from .learning_rate import LearningRate
from .optim import LARS, parameter_groups
from .policies import AdaBatch, Fixed, NoiseScale, NormTest, Policy, Replay, Schedule, Seesaw, Smith
from .training import AdaptiveTraining

__version__ = "0.1.0"
__all__ = [
    "LARS",
    "AdaBatch",
    "AdaptiveBatches",
    "AdaptiveTraining",
    "Cluster",
    "Fixed",
    "InputError",
    "LearningRate",
    "NoiseScale",
    "NormTest",
    "Policy",
    "Replay",
    "Schedule",
    "Seesaw",
    "Smith",
    "parameter_groups",
]
