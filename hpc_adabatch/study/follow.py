"""`adabatch plan RECIPE --nodes_follow 1:32`: which nodes each batch of a run gets, and what that saves.

The stages of the run are its forecast, by the journal of a run where its rule follows the gradients. The nodes follow
by the rule of the run itself (scaling/follow.py), with the machine that it will have (run/machine.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import RenderableType

from ..errors import reading, require
from ..policies import Recorded
from ..recipe import Recipe
from ..run.build import gradient_bytes
from ..run.folder import RunFolder
from ..run.follow import WAIT_S
from ..run.forecast import forecasts
from ..run.machine import network_of, read_probe, timed_passes
from ..tasks import TaskData
from ..terminal import count, number, table
from ..training.journal import read
from .flags import NodesFlags
from .scaling.follow import Following, Part, Stage, check_changes, fixed, followed, node_range
from .scaling.plan_nodes import Machine, PassTimes


def plan_follow(recipe: Recipe, ranks_per_node: int, flags: NodesFlags) -> Iterator[RenderableType]:
    """Yields the table of the stages and their nodes, that of fixed node counts beside them, and what is saved.

    Args:
        recipe: The recipe.
        ranks_per_node: Ranks on each node.
        flags: The range of node counts and the machine.

    Raises:
        InputError: A flag, the recipe or one of the files cannot be used; or the batch never changes.
    """
    assert flags.nodes_follow is not None
    span = node_range(flags.nodes_follow)
    require(flags.nodes is None, "nodes", flags.nodes, "one of --nodes and --nodes_follow", f"--nodes_follow {span}")
    probe = read_probe(Path(flags.probe)) if flags.probe is not None else None
    network = network_of(flags.network, ranks_per_node, probe)
    recipe.task.fetch()
    data = recipe.task.load()
    cases = _stages(recipe, data, ranks_per_node, flags)
    for stages in cases.values():
        check_changes([stage.global_batch for stage in stages], span)
    model = recipe.network(data)
    passes = PassTimes(
        probe.passes if probe is not None else timed_passes(recipe, model, data), recipe.batches(data).max_micro_batch
    )
    rule = Following(
        machine=Machine(passes=passes, network=network, gradient_bytes=gradient_bytes(recipe, model)),
        range=span,
        efficiency=flags.efficiency,
        wait_s=flags.wait_s if flags.wait_s is not None else WAIT_S,
    )
    where = f"{flags.probe}, {probe.device_name}" if probe is not None else "timed on this machine"
    yield f"{recipe.name}: passes: {where}; network: {flags.network}; {rule.wait_s:g} s in the queue for each move"
    for title, stages in cases.items():
        yield from _parts(rule, stages, title)


def _stages(recipe: Recipe, data: TaskData, n_ranks: int, flags: NodesFlags) -> dict[str, list[Stage]]:
    """Returns the stages of the run; with AdaScale under each of two titles where its noise is not known."""
    run = None
    if flags.from_run is not None:
        with reading("from_run", flags.from_run, "the folder of a run", "--from_run runs/NAME"):
            run = read(RunFolder(Path(flags.from_run)).journal)
    if not recipe.policy.foreseeable:
        told = f"{flags.nodes_follow} with policy {recipe.chosen['policy']}, which follows the gradients"
        require(run is not None, "nodes_follow", told, "the journal of a run beside it", "--from_run runs/NAME")
        recipe = replace(recipe, policy=Recorded(run or [], source=str(flags.from_run)))
    return {
        title: [
            Stage(epoch=phase.epoch, global_batch=phase.global_batch, steps=phase.updates, samples=phase.samples)
            for phase in phases
        ]
        for title, phases in forecasts(recipe, data, n_ranks, run).items()
    }


def _parts(rule: Following, stages: Sequence[Stage], title: str) -> Iterator[RenderableType]:
    parts = followed(rule, stages)
    rows: list[tuple[str, ...]] = [
        (
            *(f"{part.stage.epoch:g}", count(part.stage.global_batch), count(part.stage.steps), count(part.nodes)),
            *(number(1000 * part.seconds / part.stage.steps), number(part.waited_s / 3600)),
            *(number(part.seconds / 3600), number(part.node_hours)),
        )
        for part in parts
    ]
    stage = ("from epoch", "global batch", "steps", "nodes", "step, ms", "hours waiting", "hours", "node-hours")
    yield table(stage, rows, title=title or "nodes follow the batch", ascii_only=True)
    hours, node_hours = _cost(parts)
    others = {nodes: _cost(found) for nodes in rule.range.counts if (found := fixed(rule, stages, nodes))}
    rows = [
        (
            count(nodes),
            *(f"{number(one)}" for one in cost),
            *(number(a - b) for a, b in zip(cost, (hours, node_hours), strict=True)),
        )
        for nodes, cost in others.items()
    ]
    whole = ("nodes throughout", "hours", "node-hours", "hours saved", "node-hours saved")
    yield table(whole, rows, title="against one node count", ascii_only=True)
    yield f"begin with --nodes={parts[0].nodes}: {number(hours)} hours with waiting, {number(node_hours)} node-hours"
    for word, which in (("soonest", 0), ("cheapest", 1)):
        nodes = _best(others, which)
        saved = [a - b for a, b in zip(others[nodes], (hours, node_hours), strict=True)]
        told = f"{number(saved[0])} hours, {number(saved[1])} node-hours"
        yield f"against the {word} fixed count, {nodes} node(s): saves {told}"


def _cost(parts: Sequence[Part]) -> tuple[float, float]:
    """Returns hours, with those of waiting, and node-hours."""
    return sum(part.seconds + part.waited_s for part in parts) / 3600, sum(part.node_hours for part in parts)


def _best(costs: dict[int, tuple[float, float]], which: int) -> int:
    """Returns the node count of the least hours, 0, or node-hours, 1; within a percent, of the least other ones."""
    least = min(cost[which] for cost in costs.values())
    near = [nodes for nodes, cost in costs.items() if cost[which] <= 1.01 * least]
    return min(near, key=lambda nodes: costs[nodes][1 - which])
