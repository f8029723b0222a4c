"""Features without their zeros: what is computed with them is what dense ones give."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given
from hypothesis import strategies as st

from hpc_adabatch.tasks.features import SparseRows, conjugate_gradients, lengths, solve, sparse, times, transposed_times

MATRICES = st.tuples(st.integers(1, 12), st.integers(1, 9), st.integers(0, 10**6), st.floats(0, 1))


def drawn(samples: int, features: int, seed: int, density: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The same features, dense and sparse; some samples and some features may have none."""
    random = np.random.default_rng(seed)
    dense = random.normal(size=(samples, features)) * (random.random((samples, features)) < density)
    return torch.from_numpy(dense), sparse(scipy.sparse.csr_matrix(dense))


@given(MATRICES)
def test_products_and_their_gradients(sizes: tuple[int, int, int, float]) -> None:
    dense, thin = drawn(*sizes)
    weight = torch.linspace(-1, 2, dense.shape[1], dtype=torch.float64)
    vector = torch.linspace(1, -3, len(dense), dtype=torch.float64)
    torch.testing.assert_close(times(thin, weight), dense @ weight)
    torch.testing.assert_close(transposed_times(thin, vector), dense.T @ vector)
    torch.testing.assert_close(lengths(thin), dense.norm(dim=1))
    weight.requires_grad_()
    (gradient,) = torch.autograd.grad(times(thin, weight).square().sum(), weight)
    torch.testing.assert_close(gradient, 2 * dense.T @ (dense @ weight.detach()))


@given(MATRICES, st.data())
def test_samples_are_taken_as_from_a_tensor(sizes: tuple[int, int, int, float], data: st.DataObject) -> None:
    dense, thin = drawn(*sizes)
    rows = SparseRows(thin)
    assert (len(rows), rows.size(0), rows.size(1)) == (len(dense), *dense.shape)
    chosen = data.draw(st.lists(st.integers(0, len(dense) - 1), max_size=8))
    taken = rows[torch.tensor(chosen, dtype=torch.int64)]
    assert taken.is_sparse
    assert taken.is_coalesced()
    assert torch.equal(taken.to_dense(), dense[chosen])
    stop = data.draw(st.integers(0, len(dense)))
    assert torch.equal(rows[:stop][torch.arange(stop)].to_dense(), dense[:stop])
    assert torch.equal(rows[-1], dense[-1])


@pytest.mark.parametrize("curved", [False, True])
def test_least_squares_without_the_covariance(curved: bool) -> None:
    dense, thin = drawn(60, 20, 3, 0.3)
    curvature = torch.linspace(0.1, 1, 60, dtype=torch.float64) if curved else None
    vector = torch.linspace(-1, 1, 20, dtype=torch.float64)
    expected = solve(dense, curvature, 1e-3, vector)
    torch.testing.assert_close(solve(thin, curvature, 1e-3, vector), expected, rtol=1e-10, atol=1e-12)
    weighted = dense.T * (1 if curvature is None else curvature)
    torch.testing.assert_close((weighted @ dense / 60) @ expected + 1e-3 * expected, vector)


def test_conjugate_gradients_end_where_rounding_allows_no_more() -> None:
    spread = torch.logspace(0, -12, 40, dtype=torch.float64)
    found = conjugate_gradients(lambda vector: spread * vector, torch.ones(40, dtype=torch.float64))
    assert found.isfinite().all()
    assert torch.equal(conjugate_gradients(lambda vector: vector, torch.zeros(3)), torch.zeros(3))
