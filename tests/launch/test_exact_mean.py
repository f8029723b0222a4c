"""Properties 1 and 2 of CONTRIBUTING with real ranks: same weights, every sample once, however ranks are started."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

pytestmark = pytest.mark.launch
RUNS = [(launcher, ranks) for launcher in ("horovodrun --gloo", "mpirun", "torchrun") for ranks in (1, 2, 3, 4)]
RUNS += [("horovodrun --mpi", 4), ("mpirun, torch", 3)]  # the same as others, but for the lines that start them
MICRO = {1: 5, 2: 64, 3: 4, 4: 7}  # the share passes through the device in a different number of pieces each time


def result(launch: Any, programs: Path, folder: Path, **how: Any) -> dict[str, Any]:
    launch(programs / "exact.py", folder / "out.pt", MICRO[how["ranks"]], **how)
    return torch.load(folder / "out.pt", weights_only=True)


def distance(some: dict[str, Any], others: dict[str, Any]) -> float:
    """Length of the difference of two runs' weights, over that of the weights."""
    weights = [torch.cat([part.flatten() for part in run["weights"].values()]) for run in (some, others)]
    return float((weights[0] - weights[1]).norm() / weights[1].norm())


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory, launch: Any, programs: Path) -> dict[str, Any]:
    """One process, each global batch in one pass."""
    out = tmp_path_factory.mktemp("reference") / "out.pt"
    launch(programs / "exact.py", out, 1000, launcher="plain")
    return torch.load(out, weights_only=True)


def test_the_reference_changes_its_batch_inside_epochs_and_ends_them_raggedly(reference: dict[str, Any]) -> None:
    assert len(reference["batches"]) == 50
    assert {10, 37, 3, 24, 61} <= set(reference["batches"])
    assert set(reference["batches"]) - {10, 37, 3, 24, 61}, "no ragged last batch"


@pytest.mark.parametrize(("launcher", "ranks"), [*RUNS, ("plain", 1)])
def test_any_launcher_and_any_number_of_ranks_train_the_same_network(
    launcher: str, ranks: int, launch: Any, programs: Path, tmp_path: Path, reference: dict[str, Any]
) -> None:
    found = result(launch, programs, tmp_path, launcher=launcher, ranks=ranks, fresh=ranks == 2)
    assert found["batches"] == reference["batches"]
    for name, weights in reference["weights"].items():
        torch.testing.assert_close(found["weights"][name], weights, rtol=1e-8, atol=1e-10)
    whole = [visited for epoch, visited in found["visited"].items() if epoch < max(found["visited"])]
    assert len(whole) >= 4
    assert all(visited == list(range(203)) for visited in whole)
    last = found["visited"][max(found["visited"])]
    assert len(last) == len(set(last))


def test_the_averaged_gradient_is_clipped_not_the_ranks_own(
    launch: Any, programs: Path, tmp_path: Path, reference: dict[str, Any]
) -> None:
    """Weight decay inside LARS makes its step depend on the gradient's length: clipping after LARS would show too."""
    launch(programs / "exact.py", tmp_path / "alone.pt", 1000, 0.3, launcher="plain")
    launch(programs / "exact.py", tmp_path / "ranks.pt", 4, 0.3, ranks=3)
    alone, ranks = (torch.load(tmp_path / name, weights_only=True) for name in ("alone.pt", "ranks.pt"))
    assert distance(ranks, alone) < 1e-8
    assert distance(alone, reference) > 1e-5


def test_compressed_gradients_lose_digits_and_nothing_else(launch: Any, programs: Path, tmp_path: Path) -> None:
    """Over few steps: at this learning rate differences grow tenfold within ten."""
    launch(programs / "exact.py", tmp_path / "alone.pt", 1000, "inf", "none", 5, launcher="plain")
    launch(programs / "exact.py", tmp_path / "ranks.pt", 4, "inf", "fp16", 5, ranks=3, launcher="torchrun")
    alone, ranks = (torch.load(tmp_path / name, weights_only=True) for name in ("alone.pt", "ranks.pt"))
    assert 1e-7 < distance(ranks, alone) < 1e-3
