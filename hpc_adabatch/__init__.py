"""Data-parallel training with a batch that grows by itself.

cluster        the ranks: Horovod when launched, one process when not
batches        which samples make which global batch; micro-batches that fit the device
gradients      how noisy the gradient is, measured on pieces of the batch
policies       rules for the batch, one published rule a file
learning_rate  one function of samples and batches
optim          optimizers for large batches
training       the loop: from backward to the weights, from a measurement to the batch
run            a recipe carried out, and foretold
tasks          what there is to learn
probe          what messages and steps take on these ranks
"""

from .batches import AdaptiveBatches
from .cluster import Cluster
from .errors import InputError
from .learning_rate import LearningRate
from .optim import LAMB, LARS, Armijo, BarzilaiBorwein, parameter_groups
from .policies import (
    AdaBatch,
    BigBatch,
    Cabs,
    Fixed,
    Goodput,
    InnerProduct,
    NoiseScale,
    NormTest,
    Plateau,
    Policy,
    Schedule,
    Seesaw,
    SimiGrad,
    Smith,
)
from .replay import Replay
from .training import AdaptiveTraining, LoopOptions

__version__ = "0.1.0"
__all__ = [
    "LAMB",
    "LARS",
    "AdaBatch",
    "AdaptiveBatches",
    "AdaptiveTraining",
    "Armijo",
    "BarzilaiBorwein",
    "BigBatch",
    "Cabs",
    "Cluster",
    "Fixed",
    "Goodput",
    "InnerProduct",
    "InputError",
    "LearningRate",
    "LoopOptions",
    "NoiseScale",
    "NormTest",
    "Plateau",
    "Policy",
    "Replay",
    "Schedule",
    "Seesaw",
    "SimiGrad",
    "Smith",
    "parameter_groups",
]
