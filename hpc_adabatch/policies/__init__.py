"""Rules for the batch size, one published rule a file. Recipes name a rule by its file."""

from .adabatch import AdaBatch
from .fixed import Fixed
from .policy import Policy, Progress, Proposal
from .schedule import Schedule

POLICIES: dict[str, type[Policy]] = {"adabatch": AdaBatch, "fixed": Fixed, "schedule": Schedule}

__all__ = ["POLICIES", "AdaBatch", "Fixed", "Policy", "Progress", "Proposal", "Schedule"]
