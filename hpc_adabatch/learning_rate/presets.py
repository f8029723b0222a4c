"""Published schedules by one word.

legw     You et al. 2019, 1901.08256: warm-up as in its ResNet-50 at batch 512
goyal    Goyal et al. 2017, 1706.02677, sections 2.1 and 2.2: from the base learning rate to k times it in 5 epochs
"""

from collections.abc import Mapping
from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    "none": {},
    "legw": {"scaling": "sqrt", "warmup": "legw", "warmup_epochs": 10 / 64},
    "goyal": {"scaling": "linear", "warmup": "fixed", "warmup_epochs": 5.0, "warmup_start": "base"},
}


def left_to_preset(preset: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the preset's values of the fields that are not given; length and start go with its warm-up.

    Args:
        preset: Name of the preset.
        given: Fields that are given, with their values.
    """
    stays = given.get("warmup", "") not in ("none", "auto")
    return {
        field: value
        for field, value in PRESETS[preset].items()
        if field not in given and (stays or not field.startswith("warmup"))
    }
