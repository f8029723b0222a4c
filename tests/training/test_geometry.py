"""Noise that is measured on the gradient divided by the root of the optimizer's second moments."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss
from torch.utils.data import TensorDataset

import hpc_adabatch as hab
from hpc_adabatch.cluster import SingleProcess

N, BATCH, PASS = 48, 12, 5


def problem() -> tuple[nn.Module, TensorDataset]:
    torch.manual_seed(0)
    inputs = torch.randn(N, 4, dtype=torch.float64) * torch.tensor([1.0, 10.0, 0.1, 3.0], dtype=torch.float64)
    return nn.Linear(4, 2).double(), TensorDataset(inputs, torch.randn(N, 2, dtype=torch.float64))


def records(path: Path, kind: str) -> list[dict[str, Any]]:
    every = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [record for record in every if record["kind"] == kind]


@pytest.mark.parametrize("kind", ["AdamW", "LAMB"])
def test_variance_and_signal_are_those_of_what_the_steps_go_along(kind: str, tmp_path: Path) -> None:
    """The mean over measured steps of a direct sum over their passes, each divided by sqrt(v) + eps of before."""
    model, data = problem()
    optimizer: Any = torch.optim.AdamW(model.parameters(), 1e-3) if kind == "AdamW" else hab.LAMB(model.parameters())
    training = hab.AdaptiveTraining(
        model,
        optimizer,
        hab.AdaptiveBatches(data, BATCH, max_micro_batch=PASS),
        policy=hab.NoiseScale(window=10**6, dwell=10**6),
        cluster=SingleProcess(),
        journal=hab.Journal(tmp_path / "journal"),
        options=hab.LoopOptions(noise_geometry="optimizer", measure_every=1, journal_every=1),
    )
    found = []
    for epoch in range(3):
        for step in training.epoch(epoch):
            roots, number, apart = [], training.steps, copy.deepcopy(model)  # of which no hook reads the gradient
            for parameter in model.parameters():
                state = optimizer.state.get(parameter, {})
                if "exp_avg_sq" in state:
                    roots.append(torch.sqrt(state["exp_avg_sq"] / (1 - 0.999**number)) + optimizer.defaults["eps"])
            pieces = []
            for inputs, targets in step:
                loss = mse_loss(model(inputs), targets)
                step.backward(loss)
                loss = mse_loss(apart(inputs), targets)
                pieces.append((len(inputs), torch.autograd.grad(loss, list(apart.parameters()))))
            step.update()
            if number >= 5:
                vectors = [torch.cat([(g / r).flatten() for g, r in zip(gs, roots, strict=True)]) for _, gs in pieces]
                sizes = [size for size, _ in pieces]
                mean = sum(b * v for b, v in zip(sizes, vectors, strict=True)) / BATCH
                squares = sum(b * v @ v for b, v in zip(sizes, vectors, strict=True))
                variance = float(squares - BATCH * mean @ mean) / (len(sizes) - 1)
                found.append((variance, float(mean @ mean) - variance * (1 / BATCH - 1 / N)))
    measured = records(tmp_path / "journal", "noise")
    assert training.measuring.measurements == len(found) == 7
    variance, signal = (sum(each) / len(found) for each in zip(*found, strict=True))
    # the average forgets: samples since a measurement over a window of a million
    assert measured[-1]["variance"] == pytest.approx(variance, rel=1e-4)
    assert measured[-1]["signal"] == pytest.approx(signal, rel=1e-3)


@pytest.mark.parametrize(
    ("optimizer", "policy", "reason"),
    [
        (torch.optim.SGD, hab.NoiseScale(), "gradient with SGD, which keeps no second moments"),
        (torch.optim.AdamW, hab.Cabs(), "gradient with Cabs, which needs the gradient's own length"),
        (torch.optim.AdamW, hab.InnerProduct(), "gradient with InnerProduct, which needs"),
        (torch.optim.AdamW, hab.BigBatch(), "gradient with BigBatch, which needs"),
    ],
)
def test_where_it_means_nothing_it_is_refused(optimizer: Any, policy: hab.Policy, reason: str) -> None:
    model, data = problem()
    with pytest.raises(hab.InputError, match=f"noise_geometry: given optimizer; allowed: {reason}"):
        hab.AdaptiveTraining(
            model,
            optimizer(model.parameters(), lr=1e-3),
            hab.AdaptiveBatches(data, BATCH),
            policy=policy,
            cluster=SingleProcess(),
            options=hab.LoopOptions(noise_geometry="optimizer"),
        )


@pytest.mark.parametrize("kind", ["AdamW", "LAMB"])
def test_what_had_no_gradient_before_is_left_out(kind: str) -> None:
    """Bug story: the row of a word that came up first was divided by eps alone, and its square, 1e16, was the noise."""
    torch.manual_seed(0)
    words = TensorDataset(torch.arange(400), torch.randn(400))  # each of them once
    model = nn.Sequential(nn.Embedding(400, 8), nn.Linear(8, 1))
    optimizer: Any = torch.optim.AdamW(model.parameters(), 1e-3) if kind == "AdamW" else hab.LAMB(model.parameters())
    training = hab.AdaptiveTraining(
        model,
        optimizer,
        hab.AdaptiveBatches(words, 16, max_micro_batch=8),
        policy=hab.NoiseScale(window=10**6),
        cluster=SingleProcess(),
        options=hab.LoopOptions(noise_geometry="optimizer", measure_every=1),
    )
    for step in training.epoch(0):
        for inputs, targets in step:
            step.backward(mse_loss(model(inputs)[:, 0], targets))
        step.update()
    assert training.measuring.measurements == 20
    assert training.measuring.last is not None
    # the rows of this batch are new, so what is measured is the last layer's 9 entries: each about 1 for a batch
    assert 0 < training.measuring.last.mean_square < 9 * 20
