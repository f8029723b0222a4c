"""Features of all samples, dense or without their zeros: products with weights, and the equations of least squares.

    dense     samples x features x 8 bytes            rcv1: 7.6 GB, news20: 217 GB
    sparse    24 bytes for each number that is there  rcv1: 36 MB,  news20: 218 MB

Sparse ones are sparse tensors of torch (COO), which are multiplied by gathering and adding: torch's own products of
sparse matrices are not in every build of it. Equations with their covariance are solved without that matrix, by
conjugate gradients (Hestenes & Stiefel 1952, https://doi.org/10.6028/jres.049.044).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

MOST_STEPS = 10_000
ACCURACY = 1e-14  # residual / right side at which conjugate gradients end
PATIENCE = 50  # steps without a shorter residual, as rounding allows none: they end there too


class SparseRows:
    """Sparse features in the place of a tensor of a TensorDataset, from which samples are taken.

    Args:
        features: Features of all samples, a coalesced sparse tensor, shape (samples, features).
    """

    def __init__(self, features: torch.Tensor) -> None:
        rows, self._columns = features.indices()
        self._values = features.values()
        self._starts = torch.searchsorted(rows, torch.arange(len(features) + 1))  # of each sample, and the end
        self.shape = features.shape

    def __len__(self) -> int:
        return self.shape[0]

    def size(self, dim: int) -> int:
        """Returns the number of samples (0) or of features (1)."""
        return self.shape[dim]

    def __getitem__(self, index: Any) -> Any:
        """Returns a sample as a dense row, several as a sparse tensor, or, for a slice, features of this kind."""
        if isinstance(index, slice):
            return SparseRows(self[torch.arange(len(self))[index]])
        if isinstance(index, int):
            return self[[index % len(self)]].to_dense()[0]
        index = torch.as_tensor(index)
        first, counts = self._starts[index], self._starts[index + 1] - self._starts[index]
        rows = torch.repeat_interleave(torch.arange(len(index)), counts)
        above = torch.cumsum(counts, 0) - counts  # numbers in the rows before
        places = torch.arange(len(rows)) + (first - above)[rows]
        where, size = torch.stack([rows, self._columns[places]]), (len(index), self.shape[1])
        return torch.sparse_coo_tensor(where, self._values[places], size, is_coalesced=True, check_invariants=False)


def sparse(matrix: Any) -> torch.Tensor:
    """Returns a matrix of scipy, by rows and sorted, as a sparse tensor."""
    found = matrix.tocoo()
    where = torch.stack([torch.from_numpy(places).long() for places in (found.row, found.col)])
    values = torch.from_numpy(found.data)
    return torch.sparse_coo_tensor(where, values, found.shape, is_coalesced=True, check_invariants=False)


def dense_bytes(samples: int, features: int) -> int:
    """Returns the bytes that dense features take with what is computed of them: copies, and their covariance."""
    return 8 * (3 * samples * features + 4 * features**2)


def sparse_bytes(numbers: int, features: int) -> int:
    """Returns the bytes that sparse features take with what is computed of them: products, and vectors of weights."""
    return 64 * numbers + 80 * features


def times(features: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Returns features @ weight, shape (samples,), with a gradient for the weight."""
    if not features.is_sparse:
        return features @ weight
    rows, columns = features.coalesce().indices()
    products = features.coalesce().values() * weight.index_select(0, columns)
    return weight.new_zeros(len(features)).index_add(0, rows, products)


def transposed_times(features: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
    """Returns features^T @ vector, shape (features,), for a vector of shape (samples,)."""
    if not features.is_sparse:
        return features.T @ vector
    rows, columns = features.coalesce().indices()
    products = features.coalesce().values() * vector.index_select(0, rows)
    return vector.new_zeros(features.shape[1]).index_add(0, columns, products)


def lengths(features: torch.Tensor) -> torch.Tensor:
    """Returns the length of each sample, shape (samples,)."""
    if not features.is_sparse:
        return features.norm(dim=1)
    ones = torch.ones(features.shape[1], dtype=features.dtype)
    return times(features.square(), ones).sqrt()


def solve(features: torch.Tensor, curvature: torch.Tensor | None, penalty: float, vector: torch.Tensor) -> torch.Tensor:
    """Returns (mean of c x x^T + penalty I)^-1 vector over the samples x; not finite if there is no inverse.

    Args:
        features: Features of all samples, shape (samples, features).
        curvature: Weight c of each sample, shape (samples,); 1 when None.
        penalty: Factor of the identity.
        vector: Right side, shape (features,).
    """
    if features.is_sparse:

        def multiply(weight: torch.Tensor) -> torch.Tensor:
            products = times(features, weight)
            products = products if curvature is None else curvature * products
            return transposed_times(features, products) / len(features) + penalty * weight

        return conjugate_gradients(multiply, vector)
    weighted = features.T if curvature is None else features.T * curvature
    shifted = weighted @ features / len(features) + penalty * torch.eye(len(vector), dtype=vector.dtype)
    solution: torch.Tensor = torch.linalg.solve_ex(shifted, vector)[0]
    return solution


def conjugate_gradients(multiply: Callable[[torch.Tensor], torch.Tensor], vector: torch.Tensor) -> torch.Tensor:
    """Returns A^-1 vector for a symmetric positive A, as far as rounding allows.

    Args:
        multiply: Returns A x for x.
        vector: Right side, shape (features,).
    """
    solution, residual = torch.zeros_like(vector), vector.clone()
    direction, square = residual.clone(), residual @ residual
    end, best, since = ACCURACY**2 * square, square, 0
    for _ in range(MOST_STEPS):
        if square <= end or since > PATIENCE:
            break
        product = multiply(direction)
        length = square / (direction @ product)
        solution, residual = solution + length * direction, residual - length * product
        before, square = square, residual @ residual
        direction = residual + square / before * direction
        since = 0 if square < best else since + 1
        best = torch.minimum(best, square)
    return solution
