"""What every rank of a launch has, whichever engine sums: MPI's quick road, a watchdog, a heartbeat, an end."""

from __future__ import annotations

import math
import os
import sys
from abc import abstractmethod

import torch

from ..environment import Launch, stall_limit_s, stop_file
from . import heartbeat
from .cluster import Cluster
from .device import pin
from .mpi import own_mpi, world
from .watchdog import Watchdog


class LaunchedCluster(Cluster):
    """The cluster of a process that a launcher started. An engine joins the ranks between ``__init__`` and ``_begin``.

    Args:
        launch: This process's place among the ranks, as the launcher says it.
    """

    def __init__(self, launch: Launch) -> None:
        self.rank, self.size, self.launcher = launch.rank, launch.n_ranks, launch.launcher
        self._limit_s = stall_limit_s()
        alone = self.size == 1 and self._limit_s is None  # no other rank can be lost
        self.watchdog = Watchdog(self.rank, math.inf if alone else self._limit_s, note=stop_file())
        self._heartbeat = heartbeat.Heartbeat(
            self.rank,
            self.watchdog,
            min(heartbeat.SILENT_S, self._limit_s or math.inf),
            kills=launch.launcher == "torchrun",
        )
        self.watchdog.enter("joining the other ranks", prepares=True)  # one that is frozen before is never heard
        self._mpi = own_mpi() if launch.has_mpi else None
        self._road = world(self._mpi, self.size)

    def _begin(self) -> None:
        """Gives this rank its device, and lets the ranks hear from each other; called when they have joined."""
        self.device = pin(self.local_rank, self.gather)
        self.watchdog.rest()
        if self.size > 1 and self._limit_s != math.inf:
            self._heartbeat.start(self.gather)

    def announce(self, numbers: list[float]) -> list[float]:
        if self._road is None:
            return self.broadcast_(torch.tensor(numbers, dtype=torch.float64), "announcement").tolist()
        with self.watchdog.waiting():
            return self._road.bcast(numbers)

    def abort(self, code: int) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        if self._mpi is not None:
            self._mpi.COMM_WORLD.Abort(code)
        os._exit(code)  # the launcher sees the exit and ends the others, or they see that this one is gone

    def stop(self) -> None:
        self.watchdog.enter("the end, where all ranks meet")
        self.barrier()
        self._heartbeat.stop()
        self._leave()
        self.watchdog.stop()

    @abstractmethod
    def _leave(self) -> None:
        """Shuts the engine down, when all ranks have met."""
