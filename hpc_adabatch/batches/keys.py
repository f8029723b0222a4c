"""Randomness that belongs to a sample: the same whichever rank, pass or restart draws it.

Augmentation drawn from a rank's own generator would change with the number of ranks and with every batch decision.
Here a draw is a hash of (seed, epoch, sample), so contract 1 of a run (the exact mean over the global batch) and exact
restarts hold for augmented data too.

Not here: what is done with the draws (tasks/augment.py), the order of the samples (plan.py).
"""

import torch


def sample_keys(seed: int, epoch: int, indices: torch.Tensor) -> torch.Tensor:
    """One pseudo-random int64 a sample: equal for equal (seed, epoch, index), whichever rank or pass holds it.

    The finalizer of SplitMix64 (Steele, Lea & Flood 2014, figure 17), applied to a sum of odd multiples.
    """
    mixed = indices * _signed(0x9E3779B97F4A7C15) + _signed(
        (seed * 0xD1342543DE82EF95 + epoch * 0xDA942042E4DD58B5) % 2**64
    )
    for shift, multiplier in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
        mixed = (mixed ^ _shift_right(mixed, shift)) * _signed(multiplier)
    return mixed


def uniform(keys: torch.Tensor, stream: int, n_values: int) -> torch.Tensor:
    """Draws one integer of [0, n_values) a key; different streams of the same keys are independent."""
    return _shift_right(sample_keys(stream, 0, keys), 33) % n_values


def _shift_right(values: torch.Tensor, bits: int) -> torch.Tensor:
    """The logical shift that int64 lacks."""
    return (values >> bits) & ((1 << (64 - bits)) - 1)


def _signed(value: int) -> int:
    """The int64 with the bits of this uint64."""
    return value - 2**64 if value >= 2**63 else value
