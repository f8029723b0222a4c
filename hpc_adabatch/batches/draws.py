"""Epochs of draws with replacement, in which a sample comes as often as its weight says.

A draw is the sample in whose part of the weights' running sum a random number lies, whatever was drawn before:

    weights          1       3         2
    running sum   0 ... 1 ....... 4 ..... 6
    random number           2.7                     ->  sample 1

The random numbers belong to (seed, epoch), so that all ranks and restarts have the same draws. A draw's position in the
epoch says which rank reads it, as in a permutation (plan.py).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ..errors import InputError, require

Weights = Sequence[float] | torch.Tensor | np.ndarray


class Draws:
    """The draws of each epoch.

    Args:
        weights: A weight for each sample of the dataset, of any sum.
        n_samples: The samples of the dataset.
        per_epoch: The draws of an epoch.
        seed: The seed of the draws.

    Raises:
        InputError: The weights are not one positive, finite number for each sample.
    """

    def __init__(self, weights: Weights, n_samples: int, per_epoch: int, seed: int) -> None:
        self.weights = _checked(weights, n_samples)
        self._sums = np.cumsum(self.weights)
        self._per_epoch, self._seed = per_epoch, seed

    def of(self, epoch: int) -> np.ndarray:
        """Returns the dataset indices of an epoch's positions. Shape (draws,), int64."""
        random = np.random.Generator(np.random.PCG64(np.random.SeedSequence([self._seed, epoch])))
        drawn = np.searchsorted(self._sums, random.random(self._per_epoch) * self._sums[-1], side="right")
        return np.minimum(drawn, len(self._sums) - 1)  # a product may be rounded up to the whole sum


def _checked(weights: Weights, n_samples: int) -> np.ndarray:
    allowed = f"a positive number for each of the {n_samples} samples"
    try:
        given = torch.as_tensor(weights, dtype=torch.float64).cpu().numpy()
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError("weights", f"{type(weights).__name__}: {weights!r:.60}", allowed) from error
    count = f"{len(given)} weights" if given.ndim == 1 else f"weights of shape {given.shape}"
    require(given.shape == (n_samples,), "weights", count, allowed)
    wrong = np.flatnonzero(~((given > 0) & (given < np.inf)))
    if len(wrong):
        subset = "a Subset of the dataset, to leave samples out"
        raise InputError("weights", f"{given[wrong[0]]:g} for sample {wrong[0]}", allowed, subset)
    with np.errstate(over="ignore"):
        total = given.sum()
    require(bool(np.isfinite(total)), "weights", "numbers whose sum overflows", "smaller ones: any sum will do")
    return given
