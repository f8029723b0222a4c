"""The sum of gradients over real ranks: right for networks that are not alike everywhere, and the same in every run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.launch


@pytest.mark.parametrize("launcher", ["mpirun", "horovodrun --gloo", "mpirun, torch", "torchrun"])
def test_every_gradient_is_the_sum_over_ranks(launcher: str, launch: Any, programs: Path) -> None:
    """Bug stories of the second half: layers out of the optimizer counted in the clip, those unfrozen drifted apart."""
    assert launch(programs / "sums.py", ranks=3, launcher=launcher).stdout.count("sums hold") == 3


def test_gloo_is_gone_when_the_ranks_have_stopped(launch: Any, programs: Path) -> None:
    """Bug story: what an optimizer imports kept the group, whose threads were still there when the process ended."""
    assert launch(programs / "threads.py", ranks=1, launcher="mpirun, torch", fresh=True).stdout == "left: []\n"


@pytest.mark.parametrize(("ranks", "launcher"), [(3, "mpirun"), (4, "horovodrun --gloo"), (4, "torchrun")])
def test_runs_of_the_same_command_are_equal_bit_by_bit(ranks: int, launcher: str, launch: Any, programs: Path) -> None:
    """Bug story: Horovod joined the gradients that happened to be ready, and on three ranks the last bits changed."""
    outputs = [launch(programs / "repeat.py", ranks=ranks, launcher=launcher).stdout for _ in range(2)]
    bits = [re.findall(r"bits ([0-9a-f]{64})", output) for output in outputs]
    assert len(bits[0]) == len(bits[1]) == ranks
    assert len({*bits[0], *bits[1]}) == 1


@pytest.mark.parametrize("launcher", ["horovodrun --gloo", "torchrun"])
def test_networks_of_a_script_train_on_several_ranks_as_on_one(launcher: str, launch: Any, programs: Path) -> None:
    """Bug stories: a share of one sample ended each epoch in a ValueError; so did Horovod at weights channels last."""
    done = launch(programs / "own_networks.py", launcher=launcher)
    assert done.stdout.count("all train alike") == 2
