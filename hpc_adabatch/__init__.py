"""Data-parallel training with a batch that grows by itself.

cluster        the ranks: Horovod when launched, one process when not
batches        which samples make which global batch; micro-batches that fit the device
gradients      how noisy the gradient is, measured on pieces of the batch
policies       rules for the batch, one published rule a file
learning_rate  one function of samples and batches
optim          optimizers for large batches
training       the loop: from backward to the weights, from a measurement to the batch
run            a run in its folder: a script's, or a recipe's, which is also foretold
tasks          what there is to learn
probe          what messages and steps take on these ranks
study          scaling studies: many jobs, one answer
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

_NAMES = {  # of each module that `import hpc_adabatch` offers; imported at first use, for torch takes seconds
    "batches": ("AdaptiveBatches",),
    "cluster": ("Cluster",),
    "errors": ("DivergedError", "InputError", "StorageError"),
    "gradients": (),
    "learning_rate": ("LearningRate",),
    "optim": ("LAMB", "LARS", "Armijo", "BarzilaiBorwein", "WeightAverage", "parameter_groups"),
    "policies": (
        *("AdaBatch", "BigBatch", "Cabs", "Fixed", "Goodput", "InnerProduct", "Measured", "NoiseScale", "NormTest"),
        *("Plateau", "Policy", "Progress", "Proposal", "Schedule", "Seesaw", "SimiGrad", "Smith"),
    ),
    "replay": ("Replay",),
    "run.run": ("Run",),
    "training": ("AdaptiveTraining", "LoopOptions", "Step"),
    "training.evaluation": ("evaluate",),
    "training.journal": ("Journal",),
    "training.noise_meter": ("NoiseMeter",),
    "training.signals": ("StopFlag",),
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names}
__all__ = list(_MODULES)

if TYPE_CHECKING:
    from .batches import AdaptiveBatches as AdaptiveBatches
    from .cluster import Cluster as Cluster
    from .errors import DivergedError as DivergedError
    from .errors import InputError as InputError
    from .errors import StorageError as StorageError
    from .learning_rate import LearningRate as LearningRate
    from .optim import LAMB as LAMB
    from .optim import LARS as LARS
    from .optim import Armijo as Armijo
    from .optim import BarzilaiBorwein as BarzilaiBorwein
    from .optim import WeightAverage as WeightAverage
    from .optim import parameter_groups as parameter_groups
    from .policies import AdaBatch as AdaBatch
    from .policies import BigBatch as BigBatch
    from .policies import Cabs as Cabs
    from .policies import Fixed as Fixed
    from .policies import Goodput as Goodput
    from .policies import InnerProduct as InnerProduct
    from .policies import Measured as Measured
    from .policies import NoiseScale as NoiseScale
    from .policies import NormTest as NormTest
    from .policies import Plateau as Plateau
    from .policies import Policy as Policy
    from .policies import Progress as Progress
    from .policies import Proposal as Proposal
    from .policies import Schedule as Schedule
    from .policies import Seesaw as Seesaw
    from .policies import SimiGrad as SimiGrad
    from .policies import Smith as Smith
    from .replay import Replay as Replay
    from .run.run import Run as Run
    from .training import AdaptiveTraining as AdaptiveTraining
    from .training import LoopOptions as LoopOptions
    from .training import Step as Step
    from .training.evaluation import evaluate as evaluate
    from .training.journal import Journal as Journal
    from .training.noise_meter import NoiseMeter as NoiseMeter
    from .training.signals import StopFlag as StopFlag
else:

    def __getattr__(name: str) -> object:
        """Imports a public name when it is first used."""
        if name in _MODULES:
            globals()[name] = getattr(import_module(f".{_MODULES[name]}", __name__), name)
            return globals()[name]
        if name in _NAMES:
            return import_module(f".{name}", __name__)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *_MODULES, *(module.partition(".")[0] for module in _NAMES)})
