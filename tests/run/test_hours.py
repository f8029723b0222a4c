"""Hours of a plan: from the times of steps to an interval. No test looks at a clock."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import t as student

from hpc_adabatch.command_line import parse_recipe
from hpc_adabatch.run import hours
from hpc_adabatch.run.hours import BLOCKS, blocks, interval, seconds_per_pass, seconds_per_step

RECIPE = str(Path(__file__).resolve().parents[2] / "recipes" / "quickstart.yaml")


def test_the_interval_holds_one_more_block_in_95_of_100_cases() -> None:
    draw, inside = np.random.default_rng(0), 0
    for _ in range(2000):
        *known, new = draw.lognormal(-5, 0.1, BLOCKS + 1).tolist()
        _, low, high = interval(known)
        inside += low <= new <= high
    assert 0.94 < inside / 2000 < 0.96


def test_the_interval_by_hand() -> None:
    value, low, high = interval([1.0, np.e**2])
    reach = student.ppf(0.975, 1) * np.sqrt(2) * np.sqrt(1.5)  # standard deviation of 0 and 2
    assert (value, low, high) == pytest.approx((np.e, np.exp(1 - reach), np.exp(1 + reach)))


def test_a_block_is_the_mean_over_its_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that a step moves by 10 ms, and every fourth by 30: blocks of 10 and more hold both alike."""
    now = count = 0

    def step() -> None:
        nonlocal now, count
        count += 1
        now += 30 if count % 4 == 0 else 10

    monkeypatch.setattr(hours.time, "perf_counter", lambda: now / 1000)
    found = blocks(step, torch.device("cpu"))
    assert count == hours.WARM_STEPS + BLOCKS * 10  # 0.1 s of steps of 10 ms
    assert found == pytest.approx([0.016, 0.014, 0.016, 0.014, 0.016])


def test_sizes_that_differ_in_passes_alone_are_timed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[int, int]] = []

    class Steps:
        def __init__(self, _recipe: object, _data: object, samples: int, micro_batch: int, *_: object) -> None:
            made.append((samples, micro_batch))

        step = None

    monkeypatch.setattr(hours, "FixedSteps", Steps)
    monkeypatch.setattr(hours, "blocks", lambda *_: [0.5] * BLOCKS)
    recipe, _, _ = parse_recipe("plan", [RECIPE])
    found = seconds_per_step(recipe, recipe.task.load(), {(1, 64), (2, 64), (6, 64), (3, 500)})
    assert made == [(64, 64), (128, 64), (1000, 500)]
    assert {size: value for size, (value, _, _) in found.items()} == pytest.approx(
        {(1, 64): 0.5, (2, 64): 0.5, (6, 64): 1.5, (3, 500): 0.75}
    )


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_passes_are_timed_in_the_recipes_precision(precision: str) -> None:
    recipe, _, _ = parse_recipe("plan", [RECIPE, f"--precision={precision}"])
    data = recipe.task.load()
    model = recipe.task.model(recipe.model_name, data)
    seen: set[torch.dtype] = set()
    model.register_forward_hook(lambda _module, _inputs, output: seen.add(output.dtype))
    seconds_per_pass(recipe, model, data, 4)
    assert seen == {getattr(torch, precision)}
