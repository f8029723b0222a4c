"""Steps on node counts that were not run, from a study's results.

    results.csv  ->  one model for each mode, variant and number of ranks on a node  ->  steps and what is not known

Only jobs that are OK and timed their steps count, in strong and weak mode: an adaptive job's steps change with its
batch. Beyond four times the largest count an extrapolation errs by factors, so it is made on request only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import require
from .results import CellResult
from .scaling.columns import JobTimes, Layout
from .scaling.identifiability import statements
from .scaling.model import ScalingModel
from .scaling.statistics import Interval, both, mean
from .state import State

FARTHEST = 4  # times the largest node count
LEAST_COUNTS = 3  # of nodes: a line goes through two of anything


@dataclass(frozen=True, kw_only=True)
class Row:
    """The prediction for one node count."""

    nodes: int
    """The number of nodes."""
    step_s: Interval
    """The seconds of a step of a new job."""
    speed_up: Interval
    """The speed-up against the mean of the fewest nodes that ran."""
    efficiency: Interval
    """The speed-up over the growth in nodes."""
    run: bool
    """True for a node count that the study ran."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """The predictions of one model."""

    mode: str
    """strong or weak."""
    variant: str
    """The label of the variant; empty without --vary."""
    ranks_per_node: int
    """The number of ranks on each node."""
    jobs: int
    """The number of jobs that the model is fitted to."""
    rows: tuple[Row, ...]
    """The predictions, fewest nodes first."""
    statements: tuple[str, ...]
    """Sentences about what the data cannot separate."""

    @property
    def title(self) -> str:
        """Returns the mode and the variant in words."""
        return " ".join([self.mode, *([self.variant] if self.variant else [])])


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The predictions of all modes and variants that have enough jobs."""

    groups: tuple[Group, ...]
    """The predictions of each model."""
    left_out: tuple[str, ...]
    """Why other modes and variants are missing, a sentence for each."""


def predict(results: Sequence[CellResult], nodes: Sequence[int], *, far: bool = False) -> Prediction:
    """Predicts steps on these node counts, for each mode and variant of a study.

    Args:
        results: All cells of the study.
        nodes: Node counts to predict.
        far: True to predict also beyond four times the largest count that ran.

    Raises:
        InputError: No node counts, too far, or no mode with three node counts that are OK.
    """
    require(bool(nodes) and min(nodes) >= 1, "nodes", list(nodes), "1 or more, with commas", "--nodes 64")
    groups, left_out = [], []
    for (mode, variant, per_node), cells in _by_model(results).items():
        counts = sorted({cell.nodes for cell in cells})
        if len(counts) < LEAST_COUNTS:
            name = " ".join([mode, *([variant] if variant else [])])
            left_out.append(f"{name}: OK on nodes {', '.join(map(str, counts))} only, {LEAST_COUNTS} counts are needed")
            continue
        farthest = FARTHEST * counts[-1]
        allowed = f"{farthest} at most, four times the largest that ran"
        require(far or max(nodes) <= farthest, "nodes", max(nodes), allowed, "--far true")
        groups.append(_group(mode, variant, per_node, cells, sorted(set(nodes))))
    found = "; ".join(left_out) or "no strong or weak cell that is OK and timed its steps"
    need = f"{LEAST_COUNTS} node counts with OK cells in one mode"
    require(bool(groups), "study", found, need, "adabatch study status NAME")
    return Prediction(groups=tuple(groups), left_out=tuple(left_out))


def job(cell: CellResult) -> JobTimes:
    """Returns a cell's medians as the model takes them; the cell must have timed its steps."""
    assert cell.step_s is not None
    communication_s = None if cell.exposed_s is None else cell.exposed_s + (cell.straggler_s or 0.0)
    if cell.ranks == 1:
        communication_s = 0.0
    batch = cell.ranks if cell.global_batch is None else cell.global_batch
    layout = Layout(nodes=cell.nodes, ranks=cell.ranks, local_batch=batch / cell.ranks)
    return JobTimes(layout=layout, step_s=cell.step_s, communication_s=communication_s, allreduce_s=cell.allreduce_s)


def _by_model(results: Sequence[CellResult]) -> dict[tuple[str, str, int], list[CellResult]]:
    found: dict[tuple[str, str, int], list[CellResult]] = {}
    for cell in results:
        if cell.state == State.OK and cell.step_s is not None and cell.mode in ("strong", "weak"):
            found.setdefault((cell.mode, cell.variant, cell.ranks // cell.nodes), []).append(cell)
    return found


def _group(mode: str, variant: str, per_node: int, cells: Sequence[CellResult], nodes: Sequence[int]) -> Group:
    jobs = [job(cell) for cell in cells]
    model = ScalingModel(jobs, next((cell.gradient_bytes for cell in cells if cell.gradient_bytes), None))
    first = min(cell.nodes for cell in cells)
    base = mean([one.step_s for one in jobs if one.layout.nodes == first])
    begin = next(layout for layout in model.groups if layout.nodes == first)
    run, rows = {cell.nodes for cell in cells}, []
    for n in nodes:
        local_batch = begin.local_batch * (first / n if mode == "strong" else 1)
        step_s = model.predict(Layout(nodes=n, ranks=n * per_node, local_batch=local_batch))
        speed_up, efficiency = both(mode, _against(base, step_s), n / first)
        rows.append(Row(nodes=n, step_s=step_s, speed_up=speed_up, efficiency=efficiency, run=n in run))
    return Group(
        mode=mode,
        variant=variant,
        ranks_per_node=per_node,
        jobs=len(jobs),
        rows=tuple(rows),
        statements=tuple(statements(model)),
    )


def _against(base: Interval, step_s: Interval) -> Interval:
    """Returns T(N0)/T(N) of a new job on N nodes, against the mean that was measured on N0."""
    low, high = (None if not end else base.value / end for end in (step_s.high, step_s.low))
    return Interval(value=base.value / step_s.value, low=low, high=high)
