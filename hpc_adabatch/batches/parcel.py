"""Samples on their way from a worker to its rank, as they are: one buffer a chunk.

torch sends each tensor through a file of its own, and a tensor that is a row of a large one takes all of that along: a
few hundred samples are more than the files that a process may have open. Here a chunk is pickled, its tensors as their
bytes, and travels as one tensor.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch


def pack(samples: Sequence[Any]) -> torch.Tensor:
    """Returns the samples, picklable objects, as bytes. Shape (bytes,), uint8."""
    written = io.BytesIO()
    _Pickler(written, protocol=pickle.HIGHEST_PROTOCOL).dump(list(samples))
    return torch.from_numpy(np.frombuffer(written.getbuffer(), dtype=np.uint8))


def unpack(parcel: torch.Tensor) -> list[Any]:
    """Returns the samples that ``pack`` was given."""
    return pickle.loads(parcel.numpy().data)


class _Pickler(pickle.Pickler):
    def reducer_override(self, value: Any) -> Any:
        """Returns how a tensor is made again of its bytes; torch's own way takes many times as long."""
        plain = type(value) is torch.Tensor and value.layout is torch.strided and value.device.type == "cpu"
        if not plain or value.requires_grad or value.is_quantized:
            return NotImplemented
        flat = value.resolve_conj().resolve_neg().contiguous().view(-1)
        return _made, (flat.view(torch.uint8).numpy(), value.dtype, value.shape)


def _made(flat: np.ndarray, dtype: torch.dtype, shape: torch.Size) -> torch.Tensor:
    return torch.from_numpy(flat).view(dtype).view(shape)
