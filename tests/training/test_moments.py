"""beta2 that follows the batch, through the loop: against Adam with decoupled decay, written out in float64."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import mse_loss
from torch.utils.data import TensorDataset

import hpc_adabatch as hab
from hpc_adabatch.cluster import SingleProcess
from hpc_adabatch.training.journal import Journal, read

DRAW = torch.Generator().manual_seed(0)
DATA = TensorDataset(torch.randn(96, 3, generator=DRAW).double(), torch.randn(96, 1, generator=DRAW).double())
BETAS, EPS, DECAY, RATE = (0.9, 0.999), 1e-8, 0.1, 0.01


def training(optimizer: Any, **how: Any) -> hab.AdaptiveTraining:
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 1).double()
    return hab.AdaptiveTraining(
        model,
        optimizer(model.parameters()),
        hab.AdaptiveBatches(DATA, 4, max_global_batch=24, seed=1),
        cluster=SingleProcess(),
        policy=hab.Schedule(text="0:4 16sa:8 48sa:24"),
        learning_rate=hab.LearningRate(beta2="per_epoch", reference_batch=2),
        **how,
    )


def adamw(parameters: Any) -> torch.optim.Optimizer:
    return hab.LAMB(parameters, lr=RATE, betas=BETAS, eps=EPS, weight_decay=DECAY, adapt=False)


def test_moments_reach_back_as_many_samples_at_any_batch(tmp_path: Path) -> None:
    """The moments' weights are those of each step's own beta2, so what is left of their start is the product."""
    loop = training(adamw, journal=Journal(tmp_path / "journal.jsonl"))
    weight = loop.model.weight.detach().clone()
    mean, square, start1, start2 = torch.zeros_like(weight), torch.zeros_like(weight), 1.0, 1.0
    used = []
    for step in loop.epoch(0):
        for inputs, targets in step:
            step.backward(mse_loss(loop.model(inputs), targets))
        gradient, beta1, beta2 = loop.model.weight.grad.clone(), BETAS[0], BETAS[1] ** (len(step.batch) / 2)
        step.update()
        mean, square = beta1 * mean + (1 - beta1) * gradient, beta2 * square + (1 - beta2) * gradient**2
        start1, start2 = start1 * beta1, start2 * beta2
        direction = mean / (1 - start1) / ((square / (1 - start2)).sqrt() + EPS)
        weight = weight - RATE * (direction + DECAY * weight)
        torch.testing.assert_close(loop.model.weight.detach(), weight, rtol=1e-10, atol=1e-12)
        used.append(len(step.batch))
    assert used == [4] * 4 + [8] * 4 + [24] * 2
    told = [line["beta2"] for line in read(tmp_path / "journal.jsonl") if line["kind"] == "decision"]
    assert told == pytest.approx([BETAS[1] ** (batch / 2) for batch in (8, 24)])


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
def test_optimizers_whose_moments_take_one_beta2(optimizer: Any) -> None:
    with pytest.raises(hab.InputError, match=r"^learning_rate.beta2: given per_epoch; allowed: per_step with"):
        training(lambda parameters: optimizer(parameters, lr=RATE))
