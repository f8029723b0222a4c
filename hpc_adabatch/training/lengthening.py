"""The batch in hand, lengthened until the rule finds its gradient good enough: Big Batch SGD's loop, 1610.05792.

    passes -> sum over ranks -> rank 0's rule: enough?  -- yes -->  update
       ^                                 |
       +------ samples are added --------+ no

The sum so far is kept: only what was added is computed. Where the epoch or the largest batch ends it, the step is taken
with the samples there are, and what the rule came to holds for the next one (``Step.batch_after``).

Not here: the rule (policies/big_batch.py), the mean over old and added samples (averaging.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..batches import GlobalBatch

if TYPE_CHECKING:
    from .adaptive import AdaptiveTraining
    from .step import Step


@dataclass(frozen=True, kw_only=True)
class Extension:
    """What is added to the batch in hand."""

    samples: int
    """Over all ranks."""
    passes: list[int]
    """Samples of each pass of this rank."""


def batch_to_cut(training: AdaptiveTraining) -> int:
    """The batch; all that is left of the epoch where the rule lengthens batches and a short rest would follow."""
    left = training.plan.n_samples - training.plan.cursor
    return left if training.policy.extends and left < 1.5 * training.global_batch else training.global_batch


def lengthen(step: Step, training: AdaptiveTraining) -> Extension | None:
    """Sums the passes so far over ranks, and adds samples where the rule wants more; None when it does not."""
    if not training.policy.extends:
        return None
    training.sum_over_ranks(step)
    if not step.finite or training.measuring is None:
        return None
    wanted = training.coordinator.extend(training.measuring.last, training.progress)
    if wanted == 0:
        return None
    batch, largest = step.batch, training.batches.max_global_batch
    more = min(wanted, training.plan.n_samples - batch.stop, largest - len(batch))
    if more <= 0:
        step.wanted = min(len(batch) + wanted, largest) if step.is_whole else 0
        return None
    step.wanted = len(batch) + more
    training.averaging.set_aside()
    added = GlobalBatch(batch.epoch, batch.stop, batch.stop + more)
    step.batch, step.added, step.summed = GlobalBatch(batch.epoch, batch.start, added.stop), more, False
    return Extension(samples=more, passes=training.passes(added, measured=True))
