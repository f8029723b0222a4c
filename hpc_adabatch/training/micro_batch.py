"""The most samples that a pass may have: given, or found by all ranks together and made smaller when it must be.

    before the first step   1, 2, 4, ... up to the share of a rank in the largest batch that the rule may want: each
                            rank tries passes, then all tell each other; the largest that fitted on all of them holds
    in a step               a rank that runs out of memory leaves its other passes out and says so beside its sum: the
                            step is void, and all make it again, from its beginning, in passes of half as many samples
    on the disk             what was found; a run that goes on looks for nothing

Powers of two, and no search between them: a step's share is cut into equal passes anyway, one of half the size is
nearly as quick where it fills a device, and ranks and runs whose memory differs by a little find the same number.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any

import torch

from ..batches import AdaptiveBatches
from ..cluster import Cluster
from ..errors import InputError, whole
from ..policies import Fixed, Policy


class Verdict(Enum):
    """An answer of a rank that has tried a micro-batch."""

    FITS = "fits"
    """Its memory has room for it."""
    FILLS = "fills the device"
    """So it has, and a larger one would be no quicker a sample."""
    LACKS = "does not fit"
    """It has not."""
    REFUSES = "is too small for the network"
    """The network takes no pass of so few samples."""


class MicroBatch:
    """The most samples that a pass of any rank may have.

    Args:
        batches: The training set, with the number or ``auto``.
        policy: The rule for the global batch, which tells how large a rank's share may become.
        cluster: The ranks.

    Attributes:
        is_auto: True where it is found.
        is_known: False until it is found.
        largest: The number of samples; until it is found, the largest that a step could need.
    """

    def __init__(self, batches: AdaptiveBatches, policy: Policy, cluster: Cluster) -> None:
        self._cluster = cluster
        self._device_name = torch.cuda.get_device_name(cluster.device) if cluster.device.type == "cuda" else "cpu"
        self._found_on: str | None = None
        self.is_auto = batches.finds_micro_batch
        self.is_known = not self.is_auto
        wanted = batches.global_batch if isinstance(policy, Fixed) else policy.largest_batch or batches.max_global_batch
        most = min(wanted, batches.max_global_batch)
        self.largest = -(-most // cluster.size) if self.is_auto else batches.max_micro_batch

    def find(self, attempt: Callable[[int], Verdict]) -> dict[str, Any]:
        """Finds it, on all ranks together. Returns how, as fields of the journal.

        Args:
            attempt: Tries a micro-batch of so many samples on this rank, and leaves no trace.

        Raises:
            InputError: Not even one sample fits; all ranks raise it.
        """
        began_s, tried, found, why = time.perf_counter(), list[int](), 0, "no step needs more"
        for samples in doublings(self.largest):
            tried.append(samples)
            verdicts = self._cluster.gather(attempt(samples))  # after the try: one that has failed is here, too
            if Verdict.LACKS in verdicts:
                why = f"{samples} do not fit on rank {verdicts.index(Verdict.LACKS)}"
                break
            if Verdict.REFUSES not in verdicts:
                found = samples
            if Verdict.FILLS in verdicts:
                why = "a pass of these fills the device"
                break
        if not found:
            raise self._too_small(f"{' and '.join(map(str, tried))} sample(s) a pass")
        self._hold(found, self._device_name)
        return {
            "max_micro_batch": found,
            "reason": f"found before training: {why}",
            "tried": tried,
            "seconds": time.perf_counter() - began_s,
        }

    def halve(self, share: int, ranks: int) -> dict[str, Any]:
        """Makes it smaller, after passes of a step were too large. Returns how, as fields of the journal.

        Args:
            share: The samples of the fullest rank in that step.
            ranks: The ranks on which they were.

        Raises:
            InputError: One sample was too large; all ranks raise it.
        """
        before = min(self.largest, share)
        if before < 2:
            raise self._too_small("one sample a pass")
        self.largest = before // 2
        # the cue of study/job.py for a job that ended so is not in these words
        reason = f"passes of up to {before} samples were too large for {ranks} rank(s): all make the step again"
        return {"max_micro_batch": self.largest, "reason": reason}

    def told(self) -> Iterator[str]:
        """Yields a line where the number comes from a checkpoint of other hardware."""
        if self._found_on not in (None, self._device_name):
            yield (
                f"max_micro_batch auto stays {self.largest}, as found on {self._found_on}; this is {self._device_name}:"
                " a number in place of auto sets another"
            )

    def state_dict(self) -> dict[str, Any]:
        """Returns what was found, and on what."""
        return {"found": self.largest if self.is_auto and self.is_known else None, "on": self._found_on}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up what ``state_dict`` returned; a number that is given stays.

        Raises:
            ValueError: It is no number of samples.
        """
        if not self.is_auto or state["found"] is None:
            return
        if not whole(state["found"]) >= 1:
            raise ValueError(f"a micro-batch of {state['found']}")
        self._hold(state["found"], state["on"])

    def _too_small(self, tried: str) -> InputError:
        allowed = "a network that fits with one sample a pass into the memory of each rank: smaller, or in bfloat16"
        error = InputError("max_micro_batch", f"auto, which has tried {tried}", allowed)
        error.shared = True
        return error

    def _hold(self, largest: int, found_on: str | None) -> None:
        self.largest, self.is_known, self._found_on = largest, True, found_on


def doublings(most: int) -> list[int]:
    """Returns the powers of two below a number, and the number."""
    powers = [2**power for power in range(most.bit_length())]
    return powers if powers[-1] == most else [*powers, most]
