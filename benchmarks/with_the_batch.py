"""Trains with what may follow the batch beside the rate, and without it: does it help?

    python benchmarks/with_the_batch.py --images DIR [--seeds 0,1,2] [--write docs/results/with-the-batch.md]

DIR holds train/CLASS/FILE and test/CLASS/FILE: CIFAR-10 (https://www.cs.toronto.edu/~kriz/cifar.html) saved as images;
20,000 of them at 16x16 pixels, cropped and mirrored, 10 epochs with the network and the batches of rules.py.

    beta2       AdamW with a batch that doubles: beta2 a step, or over as many samples (2507.07101)
    geometry    AdamW with `noise_scale`: the noise of the gradient, or of what AdamW makes of it (2008.12260)
    average     SGD: the weights of the end, and their average over as many samples, in the same run (2307.13813)

AdamW's rate is the best of RATES at the batch of the start, by the first seed's accuracy. Finished runs are kept.
"""

from __future__ import annotations

import argparse
import signal
import statistics
import sys
from pathlib import Path

import yaml
from cells import ROOT, Cell
from images import few_images
from machine import trained
from outcome import outcome
from rules import RECIPES, Recipe, accuracy

RATES, LIMIT_S = (0.0005, 0.001, 0.002), 1200.0
AVERAGE = 0.999
GROWS = "--policy adabatch --policy.interval 2"
NOISE = "--policy noise_scale --learning_rate.scaling sqrt"
ADAMW = {
    "AdamW, batch of 32": "--policy fixed",
    "AdamW, doubling": f"{GROWS}",
    "AdamW, doubling, beta2 with the batch": f"{GROWS} --learning_rate.beta2 per_epoch",
    "AdamW, noise_scale": f"{NOISE}",
    "AdamW, noise_scale in AdamW's geometry": f"{NOISE} --noise_geometry optimizer",
}
SGD = {
    "SGD, batch of 32": f"--policy fixed --weight_average {AVERAGE}",
    "SGD, doubling": f"{GROWS} --weight_average {AVERAGE}",
}
HEAD = ("row", "what it adds", "test accuracy, %", "of averaged weights, %", "updates", "final batch")


def recipe_of(images: Path) -> Recipe:
    """Returns the recipe of all rows: that of rules.py, with AdamW."""
    base = RECIPES["cifar"]
    adamw = {"name": "adamw", "weight_decay": 0.01, "beta2": 0.999}
    return base | {"task": base["task"] | {"root": str(images)}, "optimizer": adamw}


def averaged(cell: Cell) -> float | None:
    """Returns the accuracy of the averaged weights after the last epoch; None without an average."""
    last = [record for record in cell.records() if record["kind"] == "evaluation"][-1]
    return last.get("scores", {}).get("averaged_accuracy")


def spread(values: list[float], factor: float = 100.0) -> str:
    """Returns mean and standard deviation."""
    deviation = f" ± {factor * statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{factor * statistics.mean(values):.2f}{deviation}"


def row(name: str, text: str, cells: list[Cell]) -> str:
    """Returns the line of a row."""
    done = [cell for cell in cells if cell.result() is not None]
    if not done:
        return f"| {name} | `{text}` | {next(filter(None, (cell.failure() for cell in cells)), 'not run')} |  |  |  |"
    found = [outcome(result, cell.records()) for cell in done if (result := cell.result()) is not None]
    averages = [value for cell in done if (value := averaged(cell)) is not None]
    shown = (
        *(name, f"`{text}`", spread([one.accuracy for one in found]), spread(averages) if averages else ""),
        f"{statistics.mean(one.updates for one in found):,.0f}",
        f"{statistics.mean(one.final_batch for one in found):,.0f}",
    )
    return f"| {' | '.join(shown)} |"


def main() -> None:
    """Trains what is missing, and prints or writes the page."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # leaves through launch(), which ends the ranks
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/with-the-batch"), help="folder of the runs")
    parser.add_argument("--write", type=Path)
    flags = parser.parse_args()
    out, seeds = flags.out.resolve(), [int(word) for word in flags.seeds.split(",")]
    out.mkdir(parents=True, exist_ok=True)
    few_images(flags.images, out / "images")
    recipe = recipe_of(out / "images")
    path = out / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe, sort_keys=False), encoding="utf-8")
    sgd = " ".join(f"--optimizer.{name} {value}" for name, value in RECIPES["cifar"]["optimizer"].items())
    sgd = sgd.replace("--optimizer.name", "--optimizer")

    def cell(name: str, seed: int, text: str) -> Cell:
        return Cell(
            name=name.replace(" ", "-").replace(",", "").replace("'", ""),
            seed=seed,
            flags=tuple(text.split()),
            recipe=path,
            ranks=flags.ranks,
            folder=out / "cells",
        )

    def done(one: Cell) -> Cell:
        if one.result() is None and one.failure() is None:
            print(f"{one.run.name} ...", end=" ", flush=True)
            one.train(LIMIT_S)
            print(one.failure() or f"{accuracy(one):.4f}", flush=True)
        return one

    small = next(iter(ADAMW))
    grid = {rate: done(cell(f"{small} {rate}", seeds[0], f"{ADAMW[small]} --optimizer.lr {rate}")) for rate in RATES}
    lr = max(RATES, key=lambda rate: accuracy(grid[rate]))
    asked = {name: (text, f"{text} --optimizer.lr {lr}") for name, text in ADAMW.items()}
    asked |= {name: (text, f"{text} {sgd}") for name, text in SGD.items()}
    rows = {name: (text, [cell(name, seed, whole) for seed in seeds]) for name, (text, whole) in asked.items()}
    for number in range(len(seeds)):
        for _, cells in rows.values():
            done(cells[number])
    tried = ", ".join(f"{rate}: {100 * accuracy(one):.2f}" for rate, one in grid.items())
    notes = [one.known() for _, cells in rows.values() for one in cells if one.result() is not None]
    about = (__doc__ or "").split("\n\n")
    lines = [
        "# What may follow the batch beside the rate",
        "",
        f"    python benchmarks/with_the_batch.py --images DIR --seeds {flags.seeds}",
        "",
        about[2],
        "",
        about[3],
        "",
        f"| {' | '.join(HEAD)} |",
        "|---" * len(HEAD) + "|",
        *(row(name, text, cells) for name, (text, cells) in rows.items()),
        "",
        f"± is the standard deviation over seeds {flags.seeds}. AdamW's rate is {lr}, chosen on the first seed, which",
        f"favours its first row: {tried}. SGD: {sgd.replace('--optimizer.', '').removeprefix('--optimizer ')}.",
        "",
        *trained(notes, flags.ranks),
        "",
        "The recipe:",
        "",
        *(
            f"    {line}"
            for line in yaml.safe_dump(recipe, sort_keys=False, default_flow_style=None, width=110).splitlines()
        ),
        "",
    ]
    text = "\n".join(lines).replace(str(out), "OUT").replace(f"{ROOT}/", "")
    if flags.write:
        flags.write.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
