"""The split of a rank's share of a global batch into passes that fit the device's memory.

    share of 500 samples, max_micro_batch 128   ->   4 passes of 125
    share of 100 samples, max_micro_batch 128   ->   1 pass of 100

The micro-batch grows with the global batch, because one device is faster with larger ones, until it reaches
``max_micro_batch``; from there on the number of passes grows.
"""

import math


def pieces(share: int, max_micro_batch: int) -> list[int]:
    """Returns the samples of each pass: as few passes as ``max_micro_batch`` allows, equal to within one sample."""
    if share == 0:
        return []
    return parts(share, -(-share // max_micro_batch))


def parts(share: int, passes: int) -> list[int]:
    """Returns the samples of each of so many passes, equal to within one sample."""
    small, larger = divmod(share, passes)
    return [small + 1] * larger + [small] * (passes - larger)


def leaves_one(global_batch: int, n_ranks: int, max_micro_batch: int) -> bool:
    """Reports whether a pass of some rank has one sample."""
    share, rest = divmod(global_batch, n_ranks)
    return any(1 in pieces(size, max_micro_batch) for size in (share, share + (rest > 0)))


def passes_and_micro_batch(global_batch: int, n_ranks: int, max_micro_batch: int) -> tuple[int, int]:
    """Returns the passes of a step and the samples of a pass, both of the rank with the most samples."""
    sizes = pieces(-(-global_batch // n_ranks), max_micro_batch)
    return len(sizes), sizes[0]


def is_even(global_batch: int, n_ranks: int, max_micro_batch: int | None) -> bool:
    """Reports whether every pass of every rank gets equally many samples."""
    share, rest = divmod(global_batch, n_ranks)
    passes = 1 if max_micro_batch is None else -(-share // max_micro_batch)
    return rest == 0 and share > 0 and share % passes == 0


def even(wanted: float, n_ranks: int, max_micro_batch: int | None, *, least: int, most: int) -> int:
    """Returns the even batch (``is_even``) nearest to the one wanted, or the nearest integer if there is none.

    Args:
        wanted: Global batch wanted, in samples.
        n_ranks: Number of ranks that share a batch.
        max_micro_batch: Largest micro-batch, in samples; None if there is no limit.
        least: Smallest batch allowed, in samples.
        most: Largest batch allowed, in samples.
    """
    near = min(max(wanted, least), most)
    below = next_even(math.floor(near) + 1, n_ranks, max_micro_batch, limit=least)
    above = next_even(math.ceil(near) - 1, n_ranks, max_micro_batch, limit=most)
    found = [size for size in (below, above) if least <= size <= most and is_even(size, n_ranks, max_micro_batch)]
    return min(found, key=lambda size: (abs(size - near), size)) if found else round(near)


def next_even(now: int, n_ranks: int, max_micro_batch: int | None, *, limit: int) -> int:
    """Returns the first even batch (``is_even``) after ``now`` on the way to ``limit``; ``now`` if there is none."""
    up = limit > now
    share = now // n_ranks + 1 if up else -(-now // n_ranks) - 1
    while (share * n_ranks <= limit) if up else (share * n_ranks >= max(limit, 1)):
        if is_even(share * n_ranks, n_ranks, max_micro_batch):
            return share * n_ranks
        share += 1 if up else -1
    return now
