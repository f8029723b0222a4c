"""Rules for the batch size, one published rule a file; recipes name a rule by its file (``replay``: recorded.py)."""

from .adabatch import AdaBatch
from .big_batch import BigBatch
from .cabs import Cabs
from .fixed import Fixed
from .goodput import Goodput
from .inner_product import InnerProduct
from .measured import Measured
from .noise_scale import NoiseScale
from .norm_test import NormTest
from .plateau import Plateau
from .policy import Policy, Progress, Proposal
from .recorded import Recorded
from .schedule import Schedule
from .seesaw import Seesaw
from .simigrad import SimiGrad
from .smith import Smith

POLICIES: dict[str, type[Policy]] = {
    "adabatch": AdaBatch,
    "big_batch": BigBatch,
    "cabs": Cabs,
    "fixed": Fixed,
    "goodput": Goodput,
    "inner_product": InnerProduct,
    "noise_scale": NoiseScale,
    "norm_test": NormTest,
    "plateau": Plateau,
    "schedule": Schedule,
    "seesaw": Seesaw,
    "simigrad": SimiGrad,
    "smith": Smith,
}

__all__ = [
    "POLICIES",
    "AdaBatch",
    "BigBatch",
    "Cabs",
    "Fixed",
    "Goodput",
    "InnerProduct",
    "Measured",
    "NoiseScale",
    "NormTest",
    "Plateau",
    "Policy",
    "Progress",
    "Proposal",
    "Recorded",
    "Schedule",
    "Seesaw",
    "SimiGrad",
    "Smith",
]
