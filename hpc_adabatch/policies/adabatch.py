"""AdaBatch: the batch grows by a factor every few epochs, and the learning rate follows.

Devarakonda, Naumov & Garland 2017, https://arxiv.org/abs/1712.02029, section 3.

    paper        here               meaning                                                    unit
    r            global_batch       batch size                                                 samples
    beta         factor             growth of the batch per change
    T            interval           between changes                                            epochs
    d            lr_factor          of the learning rate, per change
    W, r_base    warmup_epochs,     linear warm-up, epoch by epoch, from a0 to a0 * r0 / r_base,   epochs, samples
                 baseline_batch     as in the authors' code

What counts is the effective learning rate a/r (section 3.2): growing r by beta with factor d decays it by d / beta. So
(beta 2, d 0.75) and (beta 1, d 0.375) decay it alike. Where growth is cut short by the maximum, the learning rate
takes the rest: with r' = c r, c < beta, the factor is d c / beta, and a/r goes on as if nothing had been cut.

When to use it: you know a good step schedule for a fixed batch. Divide each decay into a growth and the rest. A start
batch larger than the tuned one (section 4.2) takes either the warm-up here or that of ``learning_rate``, with scaling.
"""

from __future__ import annotations

import math

from ..errors import real, require, whole
from .growth import grow
from .policy import Policy, Progress, Proposal


class AdaBatch(Policy):
    """AdaBatch: a rule that multiplies the batch by one factor and the learning rate by another every few epochs.

    Args:
        factor: Growth of the batch per change (beta), rounded down to whole samples as in the authors' code; with 1
            only the learning rate changes, in steps.
        interval: Epochs between two changes.
        lr_factor: Factor of the learning rate per change if the batch can grow in full (d).
        warmup_epochs: Epochs of linear warm-up; the full rate is reached one epoch earlier. 0 for no warm-up.
        baseline_batch: Global batch for which the base learning rate was tuned (r_base); needed by the warm-up.

    Raises:
        InputError: An argument is out of range.
    """

    couples_rate = True

    def __init__(
        self,
        *,
        factor: float = 2.0,
        interval: float = 20.0,
        lr_factor: float = 0.75,
        warmup_epochs: int = 0,
        baseline_batch: int | None = None,
    ) -> None:
        require(1 <= real(factor) < math.inf, "policy.factor", factor, "1 or more", "--policy.factor 2")
        require(
            0 < real(interval) < math.inf, "policy.interval", interval, "more than 0 epochs", "--policy.interval 20"
        )
        require(0 < real(lr_factor) < math.inf, "policy.lr_factor", lr_factor, "more than 0", "--policy.lr_factor 0.75")
        require(
            whole(warmup_epochs) == 0 or 2 <= whole(warmup_epochs) <= interval,
            "policy.warmup_epochs",
            warmup_epochs,
            f"0, or 2 to the interval ({interval:g})",
            "--policy.warmup_epochs 5",
        )
        require(
            (baseline_batch is not None) == (warmup_epochs > 0)
            and (baseline_batch is None or whole(baseline_batch) >= 1),
            "policy.baseline_batch",
            baseline_batch,
            "1 or more together with warmup_epochs, absent without",
            "--policy.baseline_batch 128",
        )
        self.factor = factor
        self.interval = interval
        self.lr_factor = lr_factor
        self.warmup_epochs = warmup_epochs
        self.baseline_batch = baseline_batch

    def changes(self, progress: Progress) -> int:
        """Returns the number of changes so far: one for each complete interval."""
        between = max(1.0, self.interval * progress.samples_per_epoch)
        return int(progress.samples_seen / between + 1e-9)  # half an interval of 1797 samples is not a whole number

    def warmup_factor(self, epochs_completed: int, start_batch: int) -> float:
        """Returns learning rate / base learning rate in and after the warm-up, which ends at start / baseline batch."""
        if self.baseline_batch is None:
            return 1.0
        done = min(epochs_completed, self.warmup_epochs - 1) / (self.warmup_epochs - 1)
        return 1.0 + (start_batch / self.baseline_batch - 1.0) * done

    def trajectory(self, n_changes: int, start_batch: int, max_global_batch: int) -> tuple[int, float]:
        """Returns global batch and learning-rate factor after ``n_changes`` changes, without the warm-up."""
        batch, learning_rate = start_batch, 1.0
        for _ in range(n_changes):
            batch, learning_rate = grow(
                batch, learning_rate, factor=self.factor, lr_factor=self.lr_factor, maximum=max_global_batch
            )
        return batch, learning_rate

    def phase(self, progress: Progress) -> int:
        warmed = min(progress.epochs_completed, max(0, self.warmup_epochs - 1))
        return self.changes(progress) * (self.warmup_epochs + 1) + warmed

    def propose(self, progress: Progress) -> Proposal:
        n_changes = self.changes(progress)
        batch, factor = self.trajectory(n_changes, progress.start_batch, progress.max_global_batch)
        warmup = self.warmup_factor(progress.epochs_completed, progress.start_batch)
        if progress.epochs_completed < self.warmup_epochs:
            reason = f"warm-up, {progress.epochs_completed} epochs done"
        else:
            rule = f"every {self.interval:g} epochs, batch x{self.factor:g}, learning rate x{self.lr_factor:g}"
            reason = f"change {n_changes}: {rule}"
        return Proposal(global_batch=batch, learning_rate_factor=factor * warmup, reason=reason)
