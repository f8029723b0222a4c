"""What LARS and LAMB share: what Horovod, schedulers and checkpoints ask of an optimizer, half precision, ratios.

The oracles O7 to O17 each kill a fault of some published implementation. Every way to step runs here on CPU tensors.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils._python_dispatch import TorchDispatchMode

from hpc_adabatch import LAMB, LARS, InputError
from hpc_adabatch.optim.layerwise import Layerwise

pytestmark = [pytest.mark.usefixtures("path"), pytest.mark.parametrize("kind", [LARS, LAMB])]

Kind = type[LARS] | type[LAMB]
DECAY = 0.2
START = np.random.default_rng(7).normal(size=(6, 5))
RATES = (0.1, 0.3, 1.0, 0.7, 0.2, 0.4)
OTHER_OPTIONS: dict[Kind, dict[str, Any]] = {
    LARS: {"momentum": 0.8, "trust_coefficient": 0.01, "eps": 1e-5, "momentum_correction": True, "nesterov": True},
    LAMB: {"betas": (0.5, 0.6), "eps": 1e-5, "bias_correction": False, "max_trust_ratio": 3.0},
}


def parameter(values: Any = START, dtype: torch.dtype = torch.float64) -> nn.Parameter:
    return nn.Parameter(torch.tensor(values, dtype=dtype))


def gradients(steps: int = len(RATES)) -> list[Any]:
    return [np.random.default_rng(n).normal(size=START.shape) for n in range(steps)]


def follow(optimizer: Layerwise, given: Sequence[Any], rates: Sequence[float]) -> torch.Tensor:
    """Steps of the first parameter with these gradients and learning rates: where it arrives."""
    weight = optimizer.param_groups[0]["params"][0]
    for gradient, rate in zip(given, rates, strict=True):
        optimizer.param_groups[0]["lr"] = rate
        weight.grad = torch.tensor(gradient, dtype=weight.dtype)
        optimizer.step()
    return weight.detach().clone()


# What Horovod, schedulers and checkpoints ask


def test_the_state_exists_before_the_first_step(kind: Kind) -> None:
    """Horovod steps an optimizer whose state is empty, with zero gradients: weights would decay before training."""
    optimizer = kind([parameter()])
    optimizer.add_param_group({"params": [parameter(START[:2])]})
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    assert len(weights) == len(optimizer.state) == 2
    for weight in weights:
        assert set(optimizer.state[weight]) == set(kind.state_names)
        assert all(torch.equal(state, torch.zeros_like(weight)) for state in optimizer.state[weight].values())


def test_its_groups_alone_rebuild_it_with_every_option(kind: Kind) -> None:
    """O11: what Horovod does."""
    options = {"lr": 3.0, "weight_decay": 0.1, "adapt": False, **OTHER_OPTIONS[kind]}
    groups: list[dict[str, Any]] = [{"params": [parameter()]}, {"params": [parameter()], **options}]
    optimizer = kind(groups)
    follow(optimizer, gradients(2), RATES[:2])
    before = [dict(group) for group in optimizer.param_groups]
    rebuilt = type(optimizer)(optimizer.param_groups)
    assert rebuilt.param_groups == before
    assert {**before[1], **options} == before[1]
    assert isinstance(rebuilt, torch.optim.Optimizer)


def test_a_scheduler_sets_its_learning_rate(kind: Kind) -> None:
    """O11."""
    optimizer = kind([parameter()], lr=2.0)
    scheduler = LambdaLR(optimizer, lambda step: 0.5**step)
    optimizer.step()
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] == 1.0


def test_a_closure_computes_gradients_and_its_loss_comes_back(kind: Kind) -> None:
    """O11."""
    optimizer = kind([weight := parameter()])

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = weight.square().sum()
        torch.autograd.backward(loss)
        return loss

    assert optimizer.step(closure).item() == pytest.approx(float(np.square(START).sum()))
    assert not np.array_equal(weight.detach().numpy(), START)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_a_saved_optimizer_continues_bit_for_bit(kind: Kind, dtype: torch.dtype) -> None:
    """O10: into an optimizer built with other options; torch casts the state of half precision to it."""
    optimizer = kind([parameter(dtype=dtype)], weight_decay=DECAY, **OTHER_OPTIONS[kind])
    middle = follow(optimizer, gradients()[:3], RATES[:3])
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    straight = follow(optimizer, gradients()[3:], RATES[3:])

    resumed = kind([nn.Parameter(middle.clone())])
    resumed.load_state_dict(saved)
    assert torch.equal(follow(resumed, gradients()[3:], RATES[3:]), straight)
    for (name, one), other in zip(
        optimizer.state_dict()["state"][0].items(), resumed.state_dict()["state"][0].values(), strict=True
    ):
        assert torch.equal(one, other), name
        assert one.dtype == other.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


def test_a_refused_group_is_not_added(kind: Kind) -> None:
    optimizer = kind([parameter()])
    with pytest.raises(InputError):
        optimizer.add_param_group({"params": [parameter()], "lr": -1.0})
    assert len(optimizer.param_groups) == 1


# Parameters and gradients


def test_parameters_without_a_gradient_stay(kind: Kind) -> None:
    optimizer = kind([weight := parameter()], lr=1.0, weight_decay=DECAY)
    optimizer.step()
    assert np.array_equal(weight.detach().numpy(), START)


def test_the_order_of_parameters_does_not_matter(kind: Kind) -> None:
    """O14."""

    def ends(order: Sequence[int]) -> list[torch.Tensor]:
        weights = [parameter(START), parameter(2 * START), parameter(START[:2])]
        for weight in weights:
            weight.grad = weight.detach().cos()
        kind([weights[n] for n in order], weight_decay=DECAY).step()
        return [weight.detach() for weight in weights]

    assert all(map(torch.equal, ends([0, 1, 2]), ends([2, 0, 1])))


def test_precisions_mix_in_a_group(kind: Kind) -> None:
    dtypes = (torch.float32, torch.bfloat16, torch.float64, torch.float16, torch.float32)
    weights = [parameter(dtype=dtype) for dtype in dtypes]
    for weight in weights:
        weight.grad = torch.tensor(gradients()[0], dtype=weight.dtype)
    kind(weights, lr=0.5).step()
    for weight in weights:
        alone = parameter(dtype=weight.dtype)
        end = follow(kind([alone]), gradients()[:1], [0.5])
        assert torch.equal(end, weight.detach())


@pytest.mark.parametrize("options", [{}, {"adapt": False}], ids=str)
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_gradients_are_left_as_they_are(
    kind: Kind, options: dict[str, Any], nesterov: bool, dtype: torch.dtype
) -> None:
    """O8."""
    options = options | ({"nesterov": nesterov} if kind is LARS else {"bias_correction": nesterov})
    optimizer = kind([weight := parameter(dtype=dtype)], weight_decay=DECAY, **options)
    follow(optimizer, gradients()[:2], RATES[:2])
    assert weight.grad is not None
    assert torch.equal(weight.grad, torch.tensor(gradients()[1], dtype=dtype))


@pytest.mark.parametrize("gradient_layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("adapt", [False, True])
def test_the_layout_in_memory_does_not_matter(kind: Kind, gradient_layout: torch.memory_format, adapt: bool) -> None:
    values, gradient = np.random.default_rng(1).normal(size=(2, 4, 3, 5, 5))
    plain, folded = parameter(values), nn.Parameter(torch.tensor(values).contiguous(memory_format=torch.channels_last))
    for weight, layout in ((plain, torch.contiguous_format), (folded, gradient_layout)):
        weight.grad = torch.tensor(gradient).contiguous(memory_format=layout)
        optimizer = kind([weight], lr=0.1, weight_decay=DECAY, adapt=adapt)
        optimizer.step()
        optimizer.step()
    assert not folded.is_contiguous()
    assert all(state.stride() == folded.stride() for state in optimizer.state[folded].values())
    assert np.allclose(folded.detach().numpy(), plain.detach().numpy(), rtol=1e-12, atol=1e-12)


def test_a_parameter_that_is_a_slice_moves_alone(kind: Kind) -> None:
    whole = torch.tensor(START)
    weight = nn.Parameter(whole[:, 1:3])
    weight.grad = torch.tensor(gradients()[0])[:, 1:3]
    kind([weight], lr=0.5, weight_decay=DECAY).step()
    alone = parameter(START[:, 1:3].copy())
    end = follow(kind([alone], weight_decay=DECAY), [gradients()[0][:, 1:3]], [0.5])
    assert np.allclose(whole[:, 1:3].numpy(), end.numpy(), rtol=1e-12)
    assert np.array_equal(whole[:, [0, 3, 4]].numpy(), START[:, [0, 3, 4]])


def test_sparse_gradients_are_refused(kind: Kind) -> None:
    table = nn.Embedding(5, 3, sparse=True)
    optimizer = kind(table.parameters())
    table(torch.tensor([1, 2])).sum().backward()
    with pytest.raises(RuntimeError, match=rf"{kind.__name__} takes dense real gradients; parameter 0"):
        optimizer.step()


def test_complex_gradients_are_refused(kind: Kind) -> None:
    weight = nn.Parameter(torch.ones(2, 2, dtype=torch.complex64))
    weight.grad = torch.ones_like(weight)
    with pytest.raises(RuntimeError, match="dense real gradients; parameter 0"):
        kind([weight]).step()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("adapt", [False, True])
def test_a_step_in_half_precision_is_that_in_float32_rounded_once(kind: Kind, dtype: torch.dtype, adapt: bool) -> None:
    """O15: torch's fused kernels leave most numbers of a large tensor in half precision where they are."""
    values, gradient = np.random.default_rng(1).normal(size=(2, 40, 25))
    half = parameter(values, dtype)
    full = parameter(half.detach().float().numpy(), torch.float32)
    for rate in (0.5, 0.25):
        ends = []
        for weight in (half, full):
            weight.grad = torch.tensor(gradient, dtype=dtype).to(weight.dtype)
            optimizer = kind([weight], lr=rate * (100 if kind is LARS and adapt else 1), weight_decay=0.1, adapt=adapt)
            optimizer.step()
            ends.append(weight.detach().clone())
        assert torch.equal(ends[0], ends[1].to(dtype))
        assert (ends[0].float() != torch.tensor(values, dtype=dtype).float()).float().mean() > 0.9
        full.data.copy_(half.data)


