"""Draws of coefficients against distributions in closed form."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import t as student

from hpc_adabatch.study.scaling.posterior import draws


def drawn(rows: Any, values: Any, *, noise: float, degrees: float = 1e6, floor: float = 0.0, **more: Any) -> np.ndarray:
    """Draws for times of one part with errors of scale 1."""
    rows, values = np.asarray(rows, dtype=np.float64), np.asarray(values, dtype=np.float64)
    given = {
        "scales": np.ones(len(values)),
        "parts": np.zeros(len(values), dtype=int),
        "noise": np.array([noise]),
        "degrees": np.array([degrees]),
        "means": np.full(rows.shape[1], float(values.mean())),
        "floor": floor,
    }
    return draws(rows, values, **(given | more))


@pytest.mark.parametrize("degrees", [3, 1e6])
def test_columns_that_are_told_apart_have_students_distribution(degrees: float) -> None:
    """Ten columns' worth of times far from the edge; the rests count, so the degrees are those of both."""
    draw = np.random.default_rng(8)
    rows = draw.uniform(0.5, 2, (12, 3))
    values = rows @ [20.0, 30.0, 40.0] + draw.normal(0, 0.1, 12)
    solution, rests, _, _ = np.linalg.lstsq(rows, values, rcond=None)
    total = degrees + 12 - 3
    deviation = np.sqrt((degrees * 0.1**2 + rests[0]) / total * np.diag(np.linalg.inv(rows.T @ rows)))
    found = drawn(rows, values, noise=0.1, degrees=degrees)
    for n in range(3):
        for part in (0.025, 0.25, 0.5, 0.75, 0.975):
            expected = solution[n] + student.ppf(part, total) * deviation[n]
            assert np.quantile(found[:, n], part) == pytest.approx(expected, abs=0.25 * deviation[n])


def test_a_total_is_divided_by_the_arcsine_law_where_nothing_tells_two_columns_apart() -> None:
    """Dirichlet(1/2) of two parts is Beta(1/2, 1/2), whose quantiles are sin^2(pi p / 2)."""
    found = drawn([[1.0, 1.0]], [7.0], noise=1e-4)
    assert found.sum(axis=1) == pytest.approx(7.0, rel=1e-3)
    for part in (0.1, 0.25, 0.5, 0.75, 0.9):
        assert np.quantile(found[:, 0] / 7.0, part) == pytest.approx(np.sin(np.pi / 2 * part) ** 2, abs=0.06)


def test_the_prior_stands_where_no_time_has_a_column() -> None:
    """Gamma(1/2) of mean 5: a squared normal's times 5."""
    found = drawn([[1.0, 0.0]], [3.0], noise=1e-3, means=np.array([3.0, 5.0]))
    assert found[:, 1].mean() == pytest.approx(5.0, rel=0.15)
    assert found[:, 0] == pytest.approx(3.0, rel=0.01)


def test_none_is_below_0_and_noise_is_never_below_its_floor() -> None:
    rows = np.array([[1.0, 1.0], [1.0, 2.0], [1.0, 4.0]])
    found = drawn(rows, [1.0, 0.9, 0.7], noise=1e-9, degrees=50, floor=0.1)  # a slope below 0
    assert (found >= 0).all()
    assert found[:, 0].std() > 0.02
