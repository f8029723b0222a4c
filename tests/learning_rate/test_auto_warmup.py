"""The warm-up that ends by its losses: how it rises, when it ends and where it goes, on losses that are made up."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import numpy as np
import pytest

from hpc_adabatch import InputError, LearningRate
from hpc_adabatch.learning_rate import Course, Look
from hpc_adabatch.learning_rate.auto_warmup import MOST_LOSSES, AutoWarmup
from hpc_adabatch.learning_rate.presets import left_to_preset

EPOCH, BATCH = 1000, 20
RULE = LearningRate(warmup="auto", decay="cosine", epochs=40)
Losses = Callable[[float], float]


def valley(rate: float) -> float:
    """Falls, and rises beyond a rate of a hundredth of the top."""
    return 1 + 0.4 * abs(math.log10(rate) + 2)


def falling(rate: float) -> float:
    return 3 + 0.4 * -math.log10(rate)


def follow(
    course: Course, losses: Losses, *, seed: int = 0, samples: int = 40 * EPOCH, batch: int = BATCH
) -> tuple[list[float], list[Look]]:
    """The rate of every step and every look, as the loop asks for them."""
    draw, rates, looks = np.random.default_rng(seed), [], []
    for seen in range(batch, samples + 1, batch):
        rates.append(course.multiplier(batch))
        course.advance(batch, batch, loss=losses(rates[-1]) + 0.05 * draw.standard_normal())
        if course.looks(epoch_finished=seen % EPOCH == 0):
            looks.append(course.look())
            if looks[-1].height is not None:
                course.end_warmup(looks[-1].height)
    return rates, looks


def test_the_rise_is_exponential_over_half_of_the_run_by_samples() -> None:
    for batch in (1, 20, 100):
        course = Course(RULE, EPOCH, batch)
        for seen in range(0, 20 * EPOCH, batch):
            assert course.multiplier(batch) == pytest.approx(1e-5 ** (1 - seen / 20_000))
            course.advance(batch, batch)


@pytest.mark.parametrize("seed", range(5))
def test_a_valley_is_gone_back_to(seed: int) -> None:
    """Its minimum is passed after 12 of 40 epochs; a decade of the rise takes 4."""
    course = Course(RULE, EPOCH, BATCH)
    rates, looks = follow(course, valley, seed=seed)
    assert [look.agreed for look in looks[-3:]] == [1, 2, 3]
    assert 14 <= len(looks) < 20
    assert looks[-1].minimum == pytest.approx(12, abs=1)
    first = len(looks) * EPOCH // BATCH
    assert math.log10(rates[first]) == pytest.approx(-2, abs=0.3)
    assert rates[first] == looks[-1].height
    middle = (len(rates) + first) // 2
    assert rates[middle] == pytest.approx(rates[first] / 2, rel=0.02)  # of the cosine from there to the end
    assert rates[-1] < 1e-3 * rates[first]


@pytest.mark.parametrize("losses", [falling, lambda _: 2.0], ids=["falling", "noise"])
def test_without_a_valley_it_ends_at_the_top_after_half_of_the_run(losses: Losses) -> None:
    rates, looks = follow(Course(RULE, EPOCH, BATCH), losses)
    assert [look.height for look in looks] == [None] * 19 + [1.0]
    assert rates[1000] == 1.0
    assert rates[1500] == pytest.approx(0.5)
    assert max(rates) == 1.0


def test_half_of_the_run_may_be_within_an_epoch() -> None:
    course = Course(LearningRate(warmup="auto", epochs=11), EPOCH, 7)
    _, looks = follow(course, falling, samples=11 * EPOCH, batch=7)
    assert [look.height for look in looks] == [1.0]  # 7 divides no epoch here
    assert course.multiplier(7) == 1.0
    assert not course.holds


def test_how_far_a_network_diverges_is_no_matter() -> None:
    """The curve of losses up to 1e9 was flat but for its end, and its minimum anywhere."""

    def bursts(rate: float) -> float:
        return valley(rate) if rate < 0.03 else 1e9

    _, looks = follow(Course(RULE, EPOCH, BATCH), bursts)
    assert looks[-1].minimum == pytest.approx(12, abs=1.5)


def test_losses_that_are_not_finite_and_steps_that_are_skipped_say_nothing() -> None:
    one, other = (AutoWarmup(20.0, 1e-5) for _ in range(2))
    for n in range(50):
        one.add(n / 10, 3 - n / 50)
        other.add(n / 10, 3 - n / 50)
        other.add(n / 10, math.nan)
        other.add(n / 10, math.inf)
    assert one.look(5.0) == other.look(5.0)
    course = Course(RULE, EPOCH, BATCH)
    course.advance(BATCH, BATCH, updated=False, loss=3.0)
    assert course.state_dict()["auto"]["losses"] == []
    assert course.clock == BATCH


def test_too_few_losses_are_not_asked() -> None:
    warmup = AutoWarmup(20.0, 1e-5)
    for n in range(9):
        warmup.add(n / 3, abs(n - 3.0))
    look = warmup.look(3.0)
    assert (look.probabilities, look.votes, look.minimum) == ((), 0, None)
    assert look.reason == "warm-up: too few losses to be looked at"


def test_many_losses_become_half_as_many_means() -> None:
    warmup = AutoWarmup(20.0, 1e-5)
    for n in range(MOST_LOSSES + 1):
        warmup.add(n / 1e4, float(n))
    state = warmup.state_dict()
    assert state["losses"] == [2 * n + 0.5 for n in range(MOST_LOSSES // 2)]
    assert state["epochs"] == pytest.approx([loss / 1e4 for loss in state["losses"]])


def test_what_is_restored_goes_on_the_same() -> None:
    """Early in the rise, between votes, within an epoch, and in the decay."""
    whole, _ = follow(Course(RULE, EPOCH, BATCH), valley)
    draw, course = np.random.default_rng(0), Course(RULE, EPOCH, BATCH)
    for seen in range(BATCH, 40 * EPOCH + 1, BATCH):
        rate = course.multiplier(BATCH)
        assert rate == whole[seen // BATCH - 1]
        course.advance(BATCH, BATCH, loss=valley(rate) + 0.05 * draw.standard_normal())
        if course.looks(epoch_finished=seen % EPOCH == 0) and (height := course.look().height) is not None:
            course.end_warmup(height)
        if seen in (3_000, 13_000, 14_500, 30_000):
            kept = json.loads(json.dumps(course.state_dict()))
            course = Course(RULE, EPOCH, BATCH)
            course.load_state_dict(kept)


def test_a_rise_that_has_begun_keeps_its_length() -> None:
    course = Course(RULE, EPOCH, BATCH)
    follow(course, falling, samples=5000)
    longer = Course(LearningRate(warmup="auto", decay="cosine", epochs=80), EPOCH, BATCH)
    longer.load_state_dict(course.state_dict())
    assert longer.multiplier(BATCH) == course.multiplier(BATCH)


def test_constant_then_cosine() -> None:
    rule = LearningRate(warmup="auto", decay="cosine", decay_start=32, epochs=40)
    rates, looks = follow(Course(rule, EPOCH, BATCH), valley)
    assert set(rates[len(looks) * 50 : 1600]) == {looks[-1].height}
    assert rates[1800] == pytest.approx((looks[-1].height or 0) / 2)


def test_a_decay_may_start_late_after_any_warm_up() -> None:
    for decay, half in (("cosine", 0.5), ("poly", 0.25)):
        rule = LearningRate(warmup="fixed", warmup_epochs=2, decay=decay, decay_start=6, epochs=10)  # type: ignore[arg-type]
        rates = [rule.multiplier(epoch, 1, 8, 8) for epoch in (0, 1, 2, 4, 6, 8, 10)]
        assert rates == pytest.approx([0, 0.5, 1, 1, 1, half, 0])
    early = LearningRate(warmup="fixed", warmup_epochs=4, decay="poly", decay_start=2, epochs=10)
    assert early.multiplier(5, 1, 8, 8) == pytest.approx((5 / 6) ** 2)


@pytest.mark.parametrize(("scaling", "factor"), [("none", 1), ("linear", 4), ("sqrt", 2)])
def test_the_top_is_that_of_the_start_batch_and_later_growth_is_scaled(scaling: str, factor: int) -> None:
    rule = LearningRate(warmup="auto", scaling=scaling, reference_batch=5, epochs=40)  # type: ignore[arg-type]
    course = Course(rule, EPOCH, BATCH)
    assert course.multiplier(BATCH) == pytest.approx(1e-5 * factor)
    course.advance(20 * EPOCH, BATCH)
    course.end_warmup(0.5)
    assert course.multiplier(BATCH) == 0.5 * factor
    course.resize(BATCH, 4 * BATCH)
    assert course.multiplier(4 * BATCH) == 0.5 * factor**2


def test_a_preset_gives_way_as_to_no_warm_up() -> None:
    assert left_to_preset("legw", {"warmup": "auto"}) == {"scaling": "sqrt"}
    assert LearningRate.from_preset("goyal", warmup="auto", epochs=30).scaling == "linear"


REFUSED = {
    "learning_rate.epochs: given 9; allowed: 10 or more with warmup auto, which takes half of them": {"epochs": 9},
    "learning_rate.scaling: given adascale; allowed: none, linear, sqrt with warmup auto": {"scaling": "adascale"},
    "learning_rate.decay: given step; allowed: constant, poly, cosine": {"decay": "step", "milestones": (5,)},
    "learning_rate.warmup_epochs: given 5; allowed: 0 with warmup auto": {"warmup_epochs": 5},
    "learning_rate.warmup_start: given base; allowed: 0 to below 1 with warmup auto": {"warmup_start": "base"},
    "learning_rate.warmup_start: given 1; allowed: 0 to below 1 with warmup auto": {"warmup_start": 1},
    "learning_rate.decay_start: given 3; allowed: 0 or more with decay poly and cosine": {"decay_start": 3},
}


@pytest.mark.parametrize(("line", "fields"), REFUSED.items(), ids=lambda case: str(case)[14:40])
def test_what_does_not_go_with_it_is_one_line(line: str, fields: dict[str, object]) -> None:
    with pytest.raises(InputError) as caught:
        LearningRate(warmup="auto", **fields)  # type: ignore[arg-type]
    assert str(caught.value).startswith(line)


def test_the_length_of_the_run_has_to_be_known() -> None:
    with pytest.raises(InputError, match=r"^learning_rate.epochs: given nothing; allowed: 10 or more"):
        Course(LearningRate(warmup="auto"), EPOCH, BATCH)
    late = LearningRate(decay="cosine", decay_start=30, epochs=20)
    with pytest.raises(
        InputError, match=r"^learning_rate.epochs: given 20; allowed: more than decay_start, which is 30"
    ):
        late.multiplier(0, EPOCH, BATCH, BATCH)
