"""How parameters are cut into buckets. Their sums over ranks are tested in launch/test_sums.py."""

from __future__ import annotations

import math

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from hpc_adabatch.cluster import SingleProcess
from hpc_adabatch.training.buckets import BYTES, FIRST_BYTES, Bucket, GradientSum, cut

KINDS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def of(elements: int, dtype: torch.dtype = torch.float32) -> nn.Parameter:
    return nn.Parameter(torch.empty(elements, dtype=dtype, device="meta"))


@given(st.lists(st.tuples(st.integers(0, 10**7), st.sampled_from(KINDS)), max_size=60))
def test_every_parameter_is_in_one_bucket_of_its_kind(shapes: list[tuple[int, torch.dtype]]) -> None:
    parameters = [of(*shape) for shape in shapes]
    buckets = list(cut(parameters))
    assert sorted(id(p) for *_, bucket in buckets for p in bucket) == sorted(map(id, parameters))
    for kind, device, bucket in buckets:
        assert device == torch.device("meta")
        assert {torch.promote_types(p.dtype, torch.float32) for p in bucket} == {kind}
        place = {id(p): n for n, p in enumerate(parameters)}
        assert [place[id(p)] for p in bucket] == sorted((place[id(p)] for p in bucket), reverse=True)
        assert sum(p.numel() for p in bucket[:-1]) * kind.itemsize < BYTES


def test_the_last_layers_travel_first_and_in_a_small_bucket() -> None:
    parameters = [of(FIRST_BYTES // 4) for _ in range(60)]
    (*_, first), (*_, second), *_ = cut(parameters)
    assert [id(p) for p in first] == [id(parameters[-1])]
    assert len(second) == BYTES // FIRST_BYTES
    assert second[0] is parameters[-2]


def test_gradients_keep_the_layout_of_their_weights() -> None:
    dense = nn.Parameter(torch.zeros(4, 3, 2, 2).to(memory_format=torch.channels_last))
    gaps = nn.Parameter(torch.zeros(4, 6)[:, ::2])
    bucket = Bucket([dense, gaps], torch.float32, torch.device("cpu"), half=False)
    dense.grad, gaps.grad = torch.randn(4, 3, 2, 2), torch.randn(4, 3)
    wanted = dense.grad.clone(), gaps.grad.clone()
    bucket.fill()
    bucket.start(SingleProcess(), "")
    bucket.wait()
    assert dense.grad.stride() == dense.stride()
    assert torch.equal(dense.grad, wanted[0])
    assert torch.equal(gaps.grad, wanted[1])


def test_a_parameter_that_no_pass_reached_is_told() -> None:
    one, other = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    total = GradientSum([one, other], SingleProcess())
    total.expect(1)
    total.backward(one.sum())
    total.fill()
    total.send([0.1, torch.tensor([[math.inf, 2.0]])])
    assert total.wait() == [0.1, math.inf, 2.0]
    assert total.absent == [other]
    assert other.grad is None
