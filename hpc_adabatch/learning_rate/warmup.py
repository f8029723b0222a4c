"""The first epochs of the learning rate.

    none     no warm-up
    fixed    linear over ``warmup_epochs`` (Goyal et al. 2017, 1706.02677, section 2.2)
    legw     linear over ``warmup_epochs`` times k (You et al. 2019, LEGW, 1901.08256): as many steps at any batch

The k of legw is that of the batch at step 0. A batch that grows later does not reopen the warm-up: with the k of the
current batch, growth late in training would cut the learning rate below what it was.

Not here: how k scales the peak (scaling.py), what follows the warm-up (decay.py).
"""

from collections.abc import Callable

LENGTHS: dict[str, Callable[[float, float], float]] = {  # (warmup_epochs, k at step 0) -> epochs
    "none": lambda *_: 0.0,
    "fixed": lambda warmup_epochs, _: warmup_epochs,
    "legw": lambda warmup_epochs, k: warmup_epochs * k,
}


def ramp(epoch: float, length: float, start: float) -> float:
    """Linear from ``start`` at epoch 0 to 1 at ``length`` epochs, then 1."""
    return 1.0 if epoch >= length else start + (1.0 - start) * epoch / length
