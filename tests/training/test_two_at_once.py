"""Two trainings in one loop: a network that draws, and one that tells its drawings from the truth (a GAN)."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy
from torch.utils.data import TensorDataset

import hpc_adabatch as hab
from hpc_adabatch.batches.plan import permutation
from hpc_adabatch.cluster import SingleProcess

TRUTH = torch.randn(48, 4, generator=torch.Generator().manual_seed(0)).double()
NOISE = torch.randn(48, 3, generator=torch.Generator().manual_seed(1)).double()
RATE = 0.3


def networks() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    return nn.Linear(3, 4).double(), nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1)).double()


def training(model: nn.Module, data: torch.Tensor, seed: int, **how: object) -> hab.AdaptiveTraining:
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.5)
    batches = hab.AdaptiveBatches(TensorDataset(data), 8, max_micro_batch=4, seed=seed)
    return hab.AdaptiveTraining(model, optimizer, batches, cluster=SingleProcess(), **how)  # type: ignore[arg-type]


def told(judge: nn.Module, sample: torch.Tensor, right: float) -> torch.Tensor:
    answers = judge(sample)
    return cross_entropy(answers, torch.full_like(answers, right))


def by_hand() -> list[torch.Tensor]:
    """Returns the weights that torch's own loop comes to, on whole batches."""
    draws, judges = networks()
    both = [torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.5) for model in (draws, judges)]
    for epoch in range(2):
        truth, noise = (torch.from_numpy(permutation(seed, epoch, 48)) for seed in (1, 2))
        for start in range(0, 48, 8):
            true, drawn = TRUTH[truth[start : start + 8]], NOISE[noise[start : start + 8]]
            both[1].zero_grad()
            (told(judges, true, 1.0) + told(judges, draws(drawn).detach(), 0.0)).backward()
            both[1].step()
            both[0].zero_grad()
            told(judges, draws(drawn), 1.0).backward()
            both[0].step()
    return [*draws.parameters(), *judges.parameters()]


@pytest.mark.parametrize("measures", [False, True])
def test_each_has_its_own_gradients(measures: bool) -> None:
    """The drawing network's loss leaves gradients in the other one, which belong to no step of its own."""
    draws, judges = networks()
    rule = {"policy": hab.NoiseScale(), "options": hab.LoopOptions(measure_every=1)} if measures else {}
    for_truth, for_noise = training(judges, TRUTH, 1, **rule), training(draws, NOISE, 2, **rule)
    if measures:  # the batch stays, only hooks are there
        for_truth.batches.max_global_batch = for_noise.batches.max_global_batch = 8
    for epoch in range(2):
        for step, other in zip(for_truth.epoch(epoch), for_noise.epoch(epoch), strict=True):
            noise = iter(
                NOISE[torch.from_numpy(permutation(2, epoch, 48))][other.batch.start : other.batch.stop].split(4)
            )
            for (true,) in step:
                step.backward(told(judges, true, 1.0) + told(judges, draws(next(noise)).detach(), 0.0))
            step.update()
            for (drawn,) in other:
                other.backward(told(judges, draws(drawn), 1.0))
            other.update()
    for found, expected in zip([*draws.parameters(), *judges.parameters()], by_hand(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
