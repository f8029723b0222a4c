"""The table of optimizers: ratios by round, fresh gradients, and a deviation that tells forms apart."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))  # scripts, not a package: they import each other by name

import formulas  # noqa: E402
from optimizers import (  # noqa: E402
    ADAM,
    FUSED,
    ROWS,
    SGD,
    Row,
    copied,
    deviation,
    document,
    elsewhere,
    measure,
    parameters,
    table,
    timed,
)

from hpc_adabatch import LAMB, LARS  # noqa: E402


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8, 4))


def ends(formula: str, model: nn.Module) -> dict[str, list[torch.Tensor]]:
    groups = copied(model, "cpu")
    return formulas.ends(formula, parameters(groups), [group["adapt"] for group in groups for _ in group["params"]])


def test_ours_follow_the_papers(model: nn.Module) -> None:
    lars, lamb = ends("LARS", model), ends("LAMB", model)
    kind, distance = deviation(Row("", lambda groups: LARS(groups, **SGD), "LARS"), model, "cpu", lars).split(": ")
    assert kind == "form A"
    assert float(distance) < 1e-3
    kind, distance = deviation(Row("", lambda groups: LAMB(groups, **ADAM), "LAMB"), model, "cpu", lamb).split(": ")
    assert kind == "Algorithm 2"
    assert float(distance) < 1e-3


@pytest.mark.parametrize(
    ("formula", "build", "expected"),
    [
        ("LARS", lambda groups: LARS(groups, momentum_correction=True, **SGD), "form C: "),
        ("LAMB", lambda groups: LAMB(groups, bias_correction=False, **ADAM), "without bias correction: "),
        ("LARS", lambda groups: LARS(groups, trust_coefficient=2e-3, **SGD), "form A: 1e+00, form C: "),
        ("LARS", lambda groups: torch.optim.SGD(groups, **SGD), "form A: "),
    ],
)
def test_another_formula_is_named_or_told_from_all(model: nn.Module, formula: str, build: Any, expected: str) -> None:
    found = deviation(Row("", build, formula), model, "cpu", ends(formula, model))
    assert found.startswith(expected)
    assert found.count(":") == (2 if expected.startswith("form A") else 1)


def test_one_layer_out_of_line_is_enough(model: nn.Module) -> None:
    def build(groups: Any) -> torch.optim.Optimizer:
        optimizer = LARS(groups, **SGD)
        optimizer.param_groups[1]["momentum"] = 0.8
        return optimizer

    assert "form C" in deviation(Row("", build, "LARS"), model, "cpu", ends("LARS", model))


def test_everyone_steps_once_a_round_in_another_order_with_fresh_gradients() -> None:
    called: list[str] = []
    steps = {name: lambda name=name: called.append(name) for name in "abcd"}
    found = timed(steps, lambda: called.append("fresh"), lambda: called.append("wait"), rounds=20)
    assert called[0::4] == ["fresh"] * 92
    assert called[1::4] == called[3::4] == ["wait"] * 92
    rounds = ["".join(called[2::4][n : n + 4]) for n in range(0, 92, 4)]
    assert {"".join(sorted(one)) for one in rounds} == {"abcd"}
    assert len(set(rounds)) > 5
    assert all(len(values) == 20 for values in found.values())


def test_a_drift_of_the_machine_cancels_in_the_ratio() -> None:
    found = {FUSED: [1.0, 2.0, 4.0, 8.0], "b": [1.5, 3.0, 6.0, 12.0]}
    rows = [Row(name, elsewhere("", "")) for name in (FUSED, "b", "c")]
    lines = table(found, {"b": "form A: 1e-07", "c": "not installed: pip install c"}, rows)
    assert lines[2] == f"| {FUSED} | 3.00 (1.75 to 5.00) | 1.00 (1.00 to 1.00) |  |"
    assert lines[3] == "| b | 4.50 (2.62 to 7.50) | 1.50 (1.50 to 1.50) | form A: 1e-07 |"
    assert lines[4] == "| c |  |  | not installed: pip install c |"


def test_all_rows_are_shown_and_gradients_stay_the_same_for_all(
    model: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "timm.optim", None)
    seen = []

    class Spoiler(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            gradients = [one.grad for group in self.param_groups for one in group["params"]]
            seen.append([gradient.clone() for gradient in gradients])
            for gradient in gradients:
                gradient.zero_()

    rows = (*ROWS, Row("spoiler", lambda groups: Spoiler(groups, **SGD)))
    threads = torch.get_num_threads()
    try:
        lines = measure(model, "cpu", [1], 2, rows)
    finally:
        torch.set_num_threads(threads)
    for row in rows:
        [line] = [line for line in lines if line.startswith(f"| {row.name} |")]
        assert ("not installed: pip install timm" in line) == row.name.startswith("timm")
    assert len(seen) == 5
    assert all(torch.equal(a, b) for a, b in zip(seen[0], seen[-1], strict=True))
    assert float(seen[0][0].abs().sum()) > 0


def test_the_document_tells_how_it_was_made(model: nn.Module) -> None:
    flags: Any = SimpleNamespace(threads=[1, 2], device="cpu", rounds=7)
    text = document(["## 1 thread"], model, flags)
    assert "python benchmarks/optimizers.py --threads 1,2 --device cpu --rounds 7" in text
    assert "torch " in text
    assert "ranks" not in text
    assert "On the parameters of ResNet-50" in text
    assert text.endswith("## 1 thread")


def test_the_network_is_resnet_50() -> None:
    from hpc_adabatch.tasks import vision

    network = vision.models.resnet50()
    groups = copied(network, "cpu")
    assert [len(group["params"]) for group in groups] == [54, 107]
    assert sum(one.numel() for one in parameters(groups)) == 25_557_032