# Trust ratios and the device


def test_trust_ratios_are_told_on_request(kind: Kind, path: str) -> None:
    weights = [parameter(), parameter(3 * START), parameter(START[0]), parameter()]
    groups = [{"params": weights[:2] + weights[3:]}, {"params": weights[2:3], "adapt": False}]
    optimizer = kind(groups, weight_decay=DECAY)
    for weight in weights[:3]:
        weight.grad = torch.tensor(gradients()[0])[: len(weight)] if weight.ndim > 1 else torch.ones(5).double()
    optimizer.step()
    assert optimizer.trust_ratios is None
    optimizer.trust_ratios = told = {weights[3]: 7.0}
    before = [weight.detach().clone() for weight in weights]
    optimizer.step()
    assert list(map(id, told)) == list(map(id, weights[:2]))
    for weight, old in zip(weights[:2], before, strict=False):
        ratio = told[weight]
        assert isinstance(ratio, torch.Tensor if path == "device" else float)
        gradient = torch.tensor(gradients()[0])
        length = old.norm().item()
        if kind is LARS:
            expected = 1e-3 * length / (gradient.norm().item() + DECAY * length)
        else:
            state = optimizer.state[weight]
            direction = state["exp_avg"] / (1 - 0.9**2) / ((state["exp_avg_sq"] / (1 - 0.999**2)).sqrt() + 1e-6)
            expected = length / (direction + DECAY * old).norm().item()
        assert float(ratio) == pytest.approx(expected, rel=1e-9)


