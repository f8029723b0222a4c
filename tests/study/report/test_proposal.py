"""The page of evidence for a centre: up to which node count it supports a request, and what is too little."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from hpc_adabatch.study.report.files import report_text, write_report
from hpc_adabatch.study.report.lines import join
from hpc_adabatch.study.report.proposal import (
    Proposal,
    binding_asked_for,
    efficiency,
    proposal_sections,
    supported,
    verdicts,
)
from hpc_adabatch.study.results import CellResult

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[3]
ASKED = Proposal(threshold=0.75)
V100 = (ROOT / "slurm" / "v100.sbatch").read_text(encoding="utf-8")


def timed(nodes: int, step_s: float | None, repeat: int = 1, **more: object) -> CellResult:
    cell = CellResult(
        cell=f"strong_n{nodes}_r{repeat}",
        mode="strong",
        nodes=nodes,
        ranks=4 * nodes,
        variant="",
        repeat=repeat,
        state="OK",
        step_s=step_s,
        global_batch=64,
    )
    return replace(cell, **more)  # type: ignore[arg-type]


def at(efficiencies: dict[int, float]) -> list[CellResult]:
    """Cells whose efficiency by hand is this: T(N) = T(1) / (N E)."""
    return [timed(nodes, 1.0 / (nodes * value)) for nodes, value in efficiencies.items()]


def said(cells: list[CellResult], about: Proposal = ASKED) -> str:
    return " ".join(f"{one.about}: {one.text}" for one in verdicts(join(cells), about))


@pytest.mark.parametrize(
    ("efficiencies", "threshold", "nodes"),
    [
        ({1: 1, 2: 0.9, 4: 0.8, 8: 0.7}, 0.75, 4),
        ({1: 1, 2: 0.9, 4: 0.8, 8: 0.7}, 0.65, 8),
        ({1: 1, 2: 0.9, 4: 0.8, 8: 0.7}, 0.95, 1),
        ({1: 1, 2: 0.7, 4: 0.8}, 0.75, 1),  # a count that is good again behind a bad one supports nothing
        ({1: 1, 2: 1.1, 4: 1.2}, 0.75, 4),  # faster than linear
    ],
)
def test_a_request_is_supported_before_the_first_count_below_the_threshold(
    efficiencies: dict[int, float], threshold: float, nodes: int
) -> None:
    (line,) = join(at(efficiencies))
    point = supported(line, threshold)
    assert point is not None
    assert point.nodes == nodes
    assert [efficiency(line, one).value for one in line.points] == pytest.approx(list(efficiencies.values()))


def test_what_is_supported_and_where_it_ends_is_said() -> None:
    text = said(at({1: 1, 2: 0.9, 4: 0.8, 8: 0.7}))
    assert "The study supports a request of up to 4 nodes (16 ranks)." in text
    assert "Efficiency on 4 nodes is 80.0 %, against 1 node; 75 % is asked." in text
    assert "It is below 75 % on 8 nodes (70.0 %)." in text


def test_two_node_counts_are_too_little_and_said_to_be() -> None:
    text = said(at({1: 1, 2: 0.9}))
    assert (
        "Too little for a proposal: numbers on 1 node and 2 nodes only, where 3 node counts or more are asked." in text
    )
    assert "supports a request" not in text
    failed = timed(4, None, state="TIMEOUT", reason="time limit")
    assert "No numbers on 4 nodes." in said([*at({1: 1, 2: 0.9}), failed])


def test_a_first_count_alone_supports_no_more_nodes() -> None:
    text = said(at({1: 1, 2: 0.5, 4: 0.3}))
    assert "The study supports no request above 1 node." in text
    assert "below 75 % on 2 nodes (50.0 %) and 4 nodes (30.0 %)" in text


def test_no_numbers_support_nothing() -> None:
    assert (
        said([timed(1, None, state="FAILED")]) == "strong: No node count gave numbers: the study supports no request."
    )
    assert said([]) == "Numbers: The study has none yet: it supports no request."


def test_an_interval_that_reaches_below_the_threshold_is_said_to() -> None:
    def repeats(nodes: int, value: float, spread: float) -> list[CellResult]:
        return [timed(nodes, (1 + spread * (r - 2)) / (nodes * value), r) for r in (1, 2, 3)]

    calm = [*repeats(1, 1, 0.01), *repeats(2, 0.9, 0.01), *repeats(4, 0.8, 0.01)]
    assert "chance" not in said(calm)
    assert "fewer than 3" not in said(calm)
    wild = [*repeats(1, 1, 0.01), *repeats(2, 0.9, 0.01), *repeats(4, 0.8, 0.2)]
    assert "Its interval reaches below 75 %" in said(wild)
    assert "No interval on 1 node, 2 nodes and 4 nodes: fewer than 3 jobs are OK." in said(at({1: 1, 2: 0.9, 4: 0.8}))


def test_one_machine_and_fields_that_differ_are_no_evidence() -> None:
    text = said(at({1: 1, 2: 0.9, 4: 0.8}), replace(ASKED, one_machine=True, differing=("global_batch",)))
    assert text.startswith("No nodes: All ranks shared one machine")
    assert text.endswith("Input: Not the same on all node counts: global_batch, set by --zip.")


def page(cells: list[CellResult], about: Proposal = ASKED) -> str:
    lines = join(cells)
    return report_text("t", {}, verdicts(lines, about), proposal_sections(lines, about))


def test_what_is_not_measured_is_said_not_to_be() -> None:
    used = {"energy_j": 7.2e6, "gpu_percent": 91.0, "gpu_watts": 280.0, "node_hours": 0.1, "samples_per_s": 64.0}
    text = page([*at({1: 1, 2: 0.9}), timed(4, 0.3, **used)])
    assert "| 4 | 91.0 | 280 | 2.00 |" in text
    assert "| 1 | not measured | not measured | not measured |" in text
    assert re.search(r"\| 4 \| 16 \| 1 of 1 \| 64 \| 300 \| 90.0 \|.*\| 83.3 \| yes \|", text)


def test_the_batch_is_the_same_or_said_not_to_be() -> None:
    assert "Recipe and data are the same on all node counts." in page(at({1: 1, 2: 0.9}))
    text = page([timed(1, 1.0), timed(2, 0.5, global_batch=128)])
    assert "The global batch is not the same on all node counts." in text
    assert "The global batch is the same" not in text


def test_the_binding_that_a_template_asks_for() -> None:
    asked = binding_asked_for(V100, ("--account=x", "--gres=gpu:2"))
    assert asked == ("--ntasks-per-node=4 --gres=gpu:v100:4 --cpus-per-task=10 --cpu-bind=cores --gres=gpu:2")
    assert binding_asked_for("#!/bin/sh\n##SBATCH --gres=gpu:4\n# --cpu-bind=cores\nexec true\n", ()) == ""


def test_the_page_stands_beside_the_report_with_the_script_as_it_is(tmp_path: Path, results: list[CellResult]) -> None:
    about = replace(ASKED, script=f"{V100}\n# ```` <b>\n", launcher="srun", flags=("--account=abc",))
    strong = [cell for cell in results if cell.mode == "strong"]
    made = write_report(tmp_path, {"name": "v100"}, strong, None, about)
    assert made == tmp_path / "report" / "proposal.html"
    text = (tmp_path / "report" / "proposal.md").read_text(encoding="utf-8")
    assert text.startswith("# Scaling evidence v100\n\n- **strong:** The study supports a request of up to ")
    assert f"`````\n{about.script}`````\n" in text
    assert "![Speed-up" in text
    assert "--cpu-bind=cores" in text
    html = made.read_text(encoding="utf-8")
    assert "# ```` &lt;b&gt;\n</pre>" in html
    assert html.count("<table>") == 3
    assert (tmp_path / "report" / "index.html").exists()
    write_report(tmp_path, {"name": "v100"}, [])
    assert not made.exists()  # it would be one of older numbers
