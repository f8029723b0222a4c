"""LEGW: You et al. 2019, https://arxiv.org/abs/1901.08256, section 5: LSTMs at 4, 16 and 64 times the base batch."""

from __future__ import annotations

from typing import ClassVar

from study import Claim, Found, Row, Study, mean

FACTORS = (1, 4, 16, 64)
GOYAL_EPOCHS = 1  # of warm-up, for the row that scales linearly


class Legw(Study):
    """The rate and the warm-up tuned once, at the base batch, then scaled by the rule."""

    rate: float
    """Tuned at the base batch (``--tune`` shows the grid)."""
    warmup_epochs: float
    """Likewise."""
    base: int

    def rows(self, setting: str) -> list[Row]:
        common = f"--policy fixed --optimizer.lr {self.rate:g} --learning_rate.reference_batch {self.base}"
        legw = f"{common} --learning_rate.preset legw --learning_rate.warmup_epochs {self.warmup_epochs:g}"
        rows = [
            Row(name=f"LEGW k = {k}", flags=f"{legw} --global_batch {k * self.base}", says=f"batch {k * self.base}")
            for k in FACTORS
        ]
        for k in FACTORS[2:]:
            batch = f"--global_batch {k * self.base}"
            linear = "--learning_rate.scaling linear --learning_rate.warmup fixed"
            linear += f" --learning_rate.warmup_epochs {GOYAL_EPOCHS}"
            plain = "--learning_rate.scaling sqrt --learning_rate.warmup none --learning_rate.warmup_epochs 0"
            rows += [
                Row(name=f"linear k = {k}", flags=f"{common} {linear} {batch}", says="rate x k, warm-up of an epoch"),
                Row(name=f"sqrt k = {k}", flags=f"{common} {plain} {batch}", says="rate x sqrt(k), no warm-up"),
            ]
        rest = "--learning_rate.scaling none --learning_rate.warmup none --learning_rate.warmup_epochs 0"
        batch = f"--global_batch {FACTORS[-1] * self.base}"
        rows.append(Row(name=f"same rate k = {FACTORS[-1]}", flags=f"{common} {rest} {batch}", says="rate as at k = 1"))
        return rows

    def drop(self, found: Found, row: str) -> float:
        """By how much a row is worse than k = 1: points of accuracy, or percent of perplexity."""
        one, other = mean(found["LEGW k = 1"]), mean(found[row])
        return 100 * (one - other) if found[row][0].larger_is_better else 100 * (other / one - 1)

    def claims(self, found: Found) -> list[Claim]:
        made: list[Claim] = []
        if "LEGW k = 1" not in found:
            return made
        larger = found["LEGW k = 1"][0].larger_is_better
        unit, limit = ("points", 0.5) if larger else ("% of perplexity", 2.0)
        for k in FACTORS[1:]:
            name = f"LEGW k = {k}"
            if name in found:
                lost = self.drop(found, name)
                text = f"{name}: at most {limit:g} {unit} worse than k = 1" + (" (stated as it is)" if k == 64 else "")
                made.append(Claim(text=text, numbers=f"{lost:+.2f} {unit} worse", holds=lost <= limit))
        if (name := "linear k = 64") in found:
            lost, diverged = self.drop(found, name), sum(run.diverged for run in found[name])
            least = 3.0 if larger else 10.0
            text = f"{name}: diverges or is {least:g} {unit} worse"
            numbers = f"{lost:+.2f} {unit} worse, {diverged} of {len(found[name])} diverged"
            made.append(Claim(text=text, numbers=numbers, holds=lost >= least or diverged == len(found[name])))
        return made


class LegwRows(Legw):
    """An LSTM that reads images row by row."""

    name = "legw-rows"
    title = "LEGW (1901.08256): an LSTM over the rows of images"
    recipe = "cifar10-row-lstm-legw.yaml"
    rate, warmup_epochs, base = 0.1, 0.1, 32
    settings: ClassVar[dict[str, str]] = {"quick": "--epochs 20 --max_micro_batch 256", "full": "--epochs 50"}
    about = (
        "Quick: one layer of 128 units over the 32 rows of 32x32 images, 20,000 of them, base batch 32 (64 times that: "
        "10 updates an epoch), 20 epochs. Full: all images, 50 epochs. Rate and warm-up were tuned at k = 1 alone."
    )


class LegwText(Legw):
    """A word-level language model."""

    name = "legw-text"
    title = "LEGW (1901.08256): a word-level language model"
    recipe = "text-lstm-legw.yaml"
    needs = "text"
    rate, warmup_epochs, base = 1.0, 0.1, 8
    settings: ClassVar[dict[str, str]] = {"quick": "", "full": ""}
    about = "Quick: to be sized."
