"""The ranks of a run: Horovod when launched, one process when not, one interface for both."""

from .cluster import Cluster, DistributedOptimizer
from .single import SingleProcess
from .start import start
from .watchdog import Watchdog

__all__ = ["Cluster", "DistributedOptimizer", "SingleProcess", "Watchdog", "start"]
