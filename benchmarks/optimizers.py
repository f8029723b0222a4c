"""Times a step of LARS and LAMB beside other optimizers, and finds which formula each of them follows.

    python benchmarks/optimizers.py [--threads 1,2] [--device cpu|cuda] [--rounds 40] [--write FILE.md]

On the parameters of ResNet-50 (torchvision) in float32, every optimizer takes one step in each round, in a random order
and on a fresh copy of the same gradients. Its time is divided by that of torch's fused SGD in the same round. Weights
have weight decay and trust ratios, biases and normalisation have neither.

The last column compares some more steps, with a learning rate that changes, with Algorithm 1 of LARS (1708.03888) or
Algorithm 2 of LAMB (1904.00962) in float64 (formulas.py): the distance of a layer from where the formula takes it,
divided by the distance that it travelled, for the worst layer. Form A is LARS as in the paper, with the learning rate
inside the momentum; form C has it outside. timm and pytorch_optimizer are extras of the benchmark (pip install timm
pytorch_optimizer).
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from formulas import BETAS, DECAY, EPS, MOMENTUM, RATES, Tensors, draw, ends
from machine import machine, versions
from torch import nn

from hpc_adabatch import LAMB, LARS, parameter_groups

Groups = list[dict[str, Any]]
FUSED = "torch SGD, fused"


@dataclass(frozen=True)
class Row:
    """An optimizer of the table."""

    name: str
    build: Callable[[Groups], torch.optim.Optimizer]
    formula: str = ""  # a name in RATES; empty for SGD and Adam
    package: str = "torch"


def elsewhere(module: str, name: str, **options: Any) -> Callable[[Groups], torch.optim.Optimizer]:
    """Builds an optimizer of a package that may not be installed."""

    def build(groups: Groups) -> torch.optim.Optimizer:
        importlib.import_module("hpc_adabatch.tasks.vision")  # timm imports torchvision, which may need its help
        return getattr(importlib.import_module(module), name)(groups, **options)

    return build


SGD: dict[str, Any] = {"lr": 0.1, "momentum": MOMENTUM}
ADAM: dict[str, Any] = {"lr": 1e-3, "betas": BETAS, "eps": EPS}
ROWS = (
    Row(FUSED, lambda groups: torch.optim.SGD(groups, fused=True, **SGD)),
    Row("torch SGD, foreach=False", lambda groups: torch.optim.SGD(groups, foreach=False, fused=False, **SGD)),
    Row("torch SGD, foreach", lambda groups: torch.optim.SGD(groups, foreach=True, **SGD)),
    Row("hpc_adabatch LARS", lambda groups: LARS(groups, **SGD), "LARS"),
    Row("timm Lars", elsewhere("timm.optim", "Lars", **SGD), "LARS", "timm"),
    Row("pytorch_optimizer LARS", elsewhere("pytorch_optimizer", "LARS", **SGD), "LARS", "pytorch_optimizer"),
    Row("torch Adam, fused", lambda groups: torch.optim.Adam(groups, fused=True, **ADAM)),
    Row("hpc_adabatch LAMB", lambda groups: LAMB(groups, **ADAM), "LAMB"),
    Row("timm Lamb", elsewhere("timm.optim", "Lamb", max_grad_norm=None, **ADAM), "LAMB", "timm"),
    Row(
        "pytorch_optimizer Lamb",
        elsewhere("pytorch_optimizer", "Lamb", weight_decouple=False, max_grad_norm=0.0, **ADAM),
        "LAMB",
        "pytorch_optimizer",
    ),
)


# Whose formula


def copied(model: nn.Module, device: str) -> Groups:
    """Returns a copy of the model's parameters, in two groups."""
    groups = parameter_groups(model, DECAY)
    for group in groups:
        group["params"] = [nn.Parameter(one.detach().to(device, copy=True)) for one in group["params"]]
    return groups


def parameters(groups: Groups) -> Tensors:
    return [one for group in groups for one in group["params"]]


def deviation(row: Row, model: nn.Module, device: str, references: dict[str, Tensors]) -> str:
    """Returns the form that an optimizer follows and its distance from it, or the distance from each form.

    Args:
        row: an optimizer with a formula.
        model: its parameters are copied and stepped.
        device: the device that computes the steps.
        references: the last weights of each form, from ``ends``.
    """
    groups = copied(model, device)
    weights, optimizer = parameters(groups), row.build(groups)
    starts = [weight.detach().double().cpu() for weight in weights]
    for step, lr in enumerate(RATES[row.formula]):
        for weight, gradient in zip(weights, draw(weights, step), strict=True):
            weight.grad = gradient
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.step()
    found = {
        name: max(
            float((weight.detach().double().cpu() - end).norm() / (end - start).norm())
            for weight, start, end in zip(weights, starts, reference, strict=True)
        )
        for name, reference in references.items()
    }
    near = [name for name, distance in found.items() if distance < 0.01]
    return ", ".join(f"{name}: {found[name]:.0e}" for name in near or found)


