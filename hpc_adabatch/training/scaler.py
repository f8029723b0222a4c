"""A loss scale of 1, for the precisions that need none."""

from __future__ import annotations

import torch


class NoScaler:
    """A stand-in for ``torch.amp.GradScaler`` that leaves losses as they are."""

    def is_enabled(self) -> bool:
        """Returns False."""
        return False

    def get_scale(self) -> float:
        """Returns 1."""
        return 1.0

    def get_backoff_factor(self) -> float:
        """Returns 1."""
        return 1.0

    def scale(self, outputs: torch.Tensor) -> torch.Tensor:
        """Returns the outputs as they are."""
        return outputs

    def unscale_(self, optimizer: torch.optim.Optimizer) -> None:
        """Leaves the gradients as they are."""

    def step(self, optimizer: torch.optim.Optimizer) -> object:
        """Takes the optimizer's step."""
        return optimizer.step()

    def update(self, new_scale: float | None = None) -> None:
        """Leaves the scale at 1."""

    def state_dict(self) -> None:
        """Returns None, as there is nothing to remember."""

    def load_state_dict(self, state: object) -> None:
        """Takes up nothing."""
