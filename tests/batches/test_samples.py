"""A micro-batch has the form of the dataset's samples, however it is cut from what was read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, TensorDataset

import hpc_adabatch as hab
from hpc_adabatch.batches import BatchPlan
from hpc_adabatch.batches.loader import open_loader
from hpc_adabatch.batches.sampler import RankSampler
from hpc_adabatch.cluster import SingleProcess

N = 23


class Pair(NamedTuple):
    """A sample with names."""

    pixels: torch.Tensor
    of: tuple[str, int]


class Made(Dataset[Any]):
    """Sample i is what the function makes of i."""

    def __init__(self, make: Callable[[int], Any]) -> None:
        self.make = make

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> Any:
        return self.make(index)


def row(index: int) -> torch.Tensor:
    return torch.arange(3) + 10 * index


def rows(indices: Sequence[int]) -> torch.Tensor:
    return torch.stack([row(index) for index in indices])


# what a sample is, and what a micro-batch of some of them is
FORMS: dict[str, tuple[Callable[[int], Any], Callable[[list[int]], Any]]] = {
    "tensor": (row, rows),
    "number": (lambda i: i, torch.tensor),
    "text": (str, lambda of: [str(i) for i in of]),
    "object": (lambda i: frozenset([i]), lambda of: [frozenset([i]) for i in of]),
    "tuple of one": (lambda i: (row(i),), lambda of: (rows(of),)),
    "list": (lambda i: [row(i), i], lambda of: (rows(of), torch.tensor(of))),
    "dict": (
        lambda i: {"x": row(i), "y": (i, str(i))},
        lambda of: {"x": rows(of), "y": (torch.tensor(of), [*map(str, of)])},
    ),
    "named tuple": (lambda i: Pair(row(i), ("a", i)), lambda of: Pair(rows(of), (["a"] * len(of), torch.tensor(of)))),
    "array of text": (lambda i: np.array(["a", "b"][i % 2]), lambda of: [np.array(["a", "b"][i % 2]) for i in of]),
    "array": (lambda i: np.full(2, i), lambda of: torch.tensor([[i, i] for i in of])),
}


def assert_same(found: Any, wanted: Any) -> None:
    assert type(found) is type(wanted)
    if isinstance(wanted, torch.Tensor):
        assert torch.equal(found, wanted)
    elif isinstance(wanted, dict):
        assert list(found) == list(wanted)
        for key in wanted:
            assert_same(found[key], wanted[key])
    elif isinstance(wanted, tuple):
        assert len(found) == len(wanted)
        for pair in zip(found, wanted, strict=True):
            assert_same(*pair)
    else:
        assert found == wanted


@pytest.mark.parametrize("form", FORMS)
def test_a_micro_batch_has_the_form_of_the_samples(form: str) -> None:
    make, expected = FORMS[form]
    loader = open_loader(Made(make), RankSampler(BatchPlan(N, 0), 0, 1), chunk=4, workers=0)
    loader.enter_epoch()
    for size in (1, 4, 2, 9, 7):
        found, indices = loader.take(size)
        assert_same(found, expected(indices.tolist()))


def test_samples_without_a_value_are_refused() -> None:
    loader = open_loader(Made(lambda _: {}), RankSampler(BatchPlan(N, 0), 0, 1), chunk=4, workers=0)
    loader.enter_epoch()
    with pytest.raises(ValueError, match="empty"):
        loader.take(1)


@pytest.mark.parametrize("form", ["tensor", "dict", "tuple"])
@pytest.mark.parametrize("augmented", [False, True])
def test_every_form_trains_the_same_network(form: str, augmented: bool) -> None:
    """Bug story: a sample that was one tensor gave as many fields as the chunk had samples, a dict gave its keys."""
    draw = torch.Generator().manual_seed(0)
    x, y = torch.randn(N, 3, generator=draw), torch.randn(N, 1, generator=draw)

    def weights(dataset: Dataset[Any], split: Callable[[Any], Any], transform: Any) -> torch.Tensor:
        torch.manual_seed(0)
        model = torch.nn.Linear(3, 1)
        batches = hab.AdaptiveBatches(dataset, 5, max_micro_batch=2, transform=transform if augmented else None)
        training = hab.AdaptiveTraining(
            model, torch.optim.SGD(model.parameters(), lr=0.1), batches, cluster=SingleProcess()
        )
        for step in training.epoch(0):
            for sample in step:
                inputs, targets = split(sample)
                step.backward((model(inputs) - targets).square().mean())
            step.update()
        return model.weight.detach()

    def shift(inputs: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        return inputs + (keys % 7)[:, None]

    reference = weights(TensorDataset(x, y), lambda sample: sample, shift)
    if form == "tensor":
        both = Made(lambda i: torch.cat([x[i], y[i]]))

        def shift_all(sample: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
            return torch.cat([shift(sample[:, :3], keys), sample[:, 3:]], dim=1)

        found = weights(both, lambda sample: (sample[:, :3], sample[:, 3:]), shift_all)
    elif form == "dict":
        both = Made(lambda i: {"x": x[i], "name": "a", "y": y[i]})

        def shift_x(sample: dict[str, Any], keys: torch.Tensor) -> dict[str, Any]:
            return sample | {"x": shift(sample["x"], keys)}

        found = weights(both, lambda sample: (sample["x"], sample["y"]), shift_x)
    else:
        found = weights(Made(lambda i: (x[i], ("a", y[i]))), lambda sample: (sample[0], sample[1][1]), shift)
    assert torch.equal(found, reference)
