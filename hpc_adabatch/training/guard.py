"""What a script may not do within a step, though it may in a loop of its own: such habits trained wrongly in silence.

optimizer.step()               takes a second step                      refused while a step is in the caller's hands
zero_grad(), clip_grad_norm_   between the passes: change parts of      seen by the gradient that the pass before has
                               a sum, whose mean is not there yet       left: it is another one, or was written to
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn


class Guard:
    """A watch over an optimizer, and over the gradients between the passes of a step.

    Args:
        optimizer: The optimizer.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._witness: tuple[nn.Parameter, torch.Tensor, int] | None = None  # as the last pass has left it
        self._in_step = self._steps = False
        optimizer.register_step_pre_hook(self._refuse)

    @contextmanager
    def in_step(self) -> Iterator[None]:
        """Refuses, within the block, every step of the optimizer outside of ``stepping``."""
        self._in_step = True
        try:
            yield
        finally:
            self._in_step = False

    @contextmanager
    def stepping(self) -> Iterator[None]:
        """Lets the optimizer take its step within the block."""
        self._steps = True
        try:
            yield
        finally:
            self._steps = False

    def note(self, parameters: Sequence[nn.Parameter]) -> None:
        """Notes the gradients after a pass; one of them stands for all, for those habits reach every one."""
        self._witness = next(((p, p.grad, p.grad._version) for p in parameters if p.grad is not None), None)

    def forget(self) -> None:
        """Forgets what was noted: from here on the gradients may change."""
        self._witness = None

    def look(self) -> None:
        """Sees that nobody has changed the gradients since they were noted.

        Raises:
            RuntimeError: Somebody has.
        """
        if self._witness is None:
            return
        parameter, gradient, version = self._witness
        if parameter.grad is not gradient or gradient._version != version:
            raise RuntimeError(
                "the gradients were changed between the passes of a step: zero_grad() belongs to step.update(),"
                " clipping to options=LoopOptions(clip_norm=...), which clips the mean over the batch"
            )

    def _refuse(self, *_: object) -> None:
        if self._in_step and not self._steps:
            raise RuntimeError("optimizer.step() is called by step.update(), once a step: leave it out")
