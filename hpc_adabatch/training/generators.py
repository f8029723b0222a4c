"""The generators of random numbers that a rank draws from: torch's, its GPU's, Python's and numpy's."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch


def generators(device: torch.device) -> dict[str, Any]:
    """Returns the state of each, in tensors, numbers and texts.

    Args:
        device: The device of the rank.
    """
    name, keys, *rest = np.random.get_state(legacy=True)
    found: dict[str, Any] = {"rng": torch.get_rng_state(), "python_rng": random.getstate()}
    found["numpy_rng"] = (str(name), [int(key) for key in keys], *rest)
    if device.type == "cuda":
        found["cuda_rng"] = torch.cuda.get_rng_state()
    return found


def set_generators(state: Mapping[str, Any], device: torch.device) -> None:
    """Puts them back to the state that ``generators`` returned."""
    torch.set_rng_state(state["rng"])
    if "python_rng" in state:  # earlier releases did not save these two
        random.setstate(state["python_rng"])
        name, keys, *rest = state["numpy_rng"]
        np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))
    if "cuda_rng" in state and device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda_rng"])
