"""The meter in a loop of passes on one device: against our own loop, every sample's gradient, and wrong uses."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.utils.data import TensorDataset

import hpc_adabatch as hab
from hpc_adabatch.cluster.single import SingleProcess

SAMPLES = 60
Batch = list[torch.Tensor]  # the samples of each pass


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 2)).double()


def data() -> torch.Tensor:
    return torch.randn(SAMPLES, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) + 0.3


def loss(model: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    return (model(inputs) - 1).pow(2).mean()


def batches(sizes: list[int], count: int) -> Iterator[Batch]:
    """Batches of these passes; those of an epoch share no sample."""
    for number in range(count):
        epoch, place = divmod(number, SAMPLES // sum(sizes))
        order = torch.randperm(SAMPLES, generator=torch.Generator().manual_seed(epoch))
        yield list(data()[order[place * sum(sizes) :][: sum(sizes)]].split(sizes))


def train(
    model: nn.Module,
    steps: Iterator[Batch],
    meter: hab.NoiseMeter | None,
    *,
    lr: float = 0.05,
    by_samples: bool = False,
    scales: Sequence[float] = (),
) -> nn.Module:
    """Somebody's loop: each pass's mean loss weighs the same, or by its samples."""
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    for step, parts in enumerate(steps):
        scale = scales[step] if scales else 1.0
        for part in parts:
            weight = len(part) / sum(map(len, parts)) if by_samples else 1 / len(parts)
            if meter:
                meter.piece(len(part), len(part) if by_samples else 1)
            (loss(model, part) * weight * scale).backward()
        if meter:
            meter.step(scale)
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        if all(gradient.div_(scale).isfinite().all() for gradient in gradients):
            optimizer.step()
        optimizer.zero_grad()
    return model


def test_the_numbers_are_those_of_our_own_loop() -> None:
    """Uneven passes, and a rest at the end of each epoch; every second step is measured."""
    model, seen = network(), []
    training = hab.AdaptiveTraining(
        model,
        torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9),
        hab.AdaptiveBatches(TensorDataset(data()), 14, max_global_batch=14, max_micro_batch=5, seed=2),
        cluster=SingleProcess(torch.device("cpu")),
        policy=hab.NormTest(window=50),
        options=hab.LoopOptions(measure_every=2),
    )
    for epoch in range(3):
        for step in training.epoch(epoch):
            seen.append([])
            for (inputs,) in step:
                seen[-1].append(inputs)
                step.backward(loss(model, inputs))
            step.update()
    other = network()
    meter = hab.NoiseMeter(other, every=2, population=SAMPLES, window=50)
    train(other, iter(seen), meter, by_samples=True)
    own = training.measuring.estimate
    assert own is not None
    assert meter.measurements == training.measuring.measurements >= 5
    assert len({tuple(map(len, parts)) for parts in seen}) > 1
    for name in ("noise_scale", "low", "high", "variance", "signal"):
        assert getattr(meter, name) == pytest.approx(getattr(own, name), rel=1e-9), name
    assert meter.estimate is not None
    assert (meter.estimate.steps, meter.estimate.samples) == (pytest.approx(own.steps), own.samples)


@pytest.mark.parametrize(("sizes", "by_samples"), [([4, 4, 4], False), ([7, 3], False), ([7, 3], True)], ids=str)
def test_the_numbers_are_those_of_every_samples_gradient(sizes: list[int], by_samples: bool) -> None:
    model = network()
    meter = hab.NoiseMeter(model, every=1, population=SAMPLES, window=math.inf)
    train(model, batches(sizes, 5), meter, lr=0.0, by_samples=by_samples)
    parameters = {name: value.detach() for name, value in model.named_parameters()}

    def of_one(values: dict[str, torch.Tensor], inputs: torch.Tensor) -> torch.Tensor:
        return (functional_call(model, values, (inputs[None],)) - 1).pow(2).mean()

    variances, signals = [], []
    for parts in batches(sizes, 5):
        tables = [vmap(grad(of_one), in_dims=(None, 0))(parameters, part) for part in parts]
        g = [torch.cat([rows.flatten(1) for rows in table.values()], dim=1).mean(0) for table in tables]
        w = [b / sum(sizes) if by_samples else 1 / len(sizes) for b in sizes]
        mean = sum(x * y for x, y in zip(w, g, strict=True))
        inverse = sum(x * x / b for x, b in zip(w, sizes, strict=True))  # 1 / B for weights of samples
        scatter = sum(x * float((y - mean).pow(2).sum()) for x, y in zip(w, g, strict=True))
        variances.append(scatter / (sum(x / b for x, b in zip(w, sizes, strict=True)) - inverse))
        signals.append(float(mean @ mean) - variances[-1] * (inverse - 1 / SAMPLES))
    assert meter.variance == pytest.approx(sum(variances) / 5, rel=1e-9)
    assert meter.signal == pytest.approx(sum(signals) / 5, rel=1e-9)
    assert meter.noise_scale == pytest.approx(sum(variances) / sum(signals), rel=1e-9)


def test_weights_are_the_same_bit_by_bit_and_hooks_are_gone() -> None:
    model = network()
    with_meter = train(model, batches([5, 4], 12), hab.NoiseMeter(model, every=3))
    without = train(network(), batches([5, 4], 12), None)
    for one, other in zip(with_meter.parameters(), without.parameters(), strict=True):
        assert torch.equal(one, other)
        assert not one._backward_hooks


def test_a_loss_scale_that_changes_leaves_the_numbers() -> None:
    models = [network(), network()]
    plain, scaled = (hab.NoiseMeter(model, every=1) for model in models)
    train(models[0], batches([6, 6], 5), plain)
    train(models[1], batches([6, 6], 5), scaled, scales=[2.0**step for step in range(5)])
    assert (scaled.variance, scaled.signal) == (plain.variance, plain.signal)


def test_a_step_that_is_not_finite_is_left_out_and_the_next_one_measured() -> None:
    model = network()
    meter = hab.NoiseMeter(model, every=5)
    steps = list(batches([6, 6], 7))
    steps[0] = [torch.full((6, 5), math.inf, dtype=torch.float64), steps[0][1]]
    train(model, iter(steps), meter, lr=0.0)
    assert meter.measurements == 2  # steps 1 and 6
    assert 0 < meter.noise_scale < math.inf
    assert meter.estimate is not None
    assert meter.estimate.samples == 7 * 12


def test_before_the_second_measurement_nothing_is_claimed() -> None:
    model = network()
    meter = hab.NoiseMeter(model)
    train(model, batches([6, 6], 9), meter)
    assert (meter.measurements, meter.estimate, meter.low, meter.high) == (1, None, 0.0, math.inf)
    assert all(map(math.isnan, (meter.noise_scale, meter.variance, meter.signal)))


def one_pass(model: nn.Module, meter: hab.NoiseMeter) -> None:
    meter.piece(8)
    loss(model, data()[:8]).backward()
    meter.step()


def forgotten(model: nn.Module, meter: hab.NoiseMeter) -> None:
    loss(model, data()[:8]).backward()
    meter.step()


def announced_once(model: nn.Module, meter: hab.NoiseMeter) -> None:
    meter.piece(8)
    for part in data()[:8].chunk(2):
        loss(model, part).backward()
    meter.step()


def zeroed(model: nn.Module, meter: hab.NoiseMeter) -> None:
    for part in data()[:8].chunk(2):
        meter.piece(4)
        loss(model, part).backward()
    model.zero_grad()
    meter.step()


def more_than_all(model: nn.Module, meter: hab.NoiseMeter) -> None:
    for part in data().chunk(2):
        meter.piece(50)
        loss(model, part).backward()
    meter.step()


@pytest.mark.parametrize(
    ("use", "field"),
    [
        (one_pass, "pieces: given 1 rank and 1 backward pass .* type two halves"),
        (forgotten, r"meter.piece\(\): given 0 call"),
        (announced_once, r"meter.piece\(\): given 1 call.* 1 backward"),
        (zeroed, r"meter.step\(\): given zeros in p.grad"),
        (more_than_all, "population: given 60; allowed: 100"),
    ],
)
def test_a_loop_that_cannot_be_measured_is_told_why(
    use: Callable[[nn.Module, hab.NoiseMeter], None], field: str
) -> None:
    model = network()
    with pytest.raises(hab.InputError, match=field):
        use(model, hab.NoiseMeter(model, population=SAMPLES))


def test_later_steps_of_one_pass_are_left_out() -> None:
    """An epoch may end with a batch that fills one pass."""
    model = network()
    meter = hab.NoiseMeter(model, every=1)
    train(model, iter([*batches([6, 6], 3), [data()[:5]], *batches([6, 6], 1)]), meter, lr=0.0)
    assert meter.measurements == 4


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"every": 0}, "every"),
        ({"population": 1}, "population"),
        ({"window": 0}, "window"),
        ({"model": nn.Flatten()}, "model"),
        ({"model": "resnet"}, "model"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, object], field: str) -> None:
    with pytest.raises(hab.InputError, match=f"^{field}: given "):
        hab.NoiseMeter(**({"model": network()} | arguments))  # type: ignore[arg-type]


def test_wrong_numbers_of_a_call_are_refused() -> None:
    meter = hab.NoiseMeter(network())
    for call, field in (
        (lambda: meter.piece(0), "samples"),
        (lambda: meter.piece(4, weight=0), "weight"),
        (lambda: meter.step(loss_scale=math.inf), "loss_scale"),
    ):
        with pytest.raises(hab.InputError, match=f"^{field}: given "):
            call()
