"""The learning rate against published tables, its limits, and its independence of the batch's past."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_adabatch import InputError, LearningRate

IMAGENET = 1_281_167
DECAYS: list[dict[str, Any]] = [
    {"decay": "constant"},
    {"decay": "step", "milestones": (30.0, 60.0, 80.0)},
    {"decay": "poly", "epochs": 90.0, "final": 0.01},
    {"decay": "cosine", "epochs": 90.0},
]
WARMUPS: list[dict[str, Any]] = [
    {},
    {"warmup": "fixed", "warmup_epochs": 5.0, "warmup_start": 0.125},
    {"warmup": "legw", "warmup_epochs": 0.3125},
]
FORMS = [
    LearningRate(scaling=scaling, **warmup, **decay)
    for scaling in ("none", "linear", "sqrt")
    for warmup in WARMUPS
    for decay in DECAYS
]
RULES = st.sampled_from(FORMS)
BATCHES = st.integers(1, 2**17)
SEEN = st.integers(0, 100 * IMAGENET)


def rate(rule: LearningRate, epoch: float, batch: int = 256, *, start: int = 256) -> float:
    return rule.multiplier(round(epoch * 1000), 1000, start, batch)


@given(RULES, SEEN, BATCHES)
def test_at_the_start_batch_no_scaling_shows(rule: LearningRate, seen: int, batch: int) -> None:
    plain = LearningRate(**{**vars(rule), "scaling": "none"})
    assert rule.multiplier(seen, IMAGENET, batch, batch) == plain.multiplier(seen, IMAGENET, batch, batch)


@given(st.sampled_from(DECAYS), SEEN, BATCHES)
def test_at_the_reference_batch_legw_is_a_fixed_warm_up(decay: dict[str, Any], seen: int, batch: int) -> None:
    legw, fixed = (
        LearningRate(scaling="sqrt", warmup=kind, warmup_epochs=3, reference_batch=batch, **decay)
        for kind in ("legw", "fixed")
    )
    assert legw.multiplier(seen, IMAGENET, batch, batch) == fixed.multiplier(seen, IMAGENET, batch, batch)


def test_the_default_is_the_base_learning_rate() -> None:
    assert {LearningRate().multiplier(seen, 100, 8, batch) for seen in (0, 1, 10**6) for batch in (1, 8, 800)} == {1.0}


@pytest.mark.parametrize("reference", [(512, 2.0**2, 0.15625), (1024, 2.0**2.5, 0.3125)])
@pytest.mark.parametrize(
    ("batch", "peak", "warmup_epochs"),
    [
        (512, 2**2, 0.15625),
        (1024, 2**2.5, 0.3125),
        (2048, 2**3, 0.625),
        (4096, 2**3.5, 1.25),
        (8192, 2**4, 2.5),
        (16384, 2**4.5, 5),
        (32768, 2**5, 10),
    ],
)
def test_legw_gives_its_table_for_resnet_50(
    batch: int, peak: float, warmup_epochs: float, reference: tuple[int, float, float]
) -> None:
    """You et al. 2019, 1901.08256, table 4: one reference row gives all others."""
    reference_batch, base, reference_epochs = reference
    rule = LearningRate(scaling="sqrt", warmup="legw", warmup_epochs=reference_epochs, reference_batch=reference_batch)
    assert rule.warmup_length(batch) == pytest.approx(warmup_epochs)
    ramp = [base * rule.multiplier(round(part * warmup_epochs * 10**6), 10**6, batch, batch) for part in (0, 0.5, 1, 2)]
    assert ramp == pytest.approx([0, peak / 2, peak, peak], rel=1e-5)


@pytest.mark.parametrize(("batch", "slope"), [(1024, 18.1), (8192, 6.4), (32768, 3.2)])
def test_legw_warms_up_more_slowly_the_larger_the_batch(batch: int, slope: float) -> None:
    rule = LearningRate(scaling="sqrt", warmup="legw", warmup_epochs=0.3125, reference_batch=1024)
    assert 2**2.5 * rule.multiplier(100, 1000, batch, batch) / 0.1 == pytest.approx(slope, rel=0.01)


def test_goyal_warms_up_from_the_base_rate_to_k_times_it() -> None:
    for start in (1 / 32, "base"):
        warm: dict[str, Any] = {"warmup": "fixed", "warmup_epochs": 5, "warmup_start": start}
        rule = LearningRate(scaling="linear", reference_batch=256, **warm)
        rates = [rate(rule, epoch, 8192, start=8192) for epoch in (0, 2.5, 5, 6)]
        assert rates == pytest.approx([1, 16.5, 32, 32])


@given(st.sampled_from([rule for rule in FORMS if rule.warmup != "none"]), st.integers(10, 4096))
def test_the_end_of_the_warm_up_is_continuous_and_is_the_peak(rule: LearningRate, reference: int) -> None:
    rule = LearningRate(**{**vars(rule), "reference_batch": reference})
    batch = 8 * reference
    end = math.ceil(rule.warmup_length(batch) * IMAGENET)
    before, peak, after = (rule.multiplier(end + by, IMAGENET, batch, batch) for by in (-1, 0, 1))
    scale = {"none": 1, "linear": 8, "sqrt": math.sqrt(8)}[rule.scaling]
    assert [before, peak, after] == pytest.approx([scale] * 3, rel=1e-5)
    assert before < peak >= after


@given(RULES, SEEN, BATCHES, BATCHES, BATCHES)
def test_warm_up_and_decay_do_not_depend_on_the_path_of_the_batch(
    rule: LearningRate, seen: int, start: int, one: int, other: int
) -> None:
    """Bug story: schedules in steps end early when the batch grows; a poly decay over 90 epochs ended at 17% of it."""
    scale = {"none": lambda _: 1.0, "linear": lambda k: k, "sqrt": math.sqrt}[rule.scaling]
    parts = [rule.multiplier(seen, IMAGENET, start, batch) / scale(batch / start) for batch in (one, other)]
    assert parts[0] == pytest.approx(parts[1], rel=1e-12, abs=1e-300)


@given(RULES, SEEN, st.integers(1, 1024), st.integers(1, 64), BATCHES, BATCHES)
def test_a_larger_batch_never_lowers_the_rate(
    rule: LearningRate, seen: int, reference: int, k: int, one: int, other: int
) -> None:
    rule = LearningRate(**{**vars(rule), "reference_batch": reference})
    small, large = (rule.multiplier(seen, IMAGENET, k * reference, batch) for batch in sorted((one, other)))
    assert small <= large


@pytest.mark.parametrize(("scaling", "expected"), [("none", 16), ("linear", 1), ("sqrt", 4)])
def test_weight_decay_per_epoch_is_what_the_scaling_leaves_of_k(scaling: Any, expected: float) -> None:
    rule = LearningRate(scaling=scaling, reference_batch=4, weight_decay="per_epoch")
    assert rule.weight_decay_multiplier(64, 64) == expected
    assert rule.weight_decay_multiplier(256, 64) == expected  # k is over the reference, not over the start
    assert LearningRate(scaling=scaling, weight_decay="per_epoch").weight_decay_multiplier(4, 64) == expected
    assert LearningRate(scaling=scaling, reference_batch=4).weight_decay_multiplier(64, 64) == 1


@given(st.sampled_from(["none", "linear", "sqrt"]), st.integers(1, 1024), BATCHES)
def test_an_epoch_decays_as_much_at_any_batch(scaling: Any, reference: int, batch: int) -> None:
    rule = LearningRate(scaling=scaling, reference_batch=reference, weight_decay="per_epoch")
    steps, at_reference = IMAGENET / batch, IMAGENET / reference
    per_step = rule.multiplier(0, IMAGENET, batch, batch) * rule.weight_decay_multiplier(batch, batch)
    assert steps * per_step == pytest.approx(at_reference, rel=1e-12)


def test_growing_late_does_not_reopen_the_warm_up() -> None:
    """Bug story: adaptdl takes LEGW's warm-up from the batch now. At epoch 20, base warm-up 2, going from 8 to 16, 32
    and 64 times the reference changed its factor from 2.83 to 2.50, 1.77 and 1.25."""
    rule = LearningRate(scaling="sqrt", warmup="legw", warmup_epochs=2, reference_batch=256)
    rates = [rate(rule, 20, 256 * k, start=256 * 8) for k in (8, 16, 32, 64)]
    assert rates == pytest.approx([math.sqrt(k) for k in (8, 16, 32, 64)])


def test_growing_inside_the_warm_up_does_not_lower_the_rate() -> None:
    """Bug story: LEGW as a function of the batch now falls from 5.66 to 3.20 when 1K grows to 8K at epoch 0.5."""
    rule = LearningRate(scaling="sqrt", warmup="legw", warmup_epochs=0.3125, reference_batch=1024)
    assert 2**2.5 * rate(rule, 0.5, 1024, start=1024) == pytest.approx(5.66, rel=0.01)
    assert 2**2.5 * rate(rule, 0.5, 8192, start=1024) == pytest.approx(16)


def test_poly_falls_from_the_peak_after_warm_up_to_its_final_value() -> None:
    rule = LearningRate(warmup="fixed", warmup_epochs=10, decay="poly", power=2, final=0.1, epochs=90)
    rates = [rate(rule, epoch) for epoch in (0, 5, 10, 50, 90, 91)]
    assert rates == pytest.approx([0, 0.5, 1, 0.1 + 0.9 * 0.25, 0.1, 0.1])


def test_poly_of_power_one_is_a_line() -> None:
    rule = LearningRate(decay="poly", power=1, epochs=4)
    assert [rate(rule, epoch) for epoch in range(6)] == pytest.approx([1, 0.75, 0.5, 0.25, 0, 0])


def test_cosine_is_half_way_down_in_the_middle() -> None:
    rule = LearningRate(warmup="fixed", warmup_epochs=10, decay="cosine", final=0.2, epochs=90)
    rates = [rate(rule, epoch) for epoch in (10, 30, 50, 90, 100)]
    assert rates == pytest.approx([1, 0.2 + 0.4 * (1 + math.sqrt(0.5)), 0.6, 0.2, 0.2])


def test_steps_fall_at_their_milestones() -> None:
    rule = LearningRate(decay="step", milestones=(30, 60, 80), gamma=0.1)
    rates = [rate(rule, epoch) for epoch in (0, 29.999, 30, 59.999, 60, 80, 1000)]
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.001, 0.001])


@pytest.mark.parametrize("decay", ["poly", "cosine"])
@pytest.mark.parametrize("epochs", [None, 5.0, 4.0])
def test_a_decay_needs_an_end_after_the_warm_up(decay: str, epochs: float | None) -> None:
    rule = LearningRate(decay=decay, epochs=epochs, warmup="fixed", warmup_epochs=5)  # type: ignore[arg-type]
    with pytest.raises(InputError) as caught:
        rate(rule, 0)
    assert caught.value.field == "learning_rate.epochs"


@pytest.mark.parametrize(
    ("field", "arguments"),
    [
        ("scaling", {"scaling": "cubic"}),
        ("warmup", {"warmup": "slow"}),
        ("decay", {"decay": "exponential"}),
        ("warmup_epochs", {"warmup": "fixed"}),
        ("warmup_epochs", {"warmup": "legw", "warmup_epochs": -1}),
        ("warmup_epochs", {"warmup_epochs": 5}),
        ("warmup_start", {"warmup_start": -0.1}),
        ("warmup_start", {"warmup_start": 1.1}),
        ("milestones", {"decay": "step"}),
        ("milestones", {"milestones": (30,)}),
        ("milestones", {"decay": "step", "milestones": (60, 30)}),
        ("milestones", {"decay": "step", "milestones": (30, 30)}),
        ("gamma", {"gamma": 0}),
        ("power", {"power": 0}),
        ("final", {"final": -0.1}),
        ("final", {"final": 1.1}),
        ("final", {"final": math.nan}),
        ("epochs", {"epochs": 0}),
        ("reference_batch", {"reference_batch": 0}),
        ("weight_decay", {"weight_decay": "per_day"}),
        ("weight_decay", {"weight_decay": "per_epoch", "scaling": "adascale"}),
    ],
)
def test_a_field_that_cannot_work_is_named(field: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        LearningRate(**arguments)
    assert caught.value.field == f"learning_rate.{field}"
    assert caught.value.hint.startswith(f"--learning_rate.{field} ")
