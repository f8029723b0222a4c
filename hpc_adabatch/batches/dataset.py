"""What a training set may be, and what to write instead of what it may not be.

    it has                      it is
    a length, and dataset[i]    map-style: read by index, in the order of the epoch (sampler.py)
    __iter__ alone              a stream, torch's IterableDataset: read in its own order (stream.py)

A DataLoader and a Sampler order and cut samples themselves, by a batch that stays.
"""

from __future__ import annotations

from collections.abc import Sized

from torch.utils.data import DataLoader, IterableDataset, Sampler, WeightedRandomSampler, default_collate

from ..errors import require, whole

ALLOWED = "a dataset that has a length and dataset[i], or an IterableDataset with samples_per_epoch"


def epoch_of(dataset: object, samples_per_epoch: int | None, *, drawn: bool) -> int:
    """Returns the samples of an epoch.

    Args:
        dataset: Anything that was given as a training set.
        samples_per_epoch: Their number as given: it is needed for a stream.
        drawn: True for draws with replacement, which may be any number.

    Raises:
        InputError: It is no training set; or the number is missing, or it is given where each sample comes once.
    """
    is_stream = isinstance(dataset, IterableDataset)
    readable = is_stream or (isinstance(dataset, Sized) and hasattr(dataset, "__getitem__"))
    is_one = readable and not isinstance(dataset, DataLoader | Sampler)
    require(is_one, "dataset", type(dataset).__name__, ALLOWED, instead_of(dataset))
    if samples_per_epoch is None and isinstance(dataset, Sized) and not is_stream:
        return len(dataset)
    once = "none, as an epoch has every sample of the dataset once"
    require(is_stream or drawn, "samples_per_epoch", samples_per_epoch, once)
    unordered = "none, as a stream has an order of its own"
    require(not (is_stream and drawn), "weights", "those of a stream", unordered)
    allowed = "1 or more: how many samples of the stream are an epoch" if is_stream else "1 or more draws"
    require(whole(samples_per_epoch) >= 1, "samples_per_epoch", samples_per_epoch, allowed, "samples_per_epoch=100_000")
    return int(whole(samples_per_epoch))


def instead_of(given: object) -> str:
    """Returns what to write instead of something that is no training set."""
    if isinstance(given, WeightedRandomSampler):
        return "AdaptiveBatches(dataset, 64, weights=sampler.weights)"
    if not isinstance(given, DataLoader):
        return "AdaptiveBatches(dataset, 64)"
    options = {
        "samples_per_epoch=N": isinstance(given.dataset, IterableDataset),
        "weights=loader.sampler.weights": isinstance(given.sampler, WeightedRandomSampler),
        "collate=loader.collate_fn": given.collate_fn is not default_collate,
        f"workers={given.num_workers}": given.num_workers > 0,
    }
    return f"AdaptiveBatches({', '.join(['loader.dataset', '64', *(text for text, has in options.items() if has)])})"
