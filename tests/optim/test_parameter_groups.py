"""Which parameters decay and adapt."""

from __future__ import annotations

import torch
from torch import nn

from hpc_adabatch import parameter_groups


def model() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.LayerNorm(4), nn.Linear(4, 2))


def test_weights_decay_and_adapt_while_biases_and_normalisation_do_neither() -> None:
    conv, batch_norm, _, layer_norm, linear = network = model()
    weights, rest = parameter_groups(network, 0.1)
    plain = [conv.bias, batch_norm.weight, batch_norm.bias, layer_norm.weight, layer_norm.bias, linear.bias]
    assert list(map(id, weights["params"])) == list(map(id, [conv.weight, linear.weight]))
    assert list(map(id, rest["params"])) == list(map(id, plain))
    assert (weights["weight_decay"], weights["adapt"]) == (0.1, True)
    assert (rest["weight_decay"], rest["adapt"]) == (0.0, False)


def test_frozen_parameters_are_left_out() -> None:
    network = model()
    network[0].requires_grad_(False)
    n_taken = sum(len(group["params"]) for group in parameter_groups(network, 0.1))
    assert n_taken == len(list(network.parameters())) - 2


def test_empty_groups_are_left_out() -> None:
    [weights] = parameter_groups(nn.Linear(3, 2, bias=False), 0.1)
    [rest] = parameter_groups(nn.BatchNorm1d(3), 0.1)
    assert weights["adapt"]
    assert not rest["adapt"]
    assert parameter_groups(nn.ReLU(), 0.1) == []


def test_shared_parameters_are_taken_once() -> None:
    linear = nn.Linear(3, 3)
    weights, rest = parameter_groups(nn.Sequential(linear, linear), 0.1)
    assert (len(weights["params"]), len(rest["params"])) == (1, 1)


def test_normalisation_over_several_dimensions_neither_decays_nor_adapts() -> None:
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.LayerNorm([4, 6, 6]))
    weights, others = parameter_groups(model, weight_decay=0.1)
    assert [tuple(p.shape) for p in weights["params"]] == [(4, 3, 3, 3)]
    assert [tuple(p.shape) for p in others["params"]] == [(4,), (4, 6, 6), (4, 6, 6)]
