"""Trains with every rule for the batch beside fixed batches, and writes a table and a picture.

    python benchmarks/rules.py --task digits [--seeds 0,1,2] [--write docs/results/rules-digits.md]
    python benchmarks/rules.py --task cifar --images DIR [--only noise_scale,smith] [--ranks 2] [--out DIR]

Rules run with their defaults; none is tuned. Three rows are fixed batches: ``fixed_small`` is the batch that the rules
start with, ``fixed_large`` is their maximum at the same learning rate, and ``fixed_large_tuned`` is their maximum with
sqrt scaling, warm-up and the best of FACTORS times the learning rate, chosen by the first seed's final accuracy.

Runs are trained one after another, seed by seed. Finished runs are kept in OUT/cells, so the command can be stopped at
any time, and the next start continues with the missing ones; failed runs are repeated with --retry only. DIR for cifar
holds train/CLASS/FILE and test/CLASS/FILE: CIFAR-10 (https://www.cs.toronto.edu/~kriz/cifar.html) saved as images.
"""

from __future__ import annotations

import argparse
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from cells import Cell
from images import few_images
from table import Row, write_table

from hpc_adabatch.command_line import parse_recipe
from hpc_adabatch.errors import InputError

Recipe = dict[str, Any]
SGD = {"name": "sgd", "momentum": 0.9, "weight_decay": 5e-4}
RECIPES: dict[str, Recipe] = {
    "digits": {  # recipes/quickstart.yaml at a learning rate that suits its first batch: at 0.05 all of 256 do better
        "task": {"name": "digits", "augment": True},
        "model": "small_cnn",
        "global_batch": 16,
        "max_global_batch": 256,
        "max_micro_batch": 256,
        "epochs": 30,
        "measure_every": 10,  # so that runs can be repeated
        "optimizer": SGD | {"lr": 0.01},
    },
    "cifar": {  # reduced until a run takes about a minute on two cores; no BatchNorm, so that a gradient is exact
        "task": {"name": "image_folder", "root": "", "image_size": 16, "augment": True, "padding": 2}
        | {"mean": [0.4914, 0.4822, 0.4465], "std": [0.2023, 0.1994, 0.2010]},
        "model": "narrow_cnn",
        "global_batch": 32,
        "max_global_batch": 1024,
        "max_micro_batch": 64,  # where two cores are quickest
        "epochs": 10,
        "measure_every": 10,
        "optimizer": SGD | {"lr": 0.01},
    },
}
TUNED = "fixed_large_tuned"
FACTORS = (0.5, 1, 2, 4)  # of the learning rate, besides sqrt scaling


def rows(recipe: Recipe) -> dict[str, tuple[str, ...]]:
    """Returns the flags of each row; those of the tuned row come from ``tuned``."""
    epochs, large = recipe["epochs"], recipe["max_global_batch"]
    milestones = ",".join(f"{part * epochs:g}" for part in (0.3, 0.6, 0.8))  # 60, 120, 160 of 200 in 1711.00489
    adascale = "--learning_rate.scaling adascale --learning_rate.clock samples"  # as many passes as the others
    texts = {
        "fixed_small": "--policy fixed",
        "fixed_large": f"--policy fixed --global_batch {large}",
        TUNED: "",
        "adabatch": f"--policy adabatch --policy.interval {epochs / 5:g}",  # 20 of 100 in 1712.02029
        "smith": f"--policy smith --policy.milestones [{milestones}]",
        "seesaw": f"--policy seesaw --policy.milestones [{milestones}]",
        "plateau": "--policy plateau",
        "noise_scale": "--policy noise_scale",
        "noise_scale_adascale": f"--policy noise_scale {adascale}",
        "norm_test": "--policy norm_test --policy.signal raw",  # debiased, at theta 1, it is noise_scale
        "inner_product": "--policy inner_product",
        "cabs": "--policy cabs",
        "simigrad": "--policy simigrad",
        "goodput": "--policy goodput",
        "big_batch": "--policy big_batch",
        "big_batch_armijo": "--policy big_batch --optimizer armijo",
        "big_batch_bb": "--policy big_batch --optimizer barzilai_borwein",
    }
    return {name: tuple(text.split()) for name, text in texts.items()}


def tuned(recipe: Recipe, factor: float) -> tuple[str, ...]:
    """Returns the flags of the large fixed batch with its learning rate times ``factor``."""
    large, rate = recipe["max_global_batch"], recipe["optimizer"]["lr"] * factor
    text = (
        f"--policy fixed --global_batch {large} --optimizer.lr {rate:g}"
        f" --learning_rate.scaling sqrt --learning_rate.reference_batch {recipe['global_batch']}"
        f" --learning_rate.warmup fixed --learning_rate.warmup_epochs {recipe['epochs'] / 10:g}"
    )
    return tuple(text.split())


