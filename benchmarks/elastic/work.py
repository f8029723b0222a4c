"""The training that both roads do: an epoch of made-up samples, and who trained on which of them, when."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import TensorDataset

SAMPLES, GLOBAL_BATCH, WIDTH = 8_000, 16, 1_024


def dataset() -> TensorDataset:
    """Returns samples of 64 numbers, their labels and their places."""
    draw = torch.Generator().manual_seed(1)
    values, labels = torch.randn(SAMPLES, 64, generator=draw), torch.randint(10, (SAMPLES,), generator=draw)
    return TensorDataset(values, labels, torch.arange(SAMPLES))


def network() -> nn.Module:
    """Returns a network of 1.1 million weights."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    return nn.Sequential(nn.Linear(64, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 10))


class Log:
    """The file of this process: a line for each step."""

    def __init__(self) -> None:
        folder = Path(os.environ["ELASTIC_LOG"])
        self._file = (folder / f"{time.time_ns()}-{os.getpid()}.jsonl").open("w", encoding="utf-8", buffering=1)

    def step(self, rank: int, size: int, places: torch.Tensor) -> None:
        """Notes a step with the places of its samples on this rank."""
        self._file.write(json.dumps([time.time(), rank, size, places.tolist()]) + "\n")
