"""Trains on CIFAR-10 images with a batch that grows early, late or not at all, over as many samples.

    python benchmarks/late_switch.py --images DIR [--seeds 3] [--epochs 6] [--write docs/results/late-switch.md]

DIR holds train/CLASS/*.jpg and test/CLASS/*.jpg. 10,000 of these images at 16x16 pixels, cropped and mirrored, are
learnt by a narrow network without BatchNorm, by SGD with momentum 0.9 at a constant rate: the batch alone takes the
place of a decay. Batches are written down (``policy: schedule``), as in recipes/cifar10-resnet20-late-switch.yaml:

    small           32 throughout, at the best of its rates
    large           512 throughout, at the same rate
    large, tuned    512 throughout, at the best of its own rates
    early           32, and 512 from a quarter of the run on, at the rate of 32
    late            32, and 512 from three quarters on, at the rate of 32 (2602.14208)

Rates are chosen of three, with one seed that the table has not; one at their end may have a better one beyond.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from images import few_images
from machine import machine, versions
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

import hpc_adabatch as hab
from hpc_adabatch.cluster import SingleProcess
from hpc_adabatch.tasks.image_folder import ImageFolder
from hpc_adabatch.tasks.models.narrow_cnn import NarrowCnn
from hpc_adabatch.tasks.task import TaskData

TUNED_ON = 100
SMALL, LARGE = 32, 512
RATES, FACTORS = (0.005, 0.01, 0.02), (1, 4, 16)


@dataclass(frozen=True)
class Outcome:
    """What a run has come to."""

    accuracy: float
    """The part of the test set that it knows, in %."""
    loss: float
    """The mean loss over the test set."""
    updates: int
    """Its steps."""


def run(data: TaskData, seed: int, epochs: int, text: str, lr: float) -> Outcome:
    """Trains once, with the batches of a schedule."""
    torch.manual_seed(seed)
    model = NarrowCnn(10)
    policy = hab.Schedule(text=text)
    training = hab.AdaptiveTraining(
        model,
        torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9),
        hab.AdaptiveBatches(
            data.train, policy.initial_batch, max_global_batch=LARGE, seed=seed, transform=data.augment
        ),
        cluster=SingleProcess(),
        policy=policy,
    )
    for epoch in range(epochs):
        for step in training.epoch(epoch):
            for x, y in step:
                step.backward(cross_entropy(model(x), y))
            step.update()
    model.eval()
    logits, targets = [], []
    with torch.no_grad():
        for pixels, labels in DataLoader(data.test, batch_size=500):
            logits.append(model(data.prepare(pixels)))
            targets.append(labels)
    outputs, labels = torch.cat(logits), torch.cat(targets)
    accuracy = 100 * float((outputs.argmax(1) == labels).float().mean())
    return Outcome(accuracy, float(cross_entropy(outputs, labels)), training.steps)


def row(name: str, text: str, lr: float, found: list[Outcome]) -> str:
    """Returns the line of an arm."""
    accuracies, losses = [one.accuracy for one in found], [one.loss for one in found]
    cells = (
        name,
        f"`{text}`",
        f"{lr:g}",
        f"{found[0].updates:,}",
        f"{statistics.mean(accuracies):.2f} ± {statistics.stdev(accuracies):.2f}",
        f"{statistics.mean(losses):.4f} ± {statistics.stdev(losses):.4f}",
    )
    return f"| {' | '.join(cells)} |"


def rows(data: TaskData, seeds: int, epochs: int) -> Iterator[str]:
    """Yields the lines of the table."""

    def best(text: str, rates: list[float]) -> float:
        found = [run(data, TUNED_ON, epochs, text, lr).accuracy for lr in rates]
        print(text, dict(zip(rates, found, strict=True)), flush=True)
        return rates[found.index(max(found))]

    lr = best(f"0:{SMALL}", list(RATES))
    own = best(f"0:{LARGE}", [lr * factor for factor in FACTORS])
    for name, text, rate in (
        ("small", f"0:{SMALL}", lr),
        ("large", f"0:{LARGE}", lr),
        ("large, tuned", f"0:{LARGE}", own),
        ("early", f"0:{SMALL} {epochs / 4:g}ep:{LARGE}", lr),
        ("late", f"0:{SMALL} {3 * epochs / 4:g}ep:{LARGE}", lr),
    ):
        yield row(name, text, rate, [run(data, seed, epochs, text, rate) for seed in range(seeds)])


def main() -> None:
    """Trains all, and prints or writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--write", type=Path)
    flags = parser.parse_args()
    few = Path("runs") / "late-switch" / "images"
    few.parent.mkdir(parents=True, exist_ok=True)
    few_images(flags.images, few)
    data = ImageFolder(root=str(few), image_size=16, padding=2).load()
    train, test = (TensorDataset(*(tensor[::2] for tensor in part.tensors)) for part in (data.train, data.test))
    data = replace(data, train=train, test=test)
    about = (__doc__ or "").split("\n\n")
    lines = [
        "# A batch that grows early, late or not at all",
        "",
        f"    python benchmarks/late_switch.py --images DIR --seeds {flags.seeds} --epochs {flags.epochs}",
        "",
        f"{machine(1, os.cpu_count())}; {versions()}.",
        f"Mean and standard deviation over {flags.seeds} seeds, after {flags.epochs} epochs of {len(train):,} images.",
        "",
        "| arm | batches | rate | updates | test accuracy in % | test loss |",
        "|---|---|---|---|---|---|",
    ]
    for line in rows(data, flags.seeds, flags.epochs):
        print(line, flush=True)
        lines.append(line)
    lines += ["", about[2].replace("``", "`"), "", about[3], "", about[4]]
    if flags.write:
        flags.write.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
