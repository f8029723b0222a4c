"""Big Batch SGD: De, Yadav, Jacobs & Goldstein 2017, https://arxiv.org/abs/1610.05792, section 6.2.

The convex problems of the paper are in benchmarks/big_batch_convex.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from study import Claim, Found, Row, Study, mean, within

PUBLISHED = "Big Batch, Armijo"
LAXER = "Big Batch, Armijo, theta 1.15"
AVERAGED = "norm test on averages, rising Armijo"
BASELINE = "SGD: momentum 0.9, rate divided by 10 after half and after three quarters, the best rate of a grid."
RISING = "--optimizer.decrease 0.3 --optimizer.rise 2"


class BigBatch(Study):
    """A batch that grows by its own test and a step size that is searched, with no learning rate or decay to tune.

    The paper tests each step alone, and lets neither a batch shrink nor a step size rise again, so the noisiest steps
    decide. One row is ours: the same test on averages over half an epoch (policies/norm_test.py), and a step size that
    rises again between its falls, as in Vaswani et al. 2019 (optim/armijo.py).

    Attributes:
        epochs: number of epochs in each setting.
        rates: learning rates that are tried for SGD.
    """

    epochs: ClassVar[Mapping[str, int]]
    rates: tuple[float, ...]

    def rows(self, setting: str) -> list[Row]:
        epochs = self.epochs[setting]
        falls = f"--learning_rate.decay step --learning_rate.milestones [{epochs // 2},{3 * epochs // 4}]"
        sgd = f"--policy fixed --optimizer sgd --optimizer.momentum 0.9 {falls}"
        return [
            Row(
                name="SGD, tuned",
                grid={f"rate {rate:g}": f"{sgd} --optimizer.lr {rate:g}" for rate in self.rates},
                says="fixed batch, decaying rate, the best of the grid",
            ),
            Row(name=PUBLISHED, flags="", says="theta 1 as in the paper; step sizes by backtracking"),
            Row(
                name=LAXER,
                flags="--policy.theta 1.15 --policy.pieces 4",
                says="a laxer test, so that the batch grows later",
            ),
            Row(
                name=AVERAGED,
                flags=f"--policy norm_test --policy.theta 3 --measure_every 5 {RISING}",
                says="ours: the test on averages over half an epoch; the step size doubles in an epoch until it fails",
            ),
        ]

    def claims(self, found: Found) -> list[Claim]:
        made = []
        for name in (PUBLISHED, LAXER, AVERAGED):
            if "SGD, tuned" in found and name in found:
                text = f"{name}: within 1.5 points of tuned SGD with decay"
                made.append(within(found, name, "SGD, tuned", 1.5, text))
        for name in (PUBLISHED, AVERAGED):
            if name in found:
                final, first = mean(found[name], "final_batch"), found[name][0].batches[0][1]
                falls = any(factor < 1 for run in found[name] for factor in run.growths)
                text = f"{name}: the batch grew by itself, and never shrank"
                made.append(Claim(text=text, numbers=f"{first} to {final:.0f}", holds=not falls and final > first))
        return made


class BigBatchImages(BigBatch):
    """Big Batch SGD on CIFAR-10's images, with crops and mirroring."""

    name = "big-batch"
    title = "Big Batch SGD (1610.05792) on a convolutional network"
    recipe = "cifar10-cnn-big-batch.yaml"
    epochs: ClassVar[Mapping[str, int]] = {"quick": 30, "full": 100}
    rates: tuple[float, ...] = (0.005, 0.01)
    settings: ClassVar[dict[str, str]] = {
        "quick": "--model narrow_cnn --task.image_size 16 --task.padding 2 --epochs 30 --max_micro_batch 64",
        "full": "",
    }
    about = (
        "Quick: narrow_cnn (no BatchNorm, so that a batch's loss is one function of the weights; 33,834 parameters) on "
        "20,000 images at 16x16, 30 epochs, batch 32 at the start. Full: small_cnn on all images at 32x32, 100 epochs. "
        f"{BASELINE}"
    )


class BigBatchPlain(BigBatchImages):
    """Big Batch SGD on CIFAR-10's images as they are, with a network that can fit them all."""

    name = "big-batch-plain"
    title = "Big Batch SGD (1610.05792) on a convolutional network, images as they are"
    epochs: ClassVar[Mapping[str, int]] = {"quick": 20, "full": 100}
    rates = (0.005, 0.01, 0.02)
    settings: ClassVar[dict[str, str]] = {
        "quick": "--task.image_size 16 --task.augment false --epochs 20 --max_micro_batch 64",
        "full": "--task.augment false",
    }
    about = (
        "Quick: small_cnn (no BatchNorm; 151,882 parameters) on 20,000 images at 16x16, 20 epochs, batch 32 at the "
        "start. No random crops, no mirroring: the network comes to fit its images, and what it then reaches is set "
        "by them, not by the last steps. With them: big-batch. Full: all images at 32x32, 100 epochs. "
        f"{BASELINE} Network, images, epochs and, where they are used, theta 3 and the decrease of 0.3 were chosen on "
        "the first seed, in runs of one rank."
    )

    def rows(self, setting: str) -> list[Row]:
        alone = Row(
            name="fixed batch, rising Armijo",
            flags=f"--policy fixed {RISING}",
            says="what the steps of the row above do without its batch",
        )
        return [*super().rows(setting), alone]


class BigBatchDigits(BigBatch):
    """Big Batch SGD on handwritten digits: easy images, as the paper's MNIST, and part of scikit-learn."""

    name = "big-batch-digits"
    title = "Big Batch SGD (1610.05792) on handwritten digits"
    recipe = "digits-cnn-big-batch.yaml"
    needs = "nothing"
    epochs: ClassVar[Mapping[str, int]] = {"quick": 60, "full": 60}
    rates = (0.01, 0.02, 0.05)
    settings: ClassVar[dict[str, str]] = {"quick": "--max_micro_batch 64", "full": ""}
    about = (
        "small_cnn (no BatchNorm) on 1,437 digits of 8x8 pixels, shifted by up to one of them, 60 epochs, batch 32 "
        "at the start; 360 test images, so that one of them is 0.28 points. Full is the same on GPUs. "
        f"{BASELINE}"
    )
