"""Published schedules by one word: their fields, and those that are given besides."""

from __future__ import annotations

from typing import Any

import pytest

from hpc_adabatch import InputError, LearningRate

WHOLE: dict[str, dict[str, Any]] = {
    "none": {},
    "legw": {"scaling": "sqrt", "warmup": "legw", "warmup_epochs": 10 / 64},
    "goyal": {"scaling": "linear", "warmup": "fixed", "warmup_epochs": 5.0, "warmup_start": "base"},
}


@pytest.mark.parametrize("preset", WHOLE)
def test_a_preset_is_one_word_for_its_fields(preset: str) -> None:
    assert LearningRate.from_preset(preset) == LearningRate(**WHOLE[preset])


@pytest.mark.parametrize("preset", WHOLE)
@pytest.mark.parametrize(
    "given",
    [
        {"warmup_epochs": 2.0, "warmup": "legw", "decay": "poly", "epochs": 90.0},
        {"scaling": "none", "warmup_start": 0.0, "reference_batch": 8, "warmup": "fixed", "warmup_epochs": 1},
        {"warmup": "none", "warmup_epochs": 0.0, "warmup_start": 0.0},
    ],
)
def test_fields_beside_a_preset_hold_also_where_they_are_the_default(preset: str, given: dict[str, Any]) -> None:
    """Bug story: the preset overruled warmup none, which is the default, as if it had not been given."""
    assert LearningRate.from_preset(preset, **given) == LearningRate(**{**WHOLE[preset], **given})


def test_length_and_start_go_with_the_warm_up() -> None:
    assert LearningRate.from_preset("goyal", warmup="none") == LearningRate(scaling="linear")


@pytest.mark.parametrize(("batch", "first"), [(8192, 1.0), (512, 1.0), (256, 1.0), (64, 0.25)])
def test_goyal_climbs_from_the_base_rate(batch: int, first: float) -> None:
    """Goyal et al. 2017, section 2.2: from eta to k eta. A batch below the reference has no way to climb."""
    rule, k = LearningRate.from_preset("goyal", reference_batch=256), batch / 256
    rates = [rule.multiplier(epoch, 1, batch, batch) for epoch in (0, 1, 2.5, 5, 9)]
    assert rates == pytest.approx([first + part * (k - first) for part in (0, 0.2, 0.5, 1, 1)])


def test_adascale_climbs_from_the_base_rate_to_its_gain() -> None:
    rule = LearningRate.from_preset("goyal", scaling="adascale")
    assert [rule.multiplier(epoch, 1, 8, 8, gain=3.0) for epoch in (0, 2.5, 5)] == pytest.approx([1, 2, 3])


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(InputError, match=r"^learning_rate\.preset: given lars; allowed: none, legw, goyal"):
        LearningRate.from_preset("lars")
