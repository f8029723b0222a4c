"""Schedules are read as written, and everything else is refused in one line."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_adabatch import InputError, Schedule
from hpc_adabatch.policies import Progress


def at(samples_seen: int, schedule: Schedule, n_samples: int) -> Progress:
    return Progress(
        samples_seen=samples_seen,
        samples_per_epoch=n_samples,
        start_batch=schedule.initial_batch,
        global_batch=schedule.initial_batch,
        max_global_batch=10**9,
    )


def batch_at(schedule: Schedule, samples_seen: int, n_samples: int) -> int:
    return schedule.propose(at(samples_seen, schedule, n_samples)).global_batch


def test_epochs_worked_by_hand() -> None:
    schedule = Schedule(text="0:128 20ep:256 40ep:512")
    assert schedule.initial_batch == 128
    batches = {epoch: batch_at(schedule, epoch * 1000, 1000) for epoch in (0, 19, 20, 39, 40, 500)}
    assert batches == {0: 128, 19: 128, 20: 256, 39: 256, 40: 512, 500: 512}
    assert [batch_at(schedule, seen, 1000) for seen in (19_999, 20_000)] == [128, 256]


def test_samples_worked_by_hand() -> None:
    schedule = Schedule(text="0:128 60000sa:64 60001sa:1")
    assert [batch_at(schedule, seen, 1000) for seen in (0, 59_999, 60_000, 60_001)] == [128, 128, 64, 1]


def test_a_fraction_of_an_epoch_is_the_nearest_sample() -> None:
    schedule = Schedule(text="0:128 0.5ep:256 2.25ep:512")
    assert [batch_at(schedule, seen, 1001) for seen in (0, 499, 501, 2251, 2252)] == [128, 128, 256, 256, 512]


def test_a_schedule_in_samples_does_not_depend_on_the_training_set() -> None:
    schedule = Schedule(text="0:128 500sa:256")
    assert {batch_at(schedule, 500, n_samples) for n_samples in (1, 499, 10**6)} == {256}


@pytest.mark.parametrize("text", ["0:128", " 0:128\n", "0ep:128", "0sa:128", "0.0ep:128"])
def test_one_entry_is_a_fixed_batch(text: str) -> None:
    schedule = Schedule(text=text)
    assert schedule.initial_batch == 128
    assert batch_at(schedule, 10**9, 1000) == 128


@given(
    st.sampled_from(["ep", "sa"]),
    st.dictionaries(st.integers(1, 300), st.integers(1, 10**6), max_size=8),
    st.integers(1, 100),
    st.integers(0, 40_000),
)
def test_the_last_entry_reached_holds(unit: str, later: dict[int, int], n_samples: int, samples_seen: int) -> None:
    entries = {0: 7, **dict(sorted(later.items()))}
    schedule = Schedule(text=" ".join(f"{when}{unit}:{batch}" for when, batch in entries.items()))
    length = n_samples if unit == "ep" else 1
    reached = [batch for when, batch in entries.items() if when * length <= samples_seen]
    assert batch_at(schedule, samples_seen, n_samples) == reached[-1]


def test_the_phase_counts_entries_and_the_reason_quotes_them() -> None:
    schedule = Schedule(text="0:128 2.5ep:256 5ep:512")
    progress = Progress(
        samples_seen=260, samples_per_epoch=100, start_batch=128, global_batch=128, max_global_batch=512
    )
    assert schedule.phase(progress) == 1
    assert schedule.propose(progress).reason == "schedule: 256 from 2.5 epochs on"
    assert schedule.propose(progress).learning_rate_factor == 1


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("0:128 60Ksa:256", "0:128 60000sa:256"),
        ("0:128 1.5M:256", "0:128 1500000sa:256"),
        ("0:768 250B:1536 500B:3072", "0:768 250000000000sa:1536 500000000000sa:3072"),  # Megatron-LM's own example
        ("0:4 +4 90sa:16 +8 190sa:32", "0:4 30sa:8 60sa:12 90sa:16 140sa:24 190sa:32"),
        ("0:4 +1 1ep:6", "0:4 0.5ep:5 1ep:6"),
        ("0:4 20sa:8 +8 21sa:16", "0:4 20sa:8 21sa:16"),
    ],
)
def test_what_is_written_shorter(text: str, same: str) -> None:
    shorter, longer = Schedule(text=text), Schedule(text=same)
    assert (shorter.whens, shorter.batches, shorter.unit) == (longer.whens, longer.batches, longer.unit)


@pytest.mark.parametrize("text", ["0:2 3Ktok:4", "0:2 3K:4"])
def test_tokens_are_counted_by_those_of_a_sample(text: str) -> None:
    schedule = Schedule(text=text, tokens_per_sample=20)
    assert [batch_at(schedule, samples, 1000) for samples in (149, 150)] == [2, 4]
    assert (
        "from 3000 tokens on"
        in schedule.propose(
            Progress(samples_seen=150, samples_per_epoch=9, start_batch=2, global_batch=2, max_global_batch=9)
        ).reason
    )


def test_tokens_of_an_unknown_sample() -> None:
    with pytest.raises(InputError) as caught:
        Schedule(text="0:2 3Ktok:4")
    assert caught.value.field == "policy.tokens_per_sample"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "+4",
        "0:4 +4",
        "+4 0:4",
        "0:4 +0 9sa:8",
        "0:4 +3 9sa:8",  # no divisor of 4
        "0:8 +4 9sa:4",  # shrinks
        "0:4 +2 +2 9sa:8",
        "0:4 +1 9sa:99999",  # more stages than anybody means
        "0:4 9Kep:8 9Ksa:16",
        "0:4 9k:8",
        "  \n",
        "10ep:5",  # nothing at 0
        "0:128 20ep:256 10ep:512",  # back in time
        "0:128 20ep:256 20ep:512",  # twice at once
        "0:128 0ep:256",
        "0:128 0:256",
        "0:128 20ep:256 5000sa:512",  # two units
        "0:0",
        "0:128 20ep:0",
        "a",
        "0:128 20:256",  # no unit
        "0:128  20ep:-4",
        "0:128 -20ep:4",
        "0:128 20ep:2.5",
        "0:128 20.5sa:256",
        "0:128 20st:256",  # steps
        "0:128 1e2ep:256",
        "0:128 .5ep:256",
        "0:128,20ep:256",
        "0:128 20 ep:256",
        "0:128 20ep",
        "0:128 20ep:",
        ":128",
        "0:128 nanep:256",
        f"0:128 {'9' * 400}ep:256",  # infinite
        f"0:128 {'9' * 400}sa:256",
        f"0:128 2ep:{'9' * 5000}",  # more digits than int() takes
        "0:128 \u0663ep:256",  # a three, in Arabic
    ],
)
def test_a_text_that_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(InputError) as caught:
        Schedule(text=text)
    assert caught.value.field == "policy.text"
    assert caught.value.hint


def test_the_first_wrong_entry_is_quoted() -> None:
    with pytest.raises(InputError) as caught:
        Schedule(text="0:128 20ep:256 x 40:512")
    assert caught.value.given == "'x'"


def test_a_long_schedule_is_not_read_through_at_every_step() -> None:
    """Bug story: a step of a schedule with 200,000 entries took a second, in which each was made into samples."""

    class Counted(Fraction):
        looks = 0

        def __mul__(self, other: Fraction) -> Fraction:  # type: ignore[override]
            Counted.looks += 1
            return Fraction(self) * other

    rule = Schedule(text=" ".join(f"{8 * number}sa:{1 + number % 7}" for number in range(4096)))
    rule.whens = [Counted(when) for when in rule.whens]
    assert [rule.phase(at(seen, rule, 1000)) for seen in (0, 7, 8, 8 * 4095, 10**6)] == [0, 0, 1, 4095, 4095]
    assert Counted.looks <= 5 * 13
