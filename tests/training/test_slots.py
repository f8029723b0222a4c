"""Numbers in the tail of a message: every bit of them arrives, whatever order the sum over ranks takes."""

from __future__ import annotations

import math
import struct

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hpc_adabatch.training.slots import BITS, ROOM, Slots, joined, listed

CPU = torch.device("cpu")


def bits(numbers: list[float]) -> list[bytes]:
    """The bits of numbers; there is one zero, and one nan."""
    return [struct.pack("<d", math.nan if math.isnan(number) else number + 0.0) for number in numbers]


def summed(kind: torch.dtype, of_ranks: list[list[float]], order: list[int]) -> list[list[float]]:
    """What each rank reads when the tails were added in the order."""
    ranks, most = len(of_ranks), max(map(len, of_ranks))
    slots = [Slots(most, rank, ranks, kind, CPU) for rank in range(ranks)]
    tails = [torch.full((slot.elements,), 7.0).to(kind) for slot in slots]  # what the last step has left there
    for slot, tail, numbers in zip(slots, tails, of_ranks, strict=True):
        slot.fill(tail, numbers)
    total = tails[order[0]].clone()
    for place in order[1:]:
        total += tails[place]
    return [slot.read(total) for slot in slots]


@pytest.mark.parametrize("kind", list(BITS))
@given(st.lists(st.floats(), min_size=1, max_size=40), st.integers(1, 5), st.data())
def test_every_bit_of_one_rank_arrives(
    kind: torch.dtype, numbers: list[float], ranks: int, data: st.DataObject
) -> None:
    whose = data.draw(st.integers(0, ranks - 1))
    of_ranks = [numbers if rank == whose else [0.0] * len(numbers) for rank in range(ranks)]
    for read in summed(kind, of_ranks, data.draw(st.permutations(range(ranks)))):
        assert bits(read) == bits(numbers)


@pytest.mark.parametrize("kind", list(BITS))
@given(st.integers(2, 6), st.integers(1, 20), st.data())
def test_ranks_are_added_one_after_the_other(kind: torch.dtype, ranks: int, count: int, data: st.DataObject) -> None:
    finite = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300)
    of_ranks = data.draw(st.lists(st.lists(finite, min_size=count, max_size=count), min_size=ranks, max_size=ranks))
    expected = of_ranks[0]
    for numbers in of_ranks[1:]:
        expected = [a + b for a, b in zip(expected, numbers, strict=True)]
    for read in summed(kind, of_ranks, data.draw(st.permutations(range(ranks)))):
        assert read == expected


@pytest.mark.parametrize("kind", list(BITS))
@given(st.lists(st.floats(), min_size=1, max_size=20))
def test_a_gpu_writes_what_a_processor_writes(kind: torch.dtype, numbers: list[float]) -> None:
    """Torch's arithmetic stands for numpy's there; here on the processor."""
    slots = Slots(20, 1, 2, kind, CPU)
    here, there = torch.ones(slots.elements).to(kind), torch.ones(slots.elements).to(kind)
    slots.fill(here, numbers)
    slots._write(there, joined(numbers, CPU).view(torch.int64), *slots._cuts)
    assert torch.equal(here, there)


def test_runs_with_and_without_measurements_send_messages_of_one_length() -> None:
    lengths = {Slots(numbers, 0, 3, torch.float32, CPU).elements for numbers in range(1, ROOM + 1)}
    assert lengths == {3 * 3 * ROOM}
    assert Slots(ROOM + 1, 0, 3, torch.float32, CPU).elements == 2 * 3 * 3 * ROOM


def test_numbers_and_tensors_of_numbers_keep_their_order() -> None:
    numbers = [torch.tensor(0.1, dtype=torch.float64), 0.2, True, torch.tensor([[3, 4]]), 5, torch.zeros(0)]
    assert listed([]) == joined([], CPU).tolist() == []
    assert listed(numbers) == joined(numbers, CPU).tolist() == [0.1, 0.2, 1.0, 3.0, 4.0, 5.0]
