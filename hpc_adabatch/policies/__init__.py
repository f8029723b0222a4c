"""Rules for the batch size, one published rule a file. Recipes name a rule by its file."""

from .adabatch import AdaBatch
from .fixed import Fixed
from .noise_scale import NoiseScale
from .norm_test import NormTest
from .policy import Policy, Progress, Proposal
from .replay import Replay
from .schedule import Schedule
from .seesaw import Seesaw
from .smith import Smith

POLICIES: dict[str, type[Policy]] = {
    "adabatch": AdaBatch,
    "fixed": Fixed,
    "noise_scale": NoiseScale,
    "norm_test": NormTest,
    "replay": Replay,
    "schedule": Schedule,
    "seesaw": Seesaw,
    "smith": Smith,
}

__all__ = [
    "POLICIES",
    "AdaBatch",
    "Fixed",
    "NoiseScale",
    "NormTest",
    "Policy",
    "Progress",
    "Proposal",
    "Replay",
    "Schedule",
    "Seesaw",
    "Smith",
]