def missing(recipe: Path, flags: tuple[str, ...]) -> str | None:
    """Returns why the package cannot run this row, or None if it can."""
    try:
        parse_recipe("train", [str(recipe), *flags])
    except InputError as error:
        names = ("policy", "optimizer", "learning_rate.scaling")
        return "not there" if error.field.removesuffix(".name") in names else str(error)
    return None


def read_flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", required=True, choices=list(RECIPES))
    parser.add_argument("--images", type=Path, help="folder of CIFAR-10's images; for cifar")
    parser.add_argument(
        "--seeds", default="0,1,2", help="seeds of the rows; the first also chooses the learning rate of the tuned row"
    )
    parser.add_argument("--only", help="rows to run; the table shows all that there are")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--out", type=Path, help="folder of the runs; runs/rules-TASK when not given")
    parser.add_argument("--write", type=Path, help="the table's file; printed when not given")
    parser.add_argument("--limit_s", type=float, default=1200, help="seconds after which a run has failed")
    parser.add_argument("--retry", action="store_true", help="repeat failed runs")
    flags = parser.parse_args()
    if flags.task == "cifar" and (flags.images is None or not (flags.images / "train").is_dir()):
        parser.error(f"--images: given {flags.images}; wanted: a folder that holds train/ and test/")
    flags.out = (flags.out or Path("runs") / f"rules-{flags.task}").resolve()
    flags.seeds = [int(seed) for seed in flags.seeds.split(",")]
    names = list(rows(RECIPES[flags.task]))
    flags.only = flags.only.split(",") if flags.only else names
    if unknown := set(flags.only) - set(names):
        parser.error(f"--only: given {', '.join(unknown)}; allowed: {', '.join(names)}")
    return flags


def write_recipe(flags: argparse.Namespace) -> tuple[Path, Recipe]:
    recipe = RECIPES[flags.task]
    flags.out.mkdir(parents=True, exist_ok=True)
    if flags.task == "cifar":
        folder = flags.out / "images"
        few_images(flags.images, folder)
        recipe = recipe | {"task": recipe["task"] | {"root": str(folder)}}
    path: Path = flags.out / f"{flags.task}.yaml"
    path.write_text(yaml.safe_dump(recipe, sort_keys=False), encoding="utf-8")
    return path, recipe


def accuracy(cell: Cell) -> float:
    """Returns the accuracy after the last epoch; -1 for a run without result."""
    result = cell.result()
    return result["metric"]["value"] if result is not None else -1.0


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # leaves through launch(), which ends the ranks
    flags = read_flags()
    path, recipe = write_recipe(flags)
    cell = partial(Cell, recipe=path, ranks=flags.ranks, folder=flags.out / "cells")
    first = flags.seeds[0]
    grid = [cell(name=f"{TUNED}_x{factor:g}", seed=first, flags=tuned(recipe, factor)) for factor in FACTORS]
    table: list[Row] = []
    for name, its_flags in rows(recipe).items():
        cells = [] if name == TUNED else [cell(name=name, seed=seed, flags=its_flags) for seed in flags.seeds]
        table.append(Row(name, cells, missing(path, its_flags)))

    def settle() -> None:
        """Makes the tuned row the best of the grid, once all of the grid is known."""
        row = next(row for row in table if row.name == TUNED)
        if all(trial.result() or trial.failure() for trial in grid) and any(trial.result() for trial in grid):
            best = max(grid, key=accuracy)
            row.cells = [best.with_seed(seed) for seed in flags.seeds]
            row.note = best.name.removeprefix(f"{TUNED}_")

    def run(one: Cell) -> None:
        if one.result() is None and (flags.retry or one.failure() is None):
            print(f"{one.run.name} ...", end=" ", flush=True)
            one.train(flags.limit_s)
            result = one.result()
            print(
                one.failure() if result is None else f"{accuracy(one):.4f} after {result['wall_s']:.0f} s", flush=True
            )

    stopped = False
    try:
        for number, _ in enumerate(flags.seeds):
            for row in table:
                if row.name not in flags.only or row.missing:
                    continue
                if row.name == TUNED and number == 0:
                    for trial in grid:
                        run(trial)
                    settle()
                if row.cells:
                    run(row.cells[number])
    except KeyboardInterrupt:
        stopped = True
        print("stopped; the same command goes on from here")
    settle()
    write_table(table, grid, recipe, flags)
    sys.exit(130 if stopped else 0)


if __name__ == "__main__":
    main()
