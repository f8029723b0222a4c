"""The ranks of a run: Horovod when launched, one process when not, one interface for both."""

from .cluster import Cluster
from .single import SingleProcess
from .start import start
from .watchdog import Watchdog

__all__ = ["Cluster", "SingleProcess", "Watchdog", "start"]
