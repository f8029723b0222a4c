"""adabatch noise: the noise scale of a model at rest, layer by layer."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.launch
RECIPE = "recipes/quickstart.yaml"


@pytest.fixture(scope="module")
def trained(adabatch: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """After one epoch the signal is well above the noise; after two it is not on every processor."""
    folder: Path = tmp_path_factory.mktemp("noise") / "run"
    adabatch("train", RECIPE, "--epochs", 1, "--out", folder, ranks=2)
    return folder


def whole(text: str) -> tuple[float, float, float]:
    """Noise scale and interval of the line for all parameters."""
    row = next(line for line in text.splitlines() if re.match(r"\W*all\W", line))
    cells = [cell.strip() for cell in row.strip("│ ").split("│")]
    low, high = cells[3].split(" to ")
    return float(cells[2]), float(low), float(high)


def test_each_layer_has_its_noise_scale_and_the_weights_stay(adabatch: Any, trained: Path) -> None:
    before = (trained / "checkpoint" / "last.pt").read_bytes()
    done = adabatch("noise", RECIPE, "--checkpoint", trained, "--steps", 100)
    for layer in ("features.0", "features.2", "head.1", "head.3"):
        assert done.stdout.count(layer) == 1
    noise_scale, low, high = whole(done.stdout)
    assert 0 < low < noise_scale < high
    assert done.stdout.count("suggested batch") == 1
    assert (trained / "checkpoint" / "last.pt").read_bytes() == before


def test_ranks_agree_with_one_process_within_the_interval(adabatch: Any, trained: Path) -> None:
    """Other pieces of the same batches: other estimates of the same number."""
    alone = whole(adabatch("noise", RECIPE, "--checkpoint", trained, ranks=1, launcher="plain").stdout)
    together = whole(adabatch("noise", RECIPE, "--checkpoint", trained, ranks=3, launcher="torchrun").stdout)
    assert max(alone[1], together[1]) < min(alone[2], together[2])


def test_branches_name_a_critical_batch(adabatch: Any, trained: Path) -> None:
    flags = ["--steps", 10, "--branches", "[1,8]", "--branch_epochs", 0.5]
    done = adabatch("noise", RECIPE, "--checkpoint", trained, *flags)
    assert re.search(r"critical batch by branches: (16|128)", done.stdout)


@pytest.mark.parametrize(
    ("field", "flags"),
    [
        ("steps", ["--steps", 1]),
        ("branches", ["--branches", "[4,2]"]),
        ("tolerance", ["--tolerance", -1]),
        ("checkpoint", ["--checkpoint", "nowhere"]),
    ],
)
def test_bad_input_is_one_line(field: str, flags: list[object], adabatch: Any) -> None:
    done = adabatch("noise", RECIPE, *flags, code=2, timeout_s=60)
    assert done.stderr.count(f"adabatch: error: {field}: given ") == 1
    assert "Traceback" not in done.stderr


def test_another_network_is_refused(adabatch: Any, trained: Path) -> None:
    done = adabatch("noise", RECIPE, "--checkpoint", trained, "--model", "resnet20", code=2)
    assert done.stderr.count("adabatch: error: checkpoint: given ") == 1
    assert json.loads((trained / "result.json").read_text(encoding="utf-8"))["steps"] > 0