# Time


def timed(
    steps: Mapping[str, Callable[[], Any]], fresh: Callable[[], Any], wait: Callable[[], Any], rounds: int
) -> Any:
    """Returns the milliseconds of each optimizer's step in each round.

    Args:
        steps: the step of each optimizer.
        fresh: copies the gradients.
        wait: waits for the device.
        rounds: number of rounds that count, after three that warm up.
    """
    found: dict[str, list[float]] = {name: [] for name in steps}
    order, shuffle = list(steps), random.Random(0).shuffle
    for number in range(rounds + 3):
        shuffle(order)
        for name in order:
            fresh()
            wait()
            began_s = time.perf_counter()
            steps[name]()
            wait()
            if number >= 3:
                found[name].append(1e3 * (time.perf_counter() - began_s))
    return found


def spread(values: Sequence[float], digits: int) -> str:
    """Returns median and quartiles as a text."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def table(found: dict[str, list[float]], remarks: dict[str, str], rows: Sequence[Row] = ROWS) -> list[str]:
    """Returns the table's lines, one for each optimizer; one that could not be built shows the reason."""
    lines = ["| optimizer | ms a step | of fused SGD | from the formula |", "|---|---|---|---|"]
    for row in rows:
        ms, ratio = "", ""
        if row.name in found:
            ms = spread(found[row.name], 2)
            ratio = spread([one / sgd for one, sgd in zip(found[row.name], found[FUSED], strict=True)], 2)
        lines.append(f"| {row.name} | {ms} | {ratio} | {remarks.get(row.name, '')} |")
    return lines


def measure(
    model: nn.Module, device: str, threads: Sequence[int], rounds: int, rows: Sequence[Row] = ROWS
) -> list[str]:
    """Returns the lines of the tables, one table for each number of threads.

    Args:
        model: its parameters are stepped.
        device: cpu or cuda.
        threads: numbers of torch's threads.
        rounds: number of rounds that count.
        rows: the optimizers.
    """
    groups = copied(model, "cpu")
    adapts = [group["adapt"] for group in groups for _ in group["params"]]
    references = {row.formula: ends(row.formula, parameters(groups), adapts) for row in rows if row.formula}
    remarks, steps = {}, {}
    gradients = draw([weight.detach() for weight in parameters(copied(model, device))], 99)
    shared = [gradient.clone() for gradient in gradients]
    for row in rows:
        try:
            if row.formula:
                remarks[row.name] = deviation(row, model, device, references[row.formula])
            groups = copied(model, device)
            for weight, gradient in zip(parameters(groups), shared, strict=True):
                weight.grad = gradient
            steps[row.name] = row.build(groups).step
        except ImportError:
            remarks[row.name] = f"not installed: pip install {row.package}"
    lines = []
    for n in threads:
        torch.set_num_threads(n)
        wait = torch.cuda.synchronize if device == "cuda" else lambda: None
        found = timed(steps, lambda: torch._foreach_copy_(shared, gradients), wait, rounds)
        where = torch.cuda.get_device_name() if device == "cuda" else f"{n} thread{'s' * (n > 1)}"
        lines += [f"## {where}", "", *table(found, remarks, rows), ""]
    return lines


def installed() -> str:
    """Returns the versions of timm and pytorch_optimizer."""
    found = []
    for package in ("timm", "pytorch_optimizer"):
        try:
            found.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"no {package}")
    return ", ".join(found)


def document(lines: Sequence[str], model: nn.Module, flags: argparse.Namespace) -> str:
    """Returns the content of FILE.md."""
    tensors = list(model.parameters())
    numbers = sum(tensor.numel() for tensor in tensors)
    asked = f"--threads {','.join(map(str, flags.threads))} --device {flags.device} --rounds {flags.rounds}"
    assert __doc__ is not None
    return "\n".join(
        [
            "# A step of LARS and of LAMB",
            "",
            f"    python benchmarks/optimizers.py {asked} --write docs/results/optimizers.md",
            "",
            f"{time.strftime('%Y-%m-%d')}; {machine(1).rpartition(', ')[0]}; {versions()}, {installed()}.",
            f"{len(tensors)} tensors, {numbers:,} numbers, float32; {flags.rounds} rounds: medians (quartiles).",
            "",
            *__doc__.split("\n\n", 2)[2].splitlines(),
            "",
            *lines,
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=lambda text: [int(n) for n in text.split(",")], default=[1, 2])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--write", type=Path, help="a Markdown file")
    flags = parser.parse_args()
    torch.manual_seed(0)
    model = importlib.import_module("hpc_adabatch.tasks.vision").models.resnet50()
    text = document(measure(model, flags.device, flags.threads, flags.rounds), model, flags)
    print(text)
    if flags.write is not None:
        flags.write.parent.mkdir(parents=True, exist_ok=True)
        flags.write.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
