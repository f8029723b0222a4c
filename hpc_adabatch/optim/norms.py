"""Lengths of layers: one after the other on a CPU, all at once elsewhere.

Not here: what becomes of them (layerwise.py).
"""

from __future__ import annotations

import math

import torch


def on_host(tensor: torch.Tensor) -> bool:
    """Whether a length is read at once; elsewhere the host would wait for the device."""
    return tensor.device.type == "cpu"


def norm(tensor: torch.Tensor) -> float:
    """Euclidean length of a tensor on a CPU, float32 or float64."""
    if not tensor.is_contiguous():
        return torch.linalg.vector_norm(tensor).item()
    flat = tensor.view(-1)  # dot uses all threads and keeps 50 times more digits than vector_norm
    return math.sqrt(torch.dot(flat, flat).item())


def norms(tensors: list[torch.Tensor]) -> torch.Tensor:
    """Euclidean lengths of tensors on one device, float32 or float64. Shape (tensors,)."""
    return torch.stack(torch._foreach_norm(tensors))
