"""What a probe makes of times. The times themselves are taken by real ranks in launch/test_probe.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hpc_adabatch.cluster import SingleProcess
from hpc_adabatch.command_line import parse_recipe
from hpc_adabatch.errors import InputError
from hpc_adabatch.probe import measure
from hpc_adabatch.probe.fit import fit
from hpc_adabatch.probe.messages import SIZES
from hpc_adabatch.probe.report import check_writable
from hpc_adabatch.probe.steps import micro_batches
from hpc_adabatch.probe.timing import LEAST_ROUNDS, Timer, Times

pytestmark = pytest.mark.long

RECIPE = str(Path(__file__).resolve().parent.parent / "recipes" / "quickstart.yaml")
latencies, bandwidths = st.floats(1e-6, 1e-2), st.floats(1e7, 1e11)  # s, bytes/s


@given(latency=latencies, bandwidth=bandwidths)
def test_the_fit_recovers_the_line(latency: float, bandwidth: float) -> None:
    seconds = [latency + size / bandwidth for size in SIZES]
    found = fit(SIZES, seconds)
    assert found.latency_s == pytest.approx(latency, rel=1e-4)
    assert found.bandwidth_bytes_per_s == pytest.approx(bandwidth, rel=1e-4)
    assert found.largest_relative_error < 1e-4
    assert found.seconds(SIZES[3]) == pytest.approx(seconds[3], rel=1e-4)


@given(latency=latencies, bandwidth=bandwidths, seed=st.integers(0, 2**32 - 1))
@settings(max_examples=50)
def test_no_other_line_has_smaller_relative_errors(latency: float, bandwidth: float, seed: int) -> None:
    draw = np.random.default_rng(seed)
    seconds = [(latency + size / bandwidth) * draw.lognormal(0, 0.3) for size in SIZES]

    def error(a: float, per_byte: float) -> float:
        return sum((a + size * per_byte - s) ** 2 / s**2 for size, s in zip(SIZES, seconds, strict=True))

    found = fit(SIZES, seconds)
    per_byte = 1 / found.bandwidth_bytes_per_s if found.bandwidth_bytes_per_s is not None else 0.0
    least = error(found.latency_s, per_byte)
    for a, b in draw.uniform(0.5, 2, (200, 2)):
        assert least <= error(a * found.latency_s, b * per_byte) * (1 + 1e-9)
    assert least <= error(latency, 1 / bandwidth) * (1 + 1e-9)


def test_times_that_do_not_grow_have_no_bandwidth() -> None:
    found = fit([1024, 4096, 16384], [3e-3, 2e-3, 1e-3])
    assert found.bandwidth_bytes_per_s is None
    assert 0 < found.latency_s == found.seconds(10**9)


@pytest.mark.parametrize(("sizes", "seconds"), [([1024], [1e-3]), ([1024, 1024], [1e-3, 2e-3]), ([1, 2], [0.0, 1.0])])
def test_a_line_needs_two_sizes_and_times(sizes: list[int], seconds: list[float]) -> None:
    with pytest.raises(ValueError, match="two sizes"):
        fit(sizes, seconds)


def test_quartiles() -> None:
    assert Times.of([5.0, 1.0, 2.0, 4.0, 3.0]) == Times(
        median_s=3.0, lower_quartile_s=2.0, upper_quartile_s=4.0, repeats=5
    )
    assert Times.of([2.0]) == Times(median_s=2.0, lower_quartile_s=2.0, upper_quartile_s=2.0, repeats=1)


def test_rounds_do_all_work_in_turn() -> None:
    done: list[str] = []
    works = {name: lambda name=name: done.append(name) for name in "abc"}
    seconds = Timer(SingleProcess(), 0.0).rounds(works, share=1.0, most=100)
    assert {name: len(repeats) for name, repeats in seconds.items()} == dict.fromkeys("abc", LEAST_ROUNDS)
    assert "".join(done) == "abcabc" + "abcbcacababcbca"
    assert all(second > 0 for repeats in seconds.values() for second in repeats)


def test_rounds_end_at_the_most() -> None:
    seconds = Timer(SingleProcess(), 3600.0).rounds({"work": lambda: None}, share=1.0, most=7)
    assert len(seconds["work"]) == 7


@pytest.mark.parametrize(
    ("max_micro_batch", "max_global_batch", "n_ranks", "sizes"),
    [
        (256, 256, 1, [1, 2, 4, 8, 16, 32, 64, 128, 256]),
        (256, 256, 4, [1, 2, 4, 8, 16, 32, 64]),  # the share of the largest batch
        (12, 4096, 4, [1, 2, 4, 8, 12]),
        (64, 3, 4, [1]),  # more ranks than samples in a batch
        (1, 1, 1, [1]),
    ],
)
def test_micro_batches(max_micro_batch: int, max_global_batch: int, n_ranks: int, sizes: list[int]) -> None:
    assert micro_batches(max_micro_batch, max_global_batch, n_ranks) == sizes


def test_one_process_measures_steps_and_no_messages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe, _, _ = parse_recipe("probe", [RECIPE, "--max_micro_batch=2"])
    measure(recipe, tmp_path / "new" / "probe.json", seconds=1, cluster=SingleProcess())
    content = json.loads((tmp_path / "new" / "probe.json").read_text(encoding="utf-8"))
    assert content.keys() == {
        *("format", "world_size", "nodes", "launcher", "device", "device_name", "threads", "seconds"),
        *("messages", "recipe", "steps"),
    }
    assert content["world_size"] == 1
    assert content["messages"] is None
    assert content["recipe"]["model"] == "small_cnn"
    assert content["steps"]["gradient_bytes"] == 4 * content["steps"]["parameters"] > 0
    first = content["steps"]["steps"][0]
    assert (first["micro_batch"], first["global_batch"], first["exposed"]) == (1, 1, None)
    assert first["forward_backward"].keys() == {"median_s", "lower_quartile_s", "upper_quartile_s", "repeats"}
    assert first["samples_per_s"] == pytest.approx(1 / first["step"]["median_s"])
    assert "no messages to measure" in capsys.readouterr().out


def test_a_micro_batch_that_does_not_pass_is_left_out_and_the_others_are_timed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Batch normalisation of vectors refuses a single sample."""
    from hpc_adabatch.tasks.digits import Digits

    def model(self: Digits, name: str, data: Any) -> nn.Module:  # noqa: ARG001
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.BatchNorm1d(10))

    monkeypatch.setattr(Digits, "model", model)
    recipe, _, _ = parse_recipe("probe", [RECIPE, "--max_micro_batch=2"])
    measure(recipe, tmp_path / "probe.json", seconds=3, cluster=SingleProcess())
    steps = json.loads((tmp_path / "probe.json").read_text(encoding="utf-8"))["steps"]
    assert [one["micro_batch"] for one in steps["steps"]] == [2]
    reason = "rank 0: allowed are two samples or more a pass, for batch normalisation of one position (2)"
    assert steps["left_out"] == [{"micro_batch": 1, "reason": reason}]


@pytest.mark.parametrize("path", ["folder", "file/probe.json"])
def test_the_file_is_looked_at_first(path: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match="out"):
        check_writable(tmp_path / path)
