"""Runs one rank of one arm: its clock, its evaluations, and what has become of it.

    python rank.py RUN.json DATA RESULT.json

The clock is rank 0's, from the first step on; it stands while the ranks evaluate, each a part of the test set, after
every half epoch of samples and at the end.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from setting import Run

PER_EPOCH = 2  # evaluations


class Watch:
    """A clock of training, which stands during evaluations.

    Args:
        samples: Training images.
        accuracy: Returns the accuracy on the test set; all ranks call it, and leave it together.
        result: The file for what was found at each evaluation; None except on rank 0.
    """

    def __init__(self, samples: int, accuracy: Callable[[], float], result: Path | None) -> None:
        self._every, self._accuracy, self._result = samples / PER_EPOCH, accuracy, result
        self._samples = self._updates = self._batch = 0
        self._due, self._seconds, self._began_s = self._every, 0.0, 0.0
        self._curve: list[dict[str, Any]] = []
        self._evaluating_s = 0.0

    def begin(self) -> None:
        """Starts the clock, when all ranks are there."""
        self._accuracy()
        self._began_s = time.perf_counter()

    def update(self, samples: int, batch: int) -> float:
        """Counts an update, and evaluates where that is due.

        Args:
            samples: Samples of the update, over all ranks.
            batch: The global batch, of which the last one of an epoch may have fewer.

        Returns:
            The seconds that an evaluation took; 0 without one.
        """
        self._samples, self._updates, self._batch = self._samples + samples, self._updates + 1, batch
        return self._evaluate() if self._samples >= self._due else 0.0

    def end(self) -> None:
        """Evaluates what the last updates have come to, and writes the file."""
        if not self._curve or self._curve[-1]["updates"] < self._updates:
            self._evaluate()
        if self._result is not None:
            found = {"curve": self._curve, "evaluating_s": self._evaluating_s}
            self._result.write_text(json.dumps(found), encoding="utf-8")

    def _evaluate(self) -> float:
        stopped_s = time.perf_counter()
        self._seconds += stopped_s - self._began_s
        point = {"samples": self._samples, "updates": self._updates, "seconds": self._seconds, "batch": self._batch}
        self._curve.append(point | {"accuracy": self._accuracy()})
        self._due = (self._samples // self._every + 1) * self._every
        self._began_s = time.perf_counter()
        self._evaluating_s += self._began_s - stopped_s
        return self._began_s - stopped_s


def main() -> None:
    given, folder, result = map(Path, sys.argv[1:])
    run = Run(**json.loads(given.read_text(encoding="utf-8")))
    torch.set_flush_denormal(True)  # as this package does, so that no arm computes with slow numbers
    import peers

    if run.arm in peers.ARMS:
        peers.train(run, folder, result)
    else:
        import ours

        ours.train(run, folder, result)


if __name__ == "__main__":
    main()
