"""Optimizers of recipes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from hpc_adabatch import LAMB, LARS, InputError
from hpc_adabatch.optim import OPTIMIZERS, OptimizerOptions
from hpc_adabatch.optim.eager import SGD
from hpc_adabatch.optim.options import (
    ArmijoOptions,
    BarzilaiBorweinOptions,
    LambOptions,
    LarsOptions,
    LayerwiseOptions,
    SgdOptions,
)
from hpc_adabatch.training.line_search import Line

COMMON: list[tuple[str, Any]] = [
    ("lr", 0.0),
    ("lr", -1.0),
    ("lr", float("nan")),
    ("weight_decay", -1e-4),
]


def test_recipes_name_their_optimizers() -> None:
    assert OPTIMIZERS["sgd"] is SgdOptions
    assert OPTIMIZERS["lars"] is LarsOptions
    assert OPTIMIZERS["lamb"] is LambOptions
    assert {kind for kind in OPTIMIZERS.values() if kind.has_trust_ratios} == {LarsOptions, LambOptions}


@pytest.mark.parametrize(
    ("kind", "option", "value"),
    [
        *((kind, option, value) for kind in OPTIMIZERS.values() for option, value in COMMON),
        *((kind, "momentum", value) for kind in (SgdOptions, LarsOptions) for value in (1.0, -0.1)),
        *((kind, "decrease", value) for kind in (ArmijoOptions, BarzilaiBorweinOptions) for value in (0.0, 0.6)),
        *((ArmijoOptions, "rise", value) for value in (0.9, float("inf"), float("nan"))),
        (LarsOptions, "trust_coefficient", -1e-3),
        (LarsOptions, "eps", -1e-8),
        *((kind, "eps", float("nan")) for kind in (LarsOptions, LambOptions)),
        (LambOptions, "eps", -1e-8),
        *((LambOptions, name, value) for name in ("beta1", "beta2") for value in (1.0, -0.1, float("nan"))),
        *((LambOptions, "max_trust_ratio", value) for value in (-1.0, float("nan"))),
    ],
)
def test_options_out_of_range_are_refused(kind: type[OptimizerOptions], option: str, value: Any) -> None:
    with pytest.raises(InputError, match=rf"^optimizer\.{option}: given {value}.*type --optimizer\.{option} "):
        kind(**{option: value})


@pytest.mark.parametrize("kind", [SgdOptions, LarsOptions])
def test_nesterov_needs_momentum(kind: type[SgdOptions | LarsOptions]) -> None:
    with pytest.raises(InputError, match=r"^optimizer\.nesterov: given True"):
        kind(momentum=0.0, nesterov=True)


def test_sgd_decays_weights_only() -> None:
    optimizer = SgdOptions(lr=0.3, momentum=0.8, weight_decay=0.1, nesterov=True).build(nn.Linear(3, 2))
    assert type(optimizer) is SGD
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]
    assert all((g["lr"], g["momentum"], g["nesterov"]) == (0.3, 0.8, True) for g in optimizer.param_groups)


def test_every_option_of_lars_arrives_in_both_groups() -> None:
    given = {"lr": 3.0, "momentum": 0.8, "trust_coefficient": 0.01, "eps": 1e-5}
    flags = {"momentum_correction": True, "nesterov": True}
    optimizer = LarsOptions(weight_decay=0.1, **given, **flags).build(nn.Linear(3, 2))  # type: ignore[arg-type]
    assert type(optimizer) is LARS
    assert all({**group, **given, **flags} == group for group in optimizer.param_groups)
    assert [(group["weight_decay"], group["adapt"]) for group in optimizer.param_groups] == [(0.1, True), (0.0, False)]


def test_every_option_of_lamb_arrives_in_both_groups() -> None:
    given = {"lr": 3.0, "eps": 1e-5, "bias_correction": False, "max_trust_ratio": 7.0}
    optimizer = LambOptions(weight_decay=0.1, beta1=0.8, beta2=0.9, **given).build(nn.Linear(3, 2))  # type: ignore[arg-type]
    assert type(optimizer) is LAMB
    assert all({**group, **given, "betas": (0.8, 0.9)} == group for group in optimizer.param_groups)
    assert [(group["weight_decay"], group["adapt"]) for group in optimizer.param_groups] == [(0.1, True), (0.0, False)]


@pytest.mark.parametrize("kind", [LarsOptions, LambOptions])
def test_adapt_all_decays_and_adapts_biases_too(kind: type[LayerwiseOptions]) -> None:
    optimizer = kind(weight_decay=0.1, adapt_all=True).build(nn.Linear(3, 2))
    assert [(group["weight_decay"], group["adapt"]) for group in optimizer.param_groups] == [(0.1, True)] * 2


@pytest.mark.parametrize(
    ("options", "bytes_of_a_parameter"),
    [
        (SgdOptions(), 12),
        (SgdOptions(momentum=0.0), 8),
        (LarsOptions(), 12),
        (LarsOptions(momentum=0.0), 12),
        (LambOptions(), 16),
        (LambOptions(beta1=0.0), 16),
    ],
)
def test_the_memory_of_a_parameter_is_that_of_its_tensors(options: OptimizerOptions, bytes_of_a_parameter: int) -> None:
    model = nn.Linear(64, 64)
    optimizer = options.build(model)
    model(torch.ones(2, 64)).sum().backward()
    optimizer.step()
    tensors = [tensor for p in model.parameters() for tensor in (p, p.grad, *optimizer.state[p].values())]
    held = sum(tensor.nbytes for tensor in tensors if isinstance(tensor, torch.Tensor) and tensor.ndim)
    assert held == bytes_of_a_parameter * sum(p.numel() for p in model.parameters())
    assert 4 * (2 + options.kept) == bytes_of_a_parameter


@pytest.mark.parametrize("kind", [ArmijoOptions, BarzilaiBorweinOptions])
def test_a_search_holds_weights_and_gradients_twice(kind: type[OptimizerOptions]) -> None:
    model = nn.Linear(64, 64)
    optimizer = kind().build(model)
    model(torch.ones(2, 64)).sum().backward()
    line = vars(Line(model, optimizer))
    copies = [tensor for value in line.values() if isinstance(value, list) for tensor in value]
    held = sum(tensor.numel() for tensor in copies if isinstance(tensor, torch.Tensor))
    optimizer.step()
    assert held + len(optimizer.state) == kind().kept * sum(p.numel() for p in model.parameters())
