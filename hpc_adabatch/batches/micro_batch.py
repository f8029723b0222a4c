"""How a rank's share of a global batch passes through the device's memory.

    share of 500 samples, max_micro_batch 128   ->   4 passes of 125
    share of 100 samples, max_micro_batch 128   ->   1 pass of 100

The micro-batch grows with the global batch, because that is what makes one device faster, until it reaches
``max_micro_batch``; from there on the number of passes grows.

Not here: whose samples they are (plan.py), weighting their losses (training/step.py).
"""


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


def even(global_batch: float, n_ranks: int, max_micro_batch: int | None, *, least: int, most: int, now: int) -> int:
    """The batch next to the one wanted that gives every pass of every rank equally many samples.

    Rounded away from ``now``, so that a small change is not rounded to none. Where there is no such batch within
    ``least`` and ``most``, the nearest integer within them.
    """
    near = round(min(max(global_batch, least), most))
    share = -(-near // n_ranks)
    unit = n_ranks * (1 if max_micro_batch is None else -(-share // max_micro_batch))
    below, above = near // unit * unit, -(-near // unit) * unit
    first, second = (above, below) if global_batch > now else (below, above)
    return next((size for size in (first, second) if least <= size <= most and size > 0), near)
