"""The same batch throughout: the baseline of every comparison.

When to use it: to know what the other rules gain.
"""

from .policy import Policy, Progress, Proposal


class Fixed(Policy):
    """A rule that never changes the batch."""

    def phase(self, progress: Progress) -> int:
        return 0

    def propose(self, progress: Progress) -> Proposal:
        return Proposal(global_batch=progress.start_batch, reason="fixed")
