"""LEGW: You et al. 2019, https://arxiv.org/abs/1901.08256, section 5: LSTMs at 4, 16 and 64 times the base batch."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import ClassVar

from study import Claim, Found, Row, Study, mean

FACTORS = (1, 4, 16, 64)
LINEAR_EPOCHS = 1  # of warm-up, for the rows that scale linearly


class Legw(Study):
    """LEGW with rate and warm-up tuned once, at the base batch, and scaled by the rule from there.

    Attributes:
        base: the batch at k = 1.
        rate, warmup_epochs: the best of ``grid``, which the page shows.
        grid: pairs of rate and warm-up epochs that were tried at k = 1.
        rules: start of a row's name -> flags for what else scales with k; in the paper nothing does.
    """

    base: int
    rate: float
    warmup_epochs: float
    grid: tuple[tuple[float, float], ...]
    rules: ClassVar[Mapping[str, str]] = {"LEGW": ""}

    def rows(self, setting: str) -> list[Row]:
        fixed = f"--policy fixed --learning_rate.reference_batch {self.base}"
        legw = "--learning_rate.scaling sqrt --learning_rate.warmup legw"
        tried = {
            f"rate {rate:g}, warm-up {epochs:g}": f"--optimizer.lr {rate:g} --learning_rate.warmup_epochs {epochs:g}"
            for rate, epochs in self.grid
        }
        flags = f"{fixed} {legw} --global_batch {self.base}"
        rows = [Row(name="LEGW k = 1", flags=flags, grid=tried, says=f"batch {self.base}, tuned")]
        common = f"{fixed} --optimizer.lr {self.rate:g}"
        for rule, further in self.rules.items():
            for k in FACTORS[1:]:
                scaled = f"--learning_rate.warmup_epochs {self.warmup_epochs:g} --global_batch {k * self.base}"
                flags = f"{common} {legw} {scaled} {further}".strip()
                rows.append(Row(name=f"{rule} k = {k}", flags=flags, says=f"batch {k * self.base}"))
        linear = (
            f"--learning_rate.scaling linear --learning_rate.warmup fixed --learning_rate.warmup_epochs {LINEAR_EPOCHS}"
        )
        k = FACTORS[-1]
        flags = f"{common} {linear} --global_batch {k * self.base}"
        rows.append(Row(name=f"linear k = {k}", flags=flags, says="rate x k, warm-up of an epoch"))
        return rows

    def drop(self, found: Found, row: str) -> float:
        """Returns how much worse a row is than k = 1: points of accuracy, or percent of perplexity."""
        one, other = mean(found["LEGW k = 1"]), mean(found[row])
        return 100 * (one - other) if found[row][0].larger_is_better else 100 * (other / one - 1)

    def claims(self, found: Found) -> list[Claim]:
        made: list[Claim] = []
        if "LEGW k = 1" not in found:
            return made
        larger = found["LEGW k = 1"][0].larger_is_better
        unit, limit = ("points", 0.5) if larger else ("% of perplexity", 2.0)
        for rule, k in itertools.product(self.rules, FACTORS[1:]):
            if (name := f"{rule} k = {k}") in found:
                lost = self.drop(found, name)
                text = f"{name}: at most {limit:g} {unit} worse than k = 1"
                made.append(Claim(text=text, numbers=f"{lost:+.2f} {unit} worse", holds=lost <= limit))
        if (name := "linear k = 64") in found:
            lost, diverged = self.drop(found, name), sum(run.diverged for run in found[name])
            least = 3.0 if larger else 10.0
            text = f"{name}: diverges or is {least:g} {unit} worse"
            numbers = f"{lost:+.2f} {unit} worse, {diverged} of {len(found[name])} diverged"
            made.append(Claim(text=text, numbers=numbers, holds=lost >= least or diverged == len(found[name])))
        return made


class LegwRows(Legw):
    """LEGW with an LSTM that reads images row by row."""

    name = "legw-rows"
    title = "LEGW (1901.08256): an LSTM over the rows of images"
    recipe = "cifar10-row-lstm-legw.yaml"
    base, rate, warmup_epochs = 4, 0.002, 0.025
    grid = ((0.001, 0.025), (0.002, 0.025), (0.004, 0.025))
    settings: ClassVar[dict[str, str]] = {"quick": "--epochs 10 --max_micro_batch 128", "full": ""}
    about = (
        "Quick: one layer of 128 units over the 32 rows of 32x32 images, 20,000 of them, base batch 4 (64 times that: "
        "78 updates an epoch), 10 epochs. Full: all images, 25 epochs. LAMB; rate and warm-up were tuned at k = 1 "
        "alone."
    )


class LegwRowsPlain(LegwRows):
    """LEGW on images as they are, with strong weight decay that scales with the batch or stays."""

    name = "legw-rows-plain"
    title = "LEGW (1901.08256): an LSTM over the rows of images as they are, with weight decay"
    rate, warmup_epochs = 0.004, 0.1
    grid = ((0.002, 0.1), (0.004, 0.1), (0.008, 0.1), (0.004, 0.025))
    settings: ClassVar[dict[str, str]] = {
        setting: f"{size} --task.augment false --optimizer.weight_decay 0.15 --learning_rate.power 1".strip()
        for setting, size in (("quick", "--epochs 20 --max_micro_batch 128"), ("full", ""))
    }
    seeds = (4, 5, 6)
    rules: ClassVar[Mapping[str, str]] = {"decay per epoch": "--learning_rate.weight_decay per_epoch", "LEGW": ""}
    about = (
        "Quick: one layer of 128 units over the 32 rows of 32x32 images, 20,000 of them, no crops, no mirroring, base "
        "batch 4 (64 times that: 78 updates an epoch), 20 epochs. Full: all images, 25 epochs. LAMB, weight decay of "
        "0.15, a rate that falls to 0 in a straight line; rate and warm-up were tuned at k = 1 alone. Rows named LEGW "
        "follow the paper, and weight decay stays at 0.15. With decay per epoch it is multiplied by sqrt(k), as the "
        "rate is, so that 1/k of the updates decay as much in an epoch, trust ratios aside. That is not in the paper; "
        "Bergsma et al. 2025 (2505.13738) find it for AdamW, where the rate stays. Images as they are, the epochs, the "
        "straight line, 0.15 (best at k = 1 of 0.1, 0.15 and 0.3) and the warm-ups of the grid were chosen on one rank "
        "with seeds 0 to 3, by what k = 1 and 16 gave; hence other seeds here. With crops, mirroring and little decay: "
        "legw-rows."
    )


class LegwText(Legw):
    """LEGW with a word-level language model."""

    name = "legw-text"
    title = "LEGW (1901.08256): a word-level language model"
    recipe = "text-lstm-legw.yaml"
    needs = "text"
    classes = 2000
    base, rate, warmup_epochs = 4, 1.5, 0.05
    grid = ((0.75, 0.05), (1.5, 0.05), (3.0, 0.05))
    settings: ClassVar[dict[str, str]] = {
        "quick": "--model lstm_1x128 --task.vocabulary 2000 --task.context 20 --epochs 8 --max_micro_batch 64"
        " --learning_rate.milestones [4,5,6,7]",
        "full": "",
    }
    about = (
        "Quick: one layer of 128 units, windows of 20 words after a context of 20, a vocabulary of 2,000, base batch "
        "of 4 streams, 8 epochs. At 64 times that an epoch is 43 updates and 3.2 epochs are warm-up: this text is too "
        "short for it. Full: two layers of 200 units, 10,000 words, context 35, 13 epochs. Momentum SGD, "
        "gradients clipped so that the rate alone says how long a step is. Rate and warm-up were tuned at k = 1 alone."
    )
