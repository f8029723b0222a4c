"""An exponential average of the weights, whose memory counts samples and not updates.

    d = decay ** (B / B_ref)          of an update on B samples, where decay is that of one on B_ref
    average <- d average + (1 - d) weights

So an update on twice the samples moves the average as two do, and as the batch grows it looks back over equally many
samples (Busbridge et al., 2307.13813, section 2: EMA^kappa for a batch that is kappa times as large).
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from ..errors import real, require, whole


class WeightAverage:
    """An exponential average of a model's weights over the samples that it was trained on.

    The average begins with the weights after the first update. It is part of a checkpoint by
    ``AdaptiveTraining(also={"average": average})``.

    Args:
        model: The model, whose weights are averaged.
        decay: The part of the average that an update on ``reference_batch`` samples leaves, 0 to below 1.
        reference_batch: B_ref, in samples.

    Raises:
        InputError: A value is out of range.
    """

    def __init__(self, model: nn.Module, decay: float, reference_batch: int) -> None:
        require(0 <= real(decay) < 1, "decay", decay, "0 to below 1", "WeightAverage(model, 0.999, 256)")
        require(whole(reference_batch) >= 1, "reference_batch", reference_batch, "1 or more", "reference_batch=256")
        self._source, self._decay, self._reference = model, decay, reference_batch
        self._averaged: nn.Module = copy.deepcopy(model).requires_grad_(False)
        self._begun = False

    @property
    def model(self) -> nn.Module:
        """Returns a model with the averaged weights, and with the buffers that the trained one has now."""
        for own, other in zip(self._averaged.buffers(), self._source.buffers(), strict=True):
            own.copy_(other)
        return self._averaged

    @torch.no_grad()
    def update(self, samples: int) -> None:
        """Takes in the weights after an update; not called after one that was skipped (``step.applied``).

        Args:
            samples: B, the samples of the update over all ranks: ``len(step.batch)``.
        """
        kept = self._decay ** (samples / self._reference) if self._begun else 0.0
        self._begun = True
        averaged, weights = ([p.detach() for p in of.parameters()] for of in (self._averaged, self._source))
        if averaged:
            torch._foreach_lerp_(averaged, weights, 1 - kept)

    def state_dict(self) -> dict[str, Any]:
        """Returns the averaged weights by name, and whether there was an update."""
        weights = {name: parameter.detach() for name, parameter in self._averaged.named_parameters()}
        return {"weights": weights, "begun": self._begun}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up what ``state_dict`` returned.

        Raises:
            KeyError, RuntimeError: It is the state of another model.
        """
        for name, parameter in self._averaged.named_parameters():
            parameter.copy_(state["weights"][name])
        self._begun = bool(state["begun"])
