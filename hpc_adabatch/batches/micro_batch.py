"""How a rank's share of a global batch passes through the device's memory.

    share of 500 samples, max_micro_batch 128   ->   4 passes of 125
    share of 100 samples, max_micro_batch 128   ->   1 pass of 100

The micro-batch grows with the global batch, because that is what makes one device faster, until it reaches
``max_micro_batch``; from there on the number of passes grows.

Not here: whose samples they are (plan.py), weighting their losses (training/step.py).
"""

import math


def pieces(share: int, max_micro_batch: int) -> list[int]:
    """Splits ``share`` samples into the fewest passes of at most ``max_micro_batch``, equal to within one sample."""
    if share == 0:
        return []
    passes = -(-share // max_micro_batch)
    small, larger = divmod(share, passes)
    return [small + 1] * larger + [small] * (passes - larger)


def passes_and_micro_batch(global_batch: int, n_ranks: int, max_micro_batch: int) -> tuple[int, int]:
    """Passes per step and samples per pass of the fullest rank, for a full global batch."""
    sizes = pieces(-(-global_batch // n_ranks), max_micro_batch)
    return len(sizes), sizes[0]


def is_even(global_batch: int, n_ranks: int, max_micro_batch: int | None) -> bool:
    """Whether every pass of every rank gets equally many samples."""
    share, rest = divmod(global_batch, n_ranks)
    passes = 1 if max_micro_batch is None else -(-share // max_micro_batch)
    return rest == 0 and share > 0 and share % passes == 0


def even(wanted: float, n_ranks: int, max_micro_batch: int | None, *, least: int, most: int) -> int:
    """The even batch nearest to the one wanted, within ``least`` and ``most``; the nearest integer if there is none."""
    near = min(max(wanted, least), most)
    below = next_even(math.floor(near) + 1, n_ranks, max_micro_batch, limit=least)
    above = next_even(math.ceil(near) - 1, n_ranks, max_micro_batch, limit=most)
    found = [size for size in (below, above) if least <= size <= most and is_even(size, n_ranks, max_micro_batch)]
    return min(found, key=lambda size: (abs(size - near), size)) if found else round(near)


def next_even(now: int, n_ranks: int, max_micro_batch: int | None, *, limit: int) -> int:
    """The first even batch on the way from ``now`` to ``limit``, beyond ``now``; ``now`` where there is none."""
    up = limit > now
    share = now // n_ranks + 1 if up else -(-now // n_ranks) - 1
    while (share * n_ranks <= limit) if up else (share * n_ranks >= max(limit, 1)):
        if is_even(share * n_ranks, n_ranks, max_micro_batch):
            return share * n_ranks
        share += 1 if up else -1
    return now
