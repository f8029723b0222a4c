"""A warm-up that ends where the losses say so: the rate rises until their minimum lies behind, and goes back to it.

Kim, Kim, Kim, Lee & Kim 2021 (AutoWU), https://arxiv.org/abs/2107.05855, with the constants of the authors' code.

    authors' code               here                    meaning                                               value
    max_lr, min_lr              1, start                the top of the rise, and its beginning as a part of it    1e-5
    max_warmup_fraction         longest                 the most epochs that it takes                         E / 2
    n_tests, confidence         TESTS, CONFIDENCE       tests at an epoch's end, and the P of one that votes  5, 0.95
    patience                    PATIENCE                epochs in a row with a majority of votes              3

    rate |                 /            rise      start^(1 - e / longest) of the top, by samples
         |                /|
         |              /  |            vote      at each epoch's end (minimum.py)
         |       ____ /    |____        end       the rate becomes that of the predicted minimum, the mean of the five
         |   __ /                 \\__             tests' places; the decay takes the rest of the run
         +------+----------+--------+->
             minimum   third vote   E epochs

Without an end by then, the rise is over after ``longest`` epochs, and the decay begins at the top. The authors take
losses as they are. Here one above that of the first epoch, when the rate was next to nothing, counts as much above it
as the smallest is below: how far a network has diverged says nothing of the rate, and would bend the curve everywhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .minimum import TESTS, past_minimum

START = 1e-5
LONGEST = 0.5
LEAST_EPOCHS = 10
"""The fewest epochs of a run: with fewer, three votes in a row before the half of it see next to nothing."""
CONFIDENCE, PATIENCE = 0.95, 3
LEAST_LOSSES = 10
MOST_LOSSES = 10_000
"""The most losses that are kept; beyond, two neighbours become one."""


def rise(epoch: float, longest: float, start: float) -> float:
    """Returns the height of the rise, as a part of its top: ``start`` at epoch 0, 1 from ``longest`` epochs on."""
    return float(start ** max(0.0, 1.0 - epoch / longest))


@dataclass(frozen=True)
class End:
    """The end of a warm-up."""

    epoch: float
    """The epochs that it took."""
    height: float
    """The learning rate from there on, without decay, as a part of the top."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """A look at the losses, at an epoch's end."""

    probabilities: tuple[float, ...]
    """The probability of each test that their minimum lies behind; none where there are too few losses."""
    agreed: int
    """The epochs in a row, this one included, of which a majority of tests said so."""
    minimum: float | None
    """The epoch of the predicted minimum; None where it was not asked for."""
    height: float | None
    """The rate from here on, as a part of the top, where the warm-up ends; None where it goes on."""

    @property
    def votes(self) -> int:
        """Returns how many tests say that the minimum lies behind."""
        return sum(probability > CONFIDENCE for probability in self.probabilities)

    @property
    def reason(self) -> str:
        """Returns in words what was found."""
        found = f"{self.votes} of {TESTS} tests see the losses' minimum behind, {self.agreed} epochs in a row"
        if self.height is None:
            return f"warm-up: {found if self.probabilities else 'too few losses to be looked at'}"
        if self.agreed >= PATIENCE:
            return f"the warm-up ends: {found}; it was at epoch {self.minimum:.2f}"
        return "the warm-up ends at its top: half of the run is over"

    def fields(self) -> dict[str, Any]:
        """Returns the tests, for the journal."""
        rounded = [round(probability, 4) for probability in self.probabilities]
        return {"probabilities": rounded, "agreed": self.agreed, "minimum": self.minimum, "height": self.height}


class AutoWarmup:
    """A warm-up that goes by the losses.

    Args:
        longest: The most epochs that it takes.
        start: The learning rate at its beginning, as a part of the top.

    Attributes:
        longest: The most epochs that it takes.
        end: Its end; None until that is known.
    """

    def __init__(self, longest: float, start: float) -> None:
        self.longest, self._start = longest, start
        self.end: End | None = None
        self._agreed = 0
        self._epochs: list[float] = []
        self._losses: list[float] = []

    @property
    def ends(self) -> float:
        """Returns the epochs that it takes; the most of them while its end is not known."""
        return self.end.epoch if self.end is not None else self.longest

    def height(self, epoch: float) -> float:
        """Returns the learning rate at an epoch, without decay, as a part of the top."""
        return self.end.height if self.end is not None else rise(epoch, self.longest, self._start)

    def add(self, epoch: float, loss: float) -> None:
        """Takes in the mean loss of a step that began at this epoch; one that is not finite says nothing."""
        if self.end is None and math.isfinite(loss):
            self._epochs.append(epoch)
            self._losses.append(loss)
            if len(self._losses) > MOST_LOSSES:
                self._epochs, self._losses = _halved(self._epochs), _halved(self._losses)

    def look(self, epoch: float) -> Look:
        """Returns what the losses say at the end of an epoch, or of the longest rise.

        Args:
            epoch: The epochs since the start of training.
        """
        probabilities: tuple[float, ...] = ()
        minimum = height = None
        if len(self._losses) >= LEAST_LOSSES:
            found = past_minimum(np.array(self._epochs) / self._epochs[-1], self._bounded(), len(self._losses))
            probabilities, minimum = found.probabilities, found.place * self._epochs[-1]
        votes = sum(probability > CONFIDENCE for probability in probabilities)
        self._agreed = self._agreed + 1 if votes > TESTS / 2 else 0
        if self._agreed >= PATIENCE and minimum is not None:
            height = self.height(minimum)
        elif epoch >= self.longest:
            height = 1.0
        return Look(probabilities=probabilities, agreed=self._agreed, minimum=minimum, height=height)

    def stop(self, epoch: float, height: float) -> None:
        """Ends the warm-up at this height; what it went by is forgotten."""
        self.end = End(epoch, height)
        self._agreed, self._epochs, self._losses = 0, [], []

    def _bounded(self) -> np.ndarray:
        """Returns the losses, with those of a network that diverges no higher than tells of it."""
        epochs, losses = np.array(self._epochs), np.array(self._losses)
        first = float(losses[epochs < max(1.0, epochs[0] + 1e-9)].mean())
        return np.minimum(losses, first + (first - float(losses.min())))

    def state_dict(self) -> dict[str, Any]:
        """Returns the losses, the votes and the end, for a checkpoint."""
        end = [self.end.epoch, self.end.height] if self.end is not None else None
        losses = {"epochs": list(self._epochs), "losses": list(self._losses)}
        return {"longest": self.longest, "start": self._start, "agreed": self._agreed, "end": end, **losses}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from what ``state_dict`` returned: a rise that has begun keeps its length."""
        self.longest, self._start, self._agreed = state["longest"], state["start"], state["agreed"]
        self._epochs, self._losses = (list(map(float, state[name])) for name in ("epochs", "losses"))
        if len(self._epochs) != len(self._losses):
            raise ValueError("not as many losses as epochs of the warm-up")
        self.end = End(*map(float, state["end"])) if state["end"] is not None else None


def _halved(numbers: list[float]) -> list[float]:
    """Returns the means of neighbours."""
    return [(one + other) / 2 for one, other in zip(numbers[::2], numbers[1::2], strict=False)]
