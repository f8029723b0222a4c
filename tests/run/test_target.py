"""Training until a metric is reached."""

from __future__ import annotations

import math

import pytest

from hpc_adabatch.errors import InputError
from hpc_adabatch.run.target import first_reached, parse_target
from hpc_adabatch.tasks import TASKS

DIGITS, TEXT = TASKS["digits"](), TASKS["text"](train="a", test="b")


def test_larger_or_smaller_is_better() -> None:
    accuracy, perplexity = parse_target("accuracy=0.9", DIGITS), parse_target("perplexity=100", TEXT)
    assert [accuracy.reached(value) for value in (0.89, 0.9, 0.95, None, math.nan)] == [False, True, True, False, False]
    assert [perplexity.reached(value) for value in (101, 100, 90, None)] == [False, True, True, False]
    assert parse_target(None, DIGITS) is None


@pytest.mark.parametrize("text", ["0.9", "loss=0.9", "accuracy", "accuracy=high", "accuracy=nan", "=0.9"])
def test_what_is_no_target_is_told(text: str) -> None:
    with pytest.raises(InputError, match=r"until: given .*--until accuracy=0\.9"):
        parse_target(text, DIGITS)


def test_the_first_evaluation_that_is_as_good_counts() -> None:
    values = [None, 0.5, 0.93, 0.7, 0.95]
    records = [{"kind": "statistics", "metric": 1.0}] + [
        {"kind": "evaluation", "metric": value, "epoch": n, "step": 10 * n, "cursor": 100 * n, "time_s": 1.5 * n}
        for n, value in enumerate(values)
    ]
    target = parse_target("accuracy=0.9", DIGITS)
    assert first_reached(target, records) == {
        "metric": "accuracy",
        "target": 0.9,
        "epoch": 3,
        "step": 20,
        "samples": 200,
        "wall_s": 3.0,
    }
    assert first_reached(parse_target("accuracy=0.96", DIGITS), records) is None
    assert first_reached(None, records) is None
