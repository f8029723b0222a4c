"""The average of the weights: its recursion, what it makes of larger batches, its state."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import hpc_adabatch as hab
from hpc_adabatch.errors import InputError


def moved(model: nn.Module, seed: int) -> None:
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter))


def test_the_average_is_the_sum_of_the_weights_by_their_parts() -> None:
    """Each part is that of a direct sum: (1 - d_i) times what all later updates leave of it."""
    model = nn.Linear(3, 2).double()
    average = hab.WeightAverage(model, 0.9, 4)
    seen, kept = [], []
    for seed, samples in enumerate([4, 8, 4, 1, 100, 3]):
        moved(model, seed)
        average.update(samples)
        seen.append(model.weight.detach().clone())
        kept.append(0.9 ** (samples / 4) if seed else 0.0)
    parts = [(1 - kept[i]) * torch.tensor(kept[i + 1 :], dtype=torch.float64).prod() for i in range(len(kept))]
    assert float(sum(parts)) == pytest.approx(1)
    wanted = sum(part * weight for part, weight in zip(parts, seen, strict=True))
    torch.testing.assert_close(average.model.weight, wanted, rtol=1e-12, atol=1e-12)


def test_an_update_on_twice_the_samples_counts_as_two() -> None:
    """2307.13813: with the rule, a larger batch that goes the same way has the same average."""
    model = nn.Linear(3, 2).double()
    once, twice = hab.WeightAverage(model, 0.97, 8), hab.WeightAverage(model, 0.97, 8)
    for seed in range(5):
        moved(model, seed)
        once.update(16)
        twice.update(8)
        twice.update(8)
    torch.testing.assert_close(once.model.weight, twice.model.weight, rtol=1e-12, atol=1e-12)


def test_statistics_of_normalisation_are_those_of_the_model_and_the_state_goes_on() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    average, other = hab.WeightAverage(model, 0.5, 4), hab.WeightAverage(model, 0.5, 4)
    model(torch.randn(8, 3))
    average.update(4)
    moved(model, 1)
    average.update(4)
    other.load_state_dict(average.state_dict())
    moved(model, 2)
    for each in (average, other):
        each.update(6)
    for name, value in average.model.state_dict().items():
        assert torch.equal(value, other.model.state_dict()[name]), name
    assert torch.equal(average.model.state_dict()["1.running_mean"], model.state_dict()["1.running_mean"])
    assert not any(parameter.requires_grad for parameter in average.model.parameters())


@pytest.mark.parametrize(
    ("decay", "reference", "field"), [(1, 4, "decay"), (-0.1, 4, "decay"), ("0.9", 4, "decay"), (0.9, 0, "reference_")]
)
def test_values_out_of_range_are_refused(decay: float, reference: int, field: str) -> None:
    with pytest.raises(InputError, match=f"^{field}"):
        hab.WeightAverage(nn.Linear(1, 1), decay, reference)
