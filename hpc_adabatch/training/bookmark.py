"""The place in a training to which passes that shall leave no trace go back: before a step, or while sizes are tried.

Passes change running statistics of normalisation layers and generators of random numbers, and leave gradients, which
are others' to forget (gradient.py); weights and the optimizer's state change after all passes of a step.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .generators import generators, set_generators


class Bookmark:
    """The buffers of a network, and the generators that this rank draws from, as they were when it was set.

    Args:
        model: The network.
        device: The device of the rank.
    """

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        self._model, self._device = model, device
        self._buffers: dict[str, torch.Tensor] = {}
        self._generators: dict[str, Any] = {}

    def set(self) -> None:
        """Notes how they are."""
        now = dict(self._model.named_buffers())
        shapes, kept = ({name: buffer.shape for name, buffer in of.items()} for of in (now, self._buffers))
        if shapes != kept:
            self._buffers = {name: buffer.detach().clone() for name, buffer in now.items()}
        elif now:
            torch._foreach_copy_(list(self._buffers.values()), list(now.values()))
        self._generators = generators(self._device)

    @torch.no_grad()
    def go_back(self) -> None:
        """Makes them as they were; a buffer that is new since then stays."""
        now = dict(self._model.named_buffers())
        for name, kept in self._buffers.items():
            now[name].copy_(kept)
        set_generators(self._generators, self._device)
