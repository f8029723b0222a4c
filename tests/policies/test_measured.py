"""Rules that follow the gradient wait, move in bounded steps, and never jump where the signal is lost."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpc_adabatch.errors import InputError
from hpc_adabatch.gradients import Estimate
from hpc_adabatch.policies import NoiseScale, NormTest, Progress, Replay


def estimate(noise_scale: float = 400.0, signal: float = 2.0, full: bool = True) -> Estimate:
    return Estimate(
        variance=noise_scale * abs(signal),
        signal=signal,
        mean_square=signal,
        low=noise_scale / 2,
        high=2 * noise_scale,
        steps=20.0,
        samples=10_000,
        full=full,
    )


def progress(now: int, found: Estimate | None, measurements: int = 100, maximum: int = 10_000) -> Progress:
    return Progress(
        samples_seen=50_000,
        samples_per_epoch=10_000,
        start_batch=32,
        global_batch=now,
        max_global_batch=maximum,
        measurements=measurements,
        estimate=found,
    )


def test_no_decision_before_the_window_is_full() -> None:
    for found in (None, estimate(full=False)):
        assert NoiseScale().propose(progress(64, found)).global_batch == 64


def test_the_batch_goes_to_what_is_wanted_by_bounded_factors() -> None:
    rule, now, sizes = NoiseScale(fraction=0.5, dwell=1), 32, []
    for measurements in range(100, 110):
        now = rule.propose(progress(now, estimate(1000.0), measurements)).global_batch
        sizes.append(now)
    assert sizes[:5] == [64, 128, 256, 500, 500]


def test_a_change_is_followed_by_a_dwell() -> None:
    rule = NoiseScale(dwell=5)
    sizes = [rule.propose(progress(32, estimate(), 100 + number)).global_batch for number in range(7)]
    assert sizes == [64, 32, 32, 32, 32, 64, 32]


def test_small_changes_are_not_made() -> None:
    assert NoiseScale(tolerance=0.05).propose(progress(100, estimate(104.0))).global_batch == 100
    assert NoiseScale(tolerance=0.05).propose(progress(100, estimate(106.0))).global_batch == 106


def test_the_batch_shrinks_only_on_request() -> None:
    assert NoiseScale().propose(progress(400, estimate(250.0))).global_batch == 400
    assert NoiseScale(shrink=True).propose(progress(400, estimate(250.0))).global_batch == 250
    assert NoiseScale(shrink=True).propose(progress(400, estimate(10.0))).global_batch == 200


@pytest.mark.parametrize("rule", [NoiseScale(), NormTest()])
def test_a_lost_signal_grows_by_one_step_never_to_the_maximum(rule: Any) -> None:
    assert rule.propose(progress(32, estimate(signal=-0.1))).global_batch == 64


def test_the_norm_test_wants_the_batch_that_passes_it() -> None:
    found = estimate(noise_scale=900.0, signal=2.0)
    assert NormTest(theta=0.5).wanted(found, progress(64, found)) == pytest.approx(3600.0)
    raw = NormTest(theta=1.0, signal="raw").wanted(found, progress(64, found))
    assert raw == pytest.approx(1800.0 / (2.0 + 1800.0 / 64))  # the noise in |g_B|^2 passes for signal
    assert raw < 64


@settings(deadline=None)
@given(
    st.floats(0.1, 1e9),
    st.floats(-10, 10),
    st.integers(1, 5000),
    st.integers(5000, 20_000),
    st.booleans(),
    st.floats(1.01, 8),
)
def test_bounds_hold_for_any_estimate(
    noise_scale: float, signal: float, now: int, maximum: int, shrink: bool, growth: float
) -> None:
    rule = NoiseScale(growth=growth, shrink=shrink)
    size = rule.propose(progress(now, estimate(noise_scale, signal), maximum=maximum)).global_batch
    assert 1 <= size <= maximum
    assert now / growth - 1 <= size <= now * growth + 1
    assert shrink or size >= now


def test_dwell_survives_a_restart() -> None:
    rule, again = NoiseScale(dwell=5), NoiseScale(dwell=5)
    rule.propose(progress(32, estimate(), 100))
    again.load_state_dict(rule.state_dict())
    assert again.propose(progress(64, estimate(), 104)).global_batch == 64
    assert again.propose(progress(64, estimate(), 105)).global_batch == 128


@pytest.mark.parametrize(
    ("rule", "field", "value"),
    [
        (NormTest, "theta", 0.0),
        (NormTest, "theta", -1.0),
        (NormTest, "signal", "biased"),
        (NoiseScale, "fraction", 0.0),
        (NoiseScale, "growth", 1.0),
        (NoiseScale, "growth", math.inf),
        (NoiseScale, "dwell", 0),
        (NoiseScale, "tolerance", 1.0),
        (NoiseScale, "window", 0),
    ],
)
def test_bad_parameters_are_refused(rule: Any, field: str, value: Any) -> None:
    with pytest.raises(InputError, match=rf"policy\.{field}: given"):
        rule(**{field: value})


def test_a_window_shorter_than_a_batch_is_refused() -> None:
    with pytest.raises(InputError, match=r"policy\.window"):
        NoiseScale(window=31).window_samples(10_000, 32)
    assert NoiseScale().window_samples(10_000, 32) == 5000


def journal(folder: Path, *lines: dict[str, Any]) -> str:
    path = folder / "journal.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return str(path)


def test_replay_repeats_decisions_at_their_cursors(tmp_path: Path) -> None:
    lines = [
        {"kind": "start", "cursor": 0, "global_batch": 32, "learning_rate_factor": 1.0},
        {"kind": "noise", "cursor": 320},
        {"kind": "decision", "cursor": 320, "global_batch": 48, "learning_rate_factor": 0.5},
    ]
    rule = Replay(journal=journal(tmp_path, *lines))
    assert (rule.initial_batch, rule.largest_batch) == (32, 48)

    def at(samples: int) -> Progress:
        return Progress(
            samples_seen=samples, samples_per_epoch=1000, start_batch=32, global_batch=32, max_global_batch=64
        )

    assert [rule.phase(at(samples)) for samples in (0, 319, 320, 9999)] == [0, 0, 1, 1]
    proposal = rule.propose(at(320))
    assert (proposal.global_batch, proposal.learning_rate_factor) == (48, 0.5)


@pytest.mark.parametrize(
    "lines", [[], [{"kind": "decision", "cursor": 5, "global_batch": 3, "learning_rate_factor": 1.0}], [{"a": 1}]]
)
def test_what_is_no_journal_is_refused(lines: list[dict[str, Any]], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"policy\.journal"):
        Replay(journal=journal(tmp_path, *lines))
    with pytest.raises(InputError, match="FileNotFoundError"):
        Replay(journal=str(tmp_path / "none.jsonl"))
