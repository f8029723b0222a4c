"""What is drawn is what the journal's lines say, for every rule."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest

from hpc_adabatch.policies import POLICIES
from hpc_adabatch.run.report import curves
from hpc_adabatch.run.report.scales import Scale, counted, decades, powers, timed

sys.path.insert(0, str(Path(__file__).resolve().parent))
from made_runs import Record, run

MEASURED = ["cabs", "goodput", "inner_product", "noise_scale", "norm_test", "simigrad"]


@pytest.mark.parametrize("rule", sorted(POLICIES))
def test_batch_rate_loss_and_metric(rule: str, tmp_path: Path) -> None:
    found = run(tmp_path, rule)
    batch, rate = curves.batch(found), curves.rate(found)
    changes = found.result["batches"]
    assert list(batch.values["batch"]) == [*(size for _, size in changes), found.result["final_global_batch"]]
    assert list(batch.samples[:-1] / 1437) == pytest.approx([epoch for epoch, _ in changes], abs=1e-6)
    assert batch.samples[-1] == found.result["samples_seen"]
    assert batch.words["reason"][0] == "start"
    lines = found.of_kind("statistics")
    assert list(rate.updates) == [line["step"] for line in lines]
    assert list(rate.values["rate"]) == [line["learning_rate"] for line in lines]
    assert list(curves.training_loss(found).values["loss"]) == [line["loss"] for line in lines]
    assert list(curves.evaluation(found).values["metric"]) == [line["metric"] for line in found.of_kind("evaluation")]
    assert list(curves.restarts(found).samples) == [line["cursor"] for line in found.of_kind("resume")]


@pytest.mark.parametrize("rule", MEASURED)
def test_the_batch_asked_for_is_found_in_the_reasons_of_every_rule_that_measures(rule: str, tmp_path: Path) -> None:
    """Else: the words of policies/measured.py have changed, and report/reasons.py must follow."""
    found = run(tmp_path, rule)
    decided = [line for line in found.of_kind("decision") if line["reason"].startswith("noise scale ")]
    asked = curves.asked(found)
    assert len(asked) == len(decided) > 0
    for line, value in zip(decided, asked.values["asked"], strict=True):
        told = line["reason"].partition("wanted ")[2].split()[0]
        assert told == "inf" if math.isnan(value) else float(told) == value


def test_the_noise_scale_and_its_interval(tmp_path: Path) -> None:
    found = run(tmp_path, "norm_test")
    lines = [line for line in found.of_kind("noise") if "noise_scale" in line]
    noise = curves.noise(found)
    assert list(noise.values["noise"]) == [line["noise_scale"] for line in lines]
    assert list(np.isnan(noise.values["high"])) == [line["high"] is None for line in lines]


def test_speed_leaves_evaluations_out(tmp_path: Path) -> None:
    """A hundred seconds of evaluation after each epoch change nothing."""

    def slower(records: list[Record]) -> list[Record]:
        late, out = 0.0, []
        for record in records:
            late += 100.0 * (record["kind"] == "evaluation")
            out.append({**record, "time_s": record["time_s"] + late})
        return out

    plain, slow = (curves.speed(run(tmp_path, "fixed", change)) for change in (list, slower))
    assert len(plain) > 3
    assert plain.values["speed"] == pytest.approx(slow.values["speed"])
    first, second = run(tmp_path, "fixed").of_kind("statistics")[:2]
    took_s = second["time_s"] - first["time_s"]
    assert plain.values["speed"][0] == pytest.approx((second["cursor"] - first["cursor"]) / took_s)


def test_trust_ratios_are_medians_over_stretches(tmp_path: Path) -> None:
    def with_ratios(records: list[Record]) -> list[Record]:
        at = {key: records[-2][key] for key in ("step", "cursor", "epoch", "time_s")}
        lines = [
            {"kind": "trust_ratios", **at, "ratios": {"a": float(number), "b": None if number < 200 else 1.0}}
            for number in range(400)
        ]
        return [*records[:-1], *lines, records[-1]]

    found = curves.trust(run(tmp_path, "fixed", with_ratios))
    assert found is not None
    assert found.layers == ["a", "b"]
    assert found.ratios.shape == (2, curves.STRETCHES)
    assert len(found.edges) == curves.STRETCHES + 1
    groups = np.array_split(np.arange(400.0), curves.STRETCHES)
    assert list(found.ratios[0]) == [np.median(group) for group in groups]
    assert np.isnan(found.ratios[1, 0])
    assert found.ratios[1, -1] == 1.0
    assert curves.trust(run(tmp_path, "fixed")) is None


@pytest.mark.parametrize(
    ("scale", "label", "largest"),
    [
        (counted("updates", 964), "updates", 964),
        (counted("samples", 28_740), "samples (thousands)", 28.74),
        (counted("samples", 2.6e7), "samples (millions)", 26),
        (counted("samples", 0), "samples", 1),
        (timed(33), "wall time (seconds)", 33),
        (timed(600), "wall time (minutes)", 10),
        (timed(5 * 3600), "wall time (hours)", 5),
        (timed(30 * 86400), "wall time (days)", 30),
    ],
)
def test_units(scale: Scale, label: str, largest: float) -> None:
    assert scale.label == label
    assert scale.largest == pytest.approx(largest)
    assert 1 < scale.end / scale.largest < 1.05, "the last point is seen whole"


def test_ticks_of_losses() -> None:
    assert decades(0.02, 0.9) == pytest.approx([0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5])
    assert decades(0.003, 30) == pytest.approx([0.001, 0.01, 0.1, 1, 10, 100])


@pytest.mark.parametrize(
    ("smallest", "largest", "ticks"),
    [
        (16, 256, [16, 32, 64, 128, 256]),
        (500, 500, [500]),
        (100, 150, [100, 150]),
        (1, 2**16, [1, 4, 16, 64, 256, 1024, 4096, 16384, 65536]),
    ],
)
def test_ticks_of_batches(smallest: float, largest: float, ticks: list[float]) -> None:
    assert powers(smallest, largest) == ticks
