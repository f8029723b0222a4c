"""Results in, predictions out: grouping, refusals, and the tables."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from hpc_adabatch.errors import InputError
from hpc_adabatch.study.outlook import prediction_parts
from hpc_adabatch.study.predict import job, predict
from hpc_adabatch.study.results import CellResult

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))  # scripts, not a package: they import each other by name

from synthetic import Machine, layout_of  # noqa: E402

pytestmark = pytest.mark.long

MACHINE = Machine(samples=5e-5, serial=0.004, start=0.001, latency=0.0004, bytes=0.02, tree=0.002)


def cells(mode: str, nodes: tuple[int, ...] = (1, 2, 4), repeats: int = 3, seed: int = 0) -> list[CellResult]:
    draw, found = np.random.default_rng(seed), []
    for n in nodes:
        for repeat in range(1, repeats + 1):
            one = MACHINE.job(layout_of(mode, n), draw)
            found.append(
                CellResult(
                    cell=f"{mode}_n{n:03d}_r{repeat}",
                    mode=mode,
                    nodes=n,
                    ranks=n,
                    variant="",
                    repeat=repeat,
                    state="OK",
                    global_batch=round(one.layout.local_batch * n),
                    step_s=one.step_s,
                    straggler_s=0.0,
                    exposed_s=one.communication_s if n > 1 else None,
                    allreduce_s=one.allreduce_s,
                    gradient_bytes=1_000_000,
                )
            )
    return found


@pytest.mark.parametrize("mode", ["strong", "weak"])
def test_1_2_4_predict_8(mode: str) -> None:
    (group,) = predict(cells(mode), [4, 8, 16]).groups
    at = {row.nodes: row for row in group.rows}
    truth = MACHINE.job(layout_of(mode, 8), np.random.default_rng(9)).step_s
    found = at[8].step_s
    assert found.low is not None and found.high is not None  # noqa: PT018
    assert found.low <= truth <= found.high
    assert at[4].run
    assert not at[8].run
    growth = 1 if mode == "strong" else 8
    assert at[8].speed_up.value == pytest.approx(growth * 0.0552 / found.value, rel=0.03)
    assert at[8].efficiency.value == pytest.approx(at[8].speed_up.value / 8)
    assert at[8].efficiency.low is not None
    assert at[8].efficiency.low < at[8].efficiency.value


def test_groups_by_mode_variant_and_ranks_and_only_ok_cells() -> None:
    strong, weak = cells("strong"), cells("weak", (1, 2))
    other = [replace(cell, variant="lr=0.1", ranks=4 * cell.nodes) for cell in strong]
    broken = [replace(cell, state="TIMEOUT", step_s=99.0) for cell in cells("strong", (8,))]
    adaptive = [replace(cell, mode="adaptive") for cell in strong]
    found = predict([*strong, *weak, *other, *broken, *adaptive], [8])
    assert [(group.title, group.ranks_per_node, group.jobs) for group in found.groups] == [
        ("strong", 1, 9),
        ("strong lr=0.1", 4, 9),
    ]
    assert found.left_out == ("weak: OK on nodes 1, 2 only, 3 counts are needed",)


def test_too_few_or_too_far() -> None:
    with pytest.raises(InputError, match=r"OK on nodes 1, 2 only"):
        predict(cells("strong", (1, 2)), [4])
    with pytest.raises(InputError, match="no strong or weak cell"):
        predict([], [4])
    with pytest.raises(InputError, match=r"nodes: given 17; allowed: 16 at most.*--far true"):
        predict(cells("strong"), [8, 17])
    with pytest.raises(InputError, match="nodes"):
        predict(cells("strong"), [])
    (group,) = predict(cells("strong"), [64], far=True).groups
    assert group.rows[0].nodes == 64


def test_a_cell_without_probes_is_predicted_from_its_steps_and_that_is_said() -> None:
    blind = [replace(cell, exposed_s=None, allreduce_s=None, straggler_s=None) for cell in cells("strong")]
    (group,) = predict(blind, [8]).groups
    assert "step times alone cannot tell serial from bandwidth" in group.statements[0]


def test_waiting_for_the_slowest_rank_counts_as_communication() -> None:
    cell = replace(cells("strong")[3], exposed_s=0.01, straggler_s=0.002)
    assert job(cell).communication_s == pytest.approx(0.012)
    assert job(cells("strong")[0]).communication_s == 0


def test_what_is_printed() -> None:
    out = io.StringIO()
    console = Console(width=140, file=out)
    for part in prediction_parts(predict(cells("strong"), [1, 8])):
        console.print(part)
    text = out.getvalue()
    assert "strong, by 9 jobs" in text
    assert "was run" in text
    assert " to " in text
    assert "cannot tell" in text
