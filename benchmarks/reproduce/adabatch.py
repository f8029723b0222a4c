"""AdaBatch: Devarakonda, Naumov & Garland 2017, https://arxiv.org/abs/1712.02029, sections 4.1 and 4.2."""

from __future__ import annotations

from typing import ClassVar

from study import Claim, Found, Row, Study, behind, mean, within

LEVELS = 5  # batches r, 2r, 4r, 8r, 16r
DECAY = "--learning_rate.decay step --learning_rate.gamma 0.375"  # of the fixed batch, where the adaptive one doubles


class AdaBatch(Study):
    """A batch that doubles four times, where a fixed batch would have its learning rate multiplied by 0.375."""

    name = "adabatch"
    title = "AdaBatch (1712.02029): a batch that doubles, beside fixed ones"
    recipe = "cifar10-resnet20-adabatch.yaml"
    settings: ClassVar[dict[str, str]] = {
        "quick": "--model narrow_cnn_bn --task.image_size 16 --task.padding 2 --epochs 20 --max_micro_batch 64"
        " --precision float32 --channels_last false",
        "full": "",
    }
    about = (
        "Quick: narrow_cnn_bn (BatchNorm, 33,946 parameters) on 20,000 images at 16x16, base batch 32, 20 epochs, the "
        "batch doubling every 4; micro-batches of at most 64, which is where these cores are quickest, so BatchNorm "
        "sees at most 64 images at once in every row. Full: ResNet-20 on all images, 128 to 2048 in 100 epochs, as in "
        "the paper."
    )
    by = "wall_s"

    def rows(self, setting: str) -> list[Row]:
        base, epochs = (32, 20) if setting == "quick" else (128, 100)
        part, large, medium = epochs // LEVELS, 16 * base, 4 * base
        falls = f"{DECAY} --learning_rate.milestones [{','.join(str(part * n) for n in range(1, LEVELS))}]"
        doubles = f"--policy adabatch --policy.interval {part} --policy.lr_factor 0.75"
        up = f"--learning_rate.warmup fixed --learning_rate.warmup_epochs {epochs / 20:g}"
        warm = f"--learning_rate.scaling linear --learning_rate.reference_batch {base} {up}"
        fixed = f"--policy fixed {falls} --max_global_batch {16 * medium}"
        return [
            Row(name="fixed small", flags=f"{fixed} --global_batch {base}", says=f"batch {base}, rate x 0.375"),
            Row(
                name="adabatch",
                flags=f"{doubles} --global_batch {base} --max_global_batch {large}",
                says=f"batch {base} to {large}, rate x 0.75",
            ),
            Row(name="fixed large", flags=f"{fixed} --global_batch {large}", says=f"batch {large}, the same rates"),
            Row(
                name="fixed large, scaled",
                flags=f"{fixed} --global_batch {large} {warm}",
                says=f"batch {large}, rate x 16 after a warm-up",
            ),
            Row(
                name="fixed medium, scaled",
                flags=f"{fixed} --global_batch {medium} {warm}",
                says=f"batch {medium}, rate x 4 after a warm-up",
            ),
            Row(
                name="adabatch from medium",
                flags=f"{doubles} --global_batch {medium} --max_global_batch {16 * medium} {up} --optimizer.lr 0.04",
                says=f"batch {medium} to {16 * medium}, rate x 4 after a warm-up",
            ),
        ]

    def claims(self, found: Found) -> list[Claim]:
        made: list[Claim] = []
        small = found.get("fixed small")
        if small and (grown := found.get("adabatch")):
            ratio = mean(small, "updates") / mean(grown, "updates")
            text = "five levels of a doubling batch take 2.58 times fewer updates (to 1 %)"
            made.append(Claim(text=text, numbers=f"{ratio:.3f} times", holds=abs(ratio / (5 / 1.9375) - 1) <= 0.01))
            text = "adabatch: best accuracy within 1 point of the small fixed batch"
            made.append(within(found, "adabatch", "fixed small", 1.0, text))
            ratio = mean(small, "wall_s") / mean(grown, "wall_s")
            text = "adabatch takes less time than the small fixed batch, which is its own start batch"
            made.append(Claim(text=text, numbers=f"{ratio:.2f} times quicker", holds=ratio > 1))
        if small and found.get("fixed large"):
            text = "the large fixed batch at the same rates loses 3 points or more"
            made.append(behind(found, "fixed large", "fixed small", 3.0, text))
        if (medium := found.get("fixed medium, scaled")) and (grown := found.get("adabatch from medium")) and small:
            to_own, to_small = (mean(runs, "wall_s") / mean(grown, "wall_s") for runs in (medium, small))
            text = "from a start batch four times larger: quicker than that batch fixed, and than the smallest batch"
            numbers = f"{to_own:.2f} and {to_small:.2f} times quicker"
            made.append(Claim(text=text, numbers=numbers, holds=min(to_own, to_small) > 1))
            text = "from a start batch four times larger: within 1 point of the smallest batch"
            made.append(within(found, "adabatch from medium", "fixed small", 1.0, text))
        return made