def test_trust_ratios_change_nothing(kind: Kind) -> None:
    silent, telling = kind([parameter()]), kind([parameter()])
    telling.trust_ratios = {}
    assert torch.equal(follow(silent, gradients(), RATES), follow(telling, gradients(), RATES))
    assert [ratio > 0 for ratio in telling.trust_ratios.values()] == [True]
    assert telling.state_dict().keys() == silent.state_dict().keys()


class Waits(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the numbers that the host reads from tensors."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("other", [False, True])
def test_the_host_never_waits_for_the_device(kind: Kind, path: str, other: bool) -> None:
    optimizer = kind([weight := parameter()], weight_decay=DECAY, **(OTHER_OPTIONS[kind] if other else {}))
    optimizer.trust_ratios = {}
    weight.grad = torch.ones_like(weight)
    optimizer.step()
    with Waits() as waits:  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.step()
    assert waits.count == {"fused": 4, "plain": 4, "device": 0}[path]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("other", [False, True])
def test_on_a_gpu_it_neither_waits_nor_differs(kind: Kind, other: bool, dtype: torch.dtype) -> None:
    """O17."""
    options = {"weight_decay": DECAY, **(OTHER_OPTIONS[kind] if other else {})}
    ends = []
    for device in ("cpu", "cuda"):
        weights = [nn.Parameter(torch.tensor(START * n, dtype=dtype, device=device)) for n in (1, 2, 3)]
        groups = [{"params": weights[:2]}, {"params": weights[2:], "adapt": False}]
        optimizer = kind(groups, lr=0.1, **options)
        optimizer.trust_ratios = {}
        optimizer.step()
        for gradient in gradients():
            for weight in weights:
                weight.grad = torch.tensor(gradient, dtype=dtype, device=device)
            torch.cuda.set_sync_debug_mode("error" if device == "cuda" else "default")
            try:
                optimizer.step()
            finally:
                torch.cuda.set_sync_debug_mode("default")
        ends.append([weight.detach().cpu().float() for weight in weights])
    digits = {"rtol": 1e-5, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 0.02, "atol": 0.02}
    for on_cpu, on_gpu in zip(*ends, strict=True):
        assert torch.allclose(on_cpu, on_gpu, **digits)
