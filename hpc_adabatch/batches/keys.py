"""Randomness that belongs to a sample: the same for any rank, pass or restart that draws it.

Augmentation drawn from a rank's own generator would change with the number of ranks and with every batch decision.
Here a draw is a hash of (seed, epoch, sample), so that the exact mean over the global batch and exact restarts hold for
augmented data too.
"""

import torch


def sample_keys(seed: int, epoch: int, indices: torch.Tensor) -> torch.Tensor:
    """Returns one pseudo-random int64 for each sample, equal for equal (seed, epoch, index) on any rank and pass.

    The hash is the finalizer of SplitMix64 (Steele, Lea & Flood 2014, figure 17) of a sum of odd multiples.

    Args:
        seed: Seed of the run.
        epoch: Number of the epoch, from 0 on.
        indices: Dataset indices, int64, any shape.
    """
    mixed = indices * _signed(0x9E3779B97F4A7C15) + _signed(
        (seed * 0xD1342543DE82EF95 + epoch * 0xDA942042E4DD58B5) % 2**64
    )
    for shift, multiplier in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
        mixed = (mixed ^ _shift_right(mixed, shift)) * _signed(multiplier)
    return mixed


def uniform(keys: torch.Tensor, stream: int, n_values: int) -> torch.Tensor:
    """Returns one random integer of [0, n_values) for each key.

    Args:
        keys: Keys of the samples (``sample_keys``).
        stream: Number of the draw; draws of different streams from the same keys are independent.
        n_values: Number of values, at least 1.
    """
    return _shift_right(sample_keys(stream, 0, keys), 33) % n_values


def _shift_right(values: torch.Tensor, bits: int) -> torch.Tensor:
    """Returns the values shifted to the right, with zeros shifted in, which int64 does not do by itself."""
    return (values >> bits) & ((1 << (64 - bits)) - 1)


def _signed(value: int) -> int:
    """Returns the int64 that has the bits of this uint64."""
    return value - 2**64 if value >= 2**63 else value
