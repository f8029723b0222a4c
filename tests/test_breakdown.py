"""The parts of a step. Steps of real ranks are measured in launch/test_probe.py."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_adabatch.cluster import SingleProcess
from hpc_adabatch.command_line import parse_recipe
from hpc_adabatch.errors import InputError
from hpc_adabatch.probe.breakdown import MeasureFlags, measure_step, parts
from hpc_adabatch.probe.steps import RecipeSteps

RECIPE = str(Path(__file__).resolve().parent.parent / "recipes" / "quickstart.yaml")


def test_by_hand() -> None:
    data = np.array([[1.0], [3.0]])  # two ranks, one round
    alone = np.array([[10.0], [14.0]])
    step = np.array([[19.0], [20.0]])
    assert parts(data, alone, step) == {"data_s": 2.0, "compute_s": 10.0, "straggler_s": 2.0, "exposed_s": 6.0}


@given(st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_in_a_round_the_parts_add_up_to_the_step(n_ranks: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    data = random.uniform(0, 1, (n_ranks, 1))
    alone = data + random.uniform(0, 1, (n_ranks, 1))
    step = alone + random.uniform(0, 1, (n_ranks, 1))
    assert sum(parts(data, alone, step).values()) == pytest.approx(step.max())


def test_one_rank_has_neither_stragglers_nor_communication(tmp_path: Path) -> None:
    recipe, _, _ = parse_recipe("measure", [RECIPE, "--global_batch", "24", "--max_micro_batch", "8"])
    cluster = SingleProcess()
    measure_step(recipe, MeasureFlags(out=str(tmp_path / "cell"), warmup=1, steps=5), cluster)
    found = json.loads((tmp_path / "cell" / "result.json").read_text(encoding="utf-8"))
    assert found["kind"] == "measure"
    assert (found["global_batch"], found["local_batch"], found["passes"], found["micro_batch"]) == (24, 24, 3, 8)
    assert found["straggler_s"] == found["exposed_s"] == 0
    assert found["allreduce_s"] is None
    assert found["step_s"]["repeats"] == 5
    assert found["gradient_bytes"] == 4 * found["parameters"]
    assert found["samples_per_s"] == pytest.approx(24 / found["step_s"]["median_s"])


@pytest.mark.parametrize(("compression", "width"), [("none", 4), ("fp16", 2)])
def test_compressed_gradients_are_half_as_many_bytes(compression: str, width: int) -> None:
    recipe, _, _ = parse_recipe("measure", [RECIPE, f"--compression={compression}"])
    steps = RecipeSteps(recipe, SingleProcess())
    assert steps.gradient_bytes == width * steps.parameters


@pytest.mark.parametrize(("flag", "value"), [("steps", 0), ("steps", 4), ("warmup", -1)])
def test_too_few_rounds_are_told(flag: str, value: int) -> None:
    with pytest.raises(InputError, match=f"{flag}: given {value}"):
        MeasureFlags(**{flag: value})
