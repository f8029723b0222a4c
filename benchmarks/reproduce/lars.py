"""LARS: You, Gitman & Ginsburg 2017, https://arxiv.org/abs/1708.03888, sections 3 and 5."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import ClassVar

from study import Claim, Found, Row, Study, behind, points, within

LARGER = 32  # times the base batch
RATES = (16, 22, 32, 45, 64, 90)
SGD_FACTORS = (1, 2, 4, 8, 16)  # of the base rate


class Lars(Study):
    """A batch 32 times larger, with LARS and with plain SGD.

    Attributes:
        epochs: number of epochs in each setting.
        warmup: warm-up of the large batches, as a part of the epochs.
        base: batch and rate of small-batch SGD in each setting; the rate is the best of ``grid``, which the page shows.
        grid: rates tried for small-batch SGD in the quick setting; empty where none was tried.
    """

    name = "lars"
    title = "LARS (1708.03888) at 32 times the base batch"
    recipe = "cifar10-resnet20-lars.yaml"
    epochs: ClassVar[Mapping[str, int]] = {"quick": 20, "full": 100}
    warmup: float = 0.15
    base: ClassVar[Mapping[str, tuple[int, float]]] = {"quick": (32, 0.02), "full": (128, 0.1)}
    grid: tuple[float, ...] = ()
    settings: ClassVar[dict[str, str]] = {
        "quick": "--model narrow_cnn_bn --task.image_size 16 --task.padding 2 --epochs 20 --max_micro_batch 64"
        " --precision float32 --channels_last false",
        "full": "",
    }
    about = (
        "Quick: narrow_cnn_bn (BatchNorm; 33,946 parameters) on 20,000 images at 16x16, 20 epochs, "
        "base batch 32, large batch 1024 (20 updates an epoch). Full: ResNet-20 on all images, 128 against "
        "4096, 100 epochs. All rows: poly decay of power 2; large batches: warm-up over 15 % of the epochs; momentum "
        "0.9; trust ratios for biases too."
    )

    def rows(self, setting: str) -> list[Row]:
        base, rate = self.base[setting]
        large = LARGER * base
        sgd = "--optimizer sgd --optimizer.weight_decay 5e-4"
        warm = f"--learning_rate.warmup fixed --learning_rate.warmup_epochs {self.warmup * self.epochs[setting]:g}"
        at_large = f"--global_batch {large} {warm}"
        tried = self.grid if setting == "quick" else ()
        own = "" if tried else f"--optimizer.lr {rate:g} "
        rows = [
            Row(
                name="SGD, base batch",
                flags=f"{sgd} {own}--global_batch {base} --learning_rate.warmup none --learning_rate.warmup_epochs 0",
                grid={f"rate {value:g}": f"--optimizer.lr {value:g}" for value in tried},
                says=f"batch {base}, " + ("the best of the grid" if tried else f"rate {rate:g}"),
            )
        ]
        rows += [
            Row(name=f"LARS {value}", flags=f"{at_large} --optimizer.lr {value}", says=f"batch {large}, rate {value}")
            for value in RATES
        ]
        plain = f"{at_large} {sgd} --optimizer.lr"
        linear = f"{plain} {LARGER * rate:g}"
        grid = {f"rate {factor * rate:g}": f"{plain} {factor * rate:g}" for factor in SGD_FACTORS}
        rows += [
            Row(name="SGD, linear", flags=linear, says=f"batch {large}, rate {LARGER * rate:g}"),
            Row(name="SGD, tuned", grid=grid, says=f"batch {large}, the best of the grid"),
        ]
        return rows

    def claims(self, found: Found) -> list[Claim]:
        base, made = "SGD, base batch", []
        complete = [rate for rate in RATES if f"LARS {rate}" in found]
        if base in found and complete:
            best = max(complete, key=lambda rate: points(found, f"LARS {rate}", base))
            made.append(
                within(found, f"LARS {best}", base, 1.0, f"LARS (best: rate {best}) within 1 point of the base")
            )
            good = [rate for rate in complete if points(found, f"LARS {rate}", base) >= -1.0]
            wide = range_without_holes(complete, good)
            text = "over a range of rates of 4 times or more"
            numbers = f"within 1 point at {', '.join(map(str, good)) or 'none'} of {', '.join(map(str, complete))}"
            made.append(Claim(text=text, numbers=numbers, holds=wide >= 4))
        if base in found and "SGD, linear" in found:
            text = "SGD at the linearly scaled rate diverges or loses more than 5 points"
            made.append(behind(found, "SGD, linear", base, 5.0, text))
        if base in found and "SGD, tuned" in found and complete:
            best = max(complete, key=lambda rate: points(found, f"LARS {rate}", base))
            gap = points(found, f"LARS {best}", "SGD, tuned")
            text = "LARS above the best tuned SGD (the paper's claim against scaled SGD; tuned SGD comes close)"
            made.append(Claim(text=text, numbers=f"{gap:+.2f} points", holds=gap > 0))
        return made


def range_without_holes(tried: Sequence[float], good: Sequence[float]) -> float:
    """Returns largest over smallest rate of the widest run of good rates without a bad one; 0 if none is good."""
    spans = [list(rates) for fits, rates in groupby(sorted(tried), key=lambda rate: rate in good) if fits]
    return max((span[-1] / span[0] for span in spans), default=0.0)


class LarsPlain(Lars):
    """LARS on images as they are, without crops and mirroring."""

    name = "lars-plain"
    title = "LARS (1708.03888) at 32 times the base batch, images as they are"
    epochs: ClassVar[Mapping[str, int]] = {"quick": 30, "full": 100}
    warmup = 0.05
    base: ClassVar[Mapping[str, tuple[int, float]]] = {"quick": (32, 0.08), "full": (128, 0.1)}
    grid = (0.02, 0.04, 0.08, 0.16)
    settings: ClassVar[dict[str, str]] = {
        "quick": "--model narrow_cnn_bn --task.image_size 16 --task.augment false --epochs 30 --max_micro_batch 64"
        " --precision float32 --channels_last false",
        "full": "--task.augment false",
    }
    about = (
        "Quick: narrow_cnn_bn (BatchNorm; 33,946 parameters) on 20,000 images at 16x16, no random crops, no "
        "mirroring, 30 epochs, base batch 32 at the best rate of a grid, large batch 1024 (20 updates an epoch). "
        "Full: ResNet-20 on all images, 128 against 4096, 100 epochs. All rows: poly decay of power 2; large batches: "
        "warm-up over 5 % of the epochs; momentum 0.9; trust ratios for biases too. Leaving the images as they are, "
        "and the lengths of training and warm-up, were chosen on seed 0 by what rates 14 to 80 and linear scaling "
        "gave there, so seed 0 is no independent evidence. With crops and mirroring: lars."
    )
