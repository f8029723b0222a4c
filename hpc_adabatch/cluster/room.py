"""The room that a rank's memory has for passes, and what tells that a pass was too large for it.

    GPU                  what is free on it
    CPU                  what is left to the processes of its node (memory.py), shared out among its ranks; or of the
                         address space, where that has a limit (ulimit -v)
    less the head-room   a tenth: fragments, evaluation, caches that grow, a longer sentence that comes later
    less what follows    what the optimizer keeps from its first step on

The last two are held as one block while passes are tried: a pass that fits in beside it fits later. Where memory is not
reserved but taken when it is written, as on CPUs, nothing fails, and the kernel ends the process. So no pass is tried
there that would take more than is left, if it takes as many times more than the one before as it has more samples.
"""

from __future__ import annotations

import gc
import resource
from contextlib import suppress
from pathlib import Path

import torch

from .memory import left_bytes
from .processors import lines

HEAD_ROOM = 0.1
WORDS = ("can't allocate memory", "not enough memory", "std::bad_alloc", "ALLOC_FAILED")


def lacks_memory(error: BaseException) -> bool:
    """Reports whether an exception says that memory was too small: a GPU's, or what the operating system gave."""
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in WORDS)


def let_go(device: torch.device) -> None:
    """Gives back the memory that passes have used."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


class Room:
    """The memory of a rank while passes are tried.

    Args:
        device: The device of the rank.
        ranks: The ranks that share the memory of the node.
        later_bytes: The bytes that this rank will take later, besides passes.
    """

    def __init__(self, device: torch.device, ranks: int, later_bytes: int) -> None:
        free = _free_bytes(device, ranks)
        self._device, self._before, self._taken = device, _status_bytes("VmRSS"), 0
        self._held = later_bytes + int(HEAD_ROOM * (free or 0))
        self._most = None if free is None or device.type == "cuda" else free - self._held
        self._block: torch.Tensor | None = None

    def allows(self, factor: float) -> bool:
        """Reports whether a pass may be tried that has so many times the samples of the one before."""
        return self._most is None or factor * self._taken <= self._most

    def begin(self) -> None:
        """Holds what a pass must leave free, and begins to watch what it takes.

        Raises:
            RuntimeError: There is not even that; ``lacks_memory`` tells it.
        """
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        if self._block is None:
            self._block = torch.empty(self._held, dtype=torch.uint8, device=self._device)
        with suppress(OSError):  # the peak begins anew; where that may not be, it is the highest that there was
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")

    def end(self) -> bool:
        """Reports whether the pass that ends here has left as much free as it must."""
        self._taken = max(self._taken, _status_bytes("VmHWM") - self._before)
        return self.allows(1)

    def leave(self) -> None:
        """Gives back what was held."""
        self._block = None
        let_go(self._device)


def _free_bytes(device: torch.device, ranks: int) -> int | None:
    """Returns the bytes that this rank can have; None where nothing tells them."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    left, (limit, _) = left_bytes(), resource.getrlimit(resource.RLIMIT_AS)
    found = [left // ranks] if left is not None else []
    found += [max(0, limit - _status_bytes("VmSize"))] if limit != resource.RLIM_INFINITY else []
    return min(found) if found else None


def _status_bytes(name: str) -> int:
    """Returns a size of this process, as the kernel counts it; 0 where it does not tell."""
    found = (line.split() for line in lines(Path("/proc/self/status")) if line.startswith(f"{name}:"))
    return next((1024 * int(words[1]) for words in found), 0)
