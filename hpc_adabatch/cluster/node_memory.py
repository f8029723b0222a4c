"""Memory that the ranks of a node have in common: one copy for the node of what all of its ranks read.

    each rank                      makes an empty file without a name, and tells the others where it is
    the ranks of one node          open the file of the first of them, at /proc/PID/fd/N, and look for its word in it
    each of them                   reserves its part: what does not fit fails here, and ends no process later
    all of them have it            one copy; they fill it together, and later writes of a rank are its own
    one of them does not           a copy for each of them

A node is a host name and a name space of processes: so every launcher's nodes are told apart, and containers that do
not see each other's processes keep a copy each. The file is in no folder: it goes with the last process that has it
mapped, however that ends.
"""

from __future__ import annotations

import mmap
import os
import secrets
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..processes import Process
from .cluster import Cluster

HEAD = 64  # bytes for the word, in front of the memory


class NodeMemory:
    """Bytes that the ranks of a node fill together, and then keep as one copy.

    Args:
        n_bytes: Their number, the same on all ranks.
        cluster: The ranks, all of which call this.

    Attributes:
        ranks: The ranks that have these bytes in common, in their order; this rank alone where it keeps its own copy.
        bytes: The bytes to be filled, shape (n_bytes,), uint8; what one of the ranks writes all of them read.
    """

    def __init__(self, n_bytes: int, cluster: Cluster) -> None:
        self._cluster = cluster
        self.ranks, mapped = _meet(HEAD + n_bytes, cluster) if cluster.size > 1 else ([cluster.rank], None)
        if mapped is None:
            self.bytes = self._own = np.empty(n_bytes, dtype=np.uint8)
        else:
            self.bytes, self._own = (np.frombuffer(one, np.uint8, n_bytes, HEAD) for one in mapped)

    def kept(self) -> np.ndarray:
        """Returns the bytes when all ranks have filled them; what a rank writes there from now on no other one reads.

        All ranks call this, once.
        """
        if self._cluster.size > 1:
            self._cluster.barrier()
        self.bytes = self._own
        return self.bytes


class _Place(NamedTuple):
    """Where a rank's file is found."""

    process: Process
    descriptor: int
    word: bytes


def _meet(size: int, cluster: Cluster) -> tuple[list[int], tuple[mmap.mmap, mmap.mmap] | None]:
    """Returns the ranks that have one file in common, this one among them, and how it is mapped; None for no file."""
    word, mapped = secrets.token_bytes(HEAD), None
    with ExitStack() as stack:
        descriptor = -1
        with suppress(OSError):
            descriptor = _unnamed()
            stack.callback(os.close, descriptor)
            os.pwrite(descriptor, word, 0)
        places = cluster.gather(_Place(Process.this(), descriptor, word))
        nodes = [(place.process.host, place.process.space) for place in places]
        ranks = [rank for rank, node in enumerate(nodes) if node == nodes[cluster.rank]]
        if len(ranks) > 1:
            with suppress(OSError):
                mapped = _mapped(places[ranks[0]], size, ranks.index(cluster.rank), len(ranks))
        have = cluster.gather(mapped is not None)  # until then the first rank's file is open
    return (ranks, mapped) if all(have[rank] for rank in ranks) else ([cluster.rank], None)


def _unnamed() -> int:
    """Returns the descriptor of a new file in memory that no folder has."""
    with suppress(OSError, AttributeError):  # Pythons built for an old glibc have no memfd_create
        return os.memfd_create("adabatch")
    return os.open("/dev/shm", os.O_RDWR | os.O_TMPFILE, 0o600)


def _mapped(place: _Place, size: int, number: int, parts: int) -> tuple[mmap.mmap, mmap.mmap]:
    """Returns a file of another process twice: to be written for all ranks, and as this rank keeps it.

    Args:
        place: Where the file is.
        size: Its bytes.
        number: The part that this rank reserves.
        parts: The number of parts.

    Raises:
        OSError: It is not to be had, it is another one, or there is no room.
    """
    low, high = (size * part // parts for part in (number, number + 1))
    with Path(f"/proc/{place.process.pid}/fd/{place.descriptor}").open("r+b", buffering=0) as file:
        if os.pread(file.fileno(), HEAD, 0) != place.word:
            raise OSError("another file")
        os.truncate(file.fileno(), size)
        os.posix_fallocate(file.fileno(), low, max(1, high - low))  # near the processor of the rank that fills it
        return (
            mmap.mmap(file.fileno(), size, mmap.MAP_SHARED),
            mmap.mmap(file.fileno(), size, mmap.MAP_PRIVATE),
        )
