"""The probe on real ranks. What its times are, no test says."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.launch
RECIPE = "recipes/quickstart.yaml"


def numbers(content: Any) -> Iterator[float]:
    """All of them, wherever they stand, but a difference and an intercept, which noise may bring to zero and below."""
    if isinstance(content, dict):
        for name, value in content.items():
            if name not in ("exposed", "latency_s", "channels_last"):
                yield from numbers(value)
    elif isinstance(content, list):
        for value in content:
            yield from numbers(value)
    elif isinstance(content, int | float):
        yield content


@pytest.mark.parametrize(("launcher", "ranks"), [("plain", 1), ("mpirun", 2), ("horovodrun --mpi", 2), ("torchrun", 2)])
def test_all_is_measured_and_said_once(launcher: str, ranks: int, adabatch: Any, tmp_path: Path) -> None:
    path = tmp_path / "probe.json"
    done = adabatch("probe", RECIPE, "--seconds", 4, "--out", path, ranks=ranks, launcher=launcher)
    content = json.loads(path.read_text(encoding="utf-8"))
    assert list(tmp_path.iterdir()) == [path]
    assert all(math.isfinite(number) and number > 0 for number in numbers(content))
    assert (content["world_size"], content["nodes"]) == (ranks, 1)
    steps = content["steps"]
    sizes = [one["micro_batch"] for one in steps["steps"] + steps["left_out"]]
    assert sizes == [2**power for power in range(9 if ranks == 1 else 8)]
    assert steps["steps"]
    for one in steps["steps"]:
        assert one["global_batch"] == ranks * one["micro_batch"]
        assert (one["exposed"] is None) == (ranks == 1)
        assert one["step"]["lower_quartile_s"] <= one["step"]["median_s"] <= one["step"]["upper_quartile_s"]
    assert (content["messages"] is None) == (ranks == 1)
    assert done.stdout.isascii()  # horovodrun --mpi tore lines of a table inside a character
    assert done.stdout.count("MB of gradients") == 1
    assert done.stdout.count("allreduce takes") == ranks - 1
    assert done.stdout.count("median (quartiles)") == ranks
    assert done.stdout.count("no messages to measure") == 2 - ranks


def test_messages_without_a_recipe(adabatch: Any, tmp_path: Path) -> None:
    path = tmp_path / "probe.json"
    done = adabatch("probe", "--seconds=3", f"--out={path}", ranks=2)
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["recipe"] is None
    assert content["steps"] is None
    sizes = [one["message_bytes"] for one in content["messages"]["allreduce"]]
    assert sizes == [1024 * 4**power for power in range(len(sizes))]
    assert len(sizes) >= 2
    for one in content["messages"]["allreduce"]:  # two ranks: 2 (N - 1) / N is 1
        assert one["bus_bytes_per_s"] == one["algorithm_bytes_per_s"] == one["message_bytes"] / one["time"]["median_s"]
    assert content["messages"]["fit"].keys() == {"latency_s", "bandwidth_bytes_per_s", "largest_relative_error"}
    assert content["messages"]["decision"]["message_bytes"] == 48
    assert "MB of gradients" not in done.stdout


def test_precision_and_layout_are_the_recipes(adabatch: Any, tmp_path: Path) -> None:
    path = tmp_path / "probe.json"
    flags = ["--precision", "bfloat16", "--channels_last", "true", "--optimizer", "lars", "--max_micro_batch", 2]
    adabatch("probe", RECIPE, "--seconds", 2, "--out", path, *flags, ranks=2)
    recipe = json.loads(path.read_text(encoding="utf-8"))["recipe"]
    assert (recipe["precision"], recipe["channels_last"], recipe["optimizer"]) == ("bfloat16", True, "lars")


def test_a_step_and_where_its_time_goes(adabatch: Any, tmp_path: Path) -> None:
    """Three ranks share a batch that they do not divide evenly; the parts add up to the step, up to medians."""
    out = tmp_path / "cell"
    adabatch("measure", RECIPE, "--global_batch", 20, "--steps", 40, "--out", out, ranks=3)
    found = json.loads((out / "result.json").read_text(encoding="utf-8"))
    assert (found["kind"], found["world_size"], found["global_batch"], found["local_batch"]) == ("measure", 3, 20, 7)
    assert min(found[name] for name in ("data_s", "compute_s", "straggler_s", "allreduce_s")) > 0
    total = sum(found[name] for name in ("data_s", "compute_s", "straggler_s", "exposed_s"))
    assert total == pytest.approx(found["step_s"]["median_s"], rel=0.3)


def test_a_task_in_float64(adabatch: Any, tmp_path: Path) -> None:
    path = tmp_path / "probe.json"
    (tmp_path / "ridge.yaml").write_text("task: ridge\nglobal_batch: 2\nmax_global_batch: 2\n", encoding="utf-8")
    adabatch("probe", tmp_path / "ridge.yaml", "--seconds", 2, "--out", path, launcher="plain", ranks=1)
    steps = json.loads(path.read_text(encoding="utf-8"))["steps"]
    assert steps["steps"]
    assert steps["gradient_bytes"] == 8 * steps["parameters"]


@pytest.mark.parametrize(
    ("field", "arguments"),
    [
        ("seconds", ["--seconds", "0"]),
        ("seconds", [RECIPE, "--seconds", "inf"]),
        ("seconds", ["--seconds", "soon"]),
        ("epochs", ["--epochs", "3"]),
        ("RECIPE", ["--seconds", "4", RECIPE]),
        ("RECIPE", ["recipes/none.yaml"]),
        ("polcy", [RECIPE, "--polcy", "fixed"]),
        ("out", ["--out"]),
        ("out", ["--out", "/proc/probe/probe.json"]),
        ("out", [RECIPE, "--out", "recipes"]),
        ("model", [RECIPE, "--model", "resnet21"]),
        ("model", [RECIPE, "--model", "resnet50"]),
        ("global_batch", [RECIPE, "--global_batch", "5000", "--max_global_batch", "6000"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_one_line_and_exit_code_2(field: str, arguments: list[str], adabatch: Any) -> None:
    done = adabatch("probe", *arguments, ranks=2, code=2)
    ours = [line for line in done.stderr.splitlines() if "adabatch" in line]
    assert len(ours) == 1, done.stderr
    assert ours[0].startswith(f"adabatch: error: {field}: given ")
    assert "Traceback" not in done.stdout + done.stderr
