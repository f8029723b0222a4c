"""A run whose nodes follow its batch: it leaves, and its job goes on on as many nodes as the batch is worth.

    rank 0      a decision has changed the batch; the rule (study/scaling/follow.py) says which nodes pay  ->  stop flag
    all ranks   leave after the next step with a checkpoint, as at any stop, and end with 75
    rank 0      leaves the node count beside the stop file  ->  launch/job submits the successor on as many nodes

The seconds of passes are those of a probe, or timed when the run begins and kept in its folder as a probe's file: each
job of the chain decides by the same numbers, and `adabatch plan RECIPE --nodes_follow 1:32 --probe RUN/passes.json`
tells what they come to. What is trained depends on none of them, but for what another number of ranks changes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch

from ..cluster import Cluster
from ..environment import FollowingJob, following_job
from ..errors import InputError, require
from ..files import whole, writing
from ..policies import Fixed
from ..policies.schedule import Schedule
from ..recipe import Recipe
from ..records import FORMAT
from ..study.scaling.follow import Following, NodeRange, check_changes
from ..study.scaling.plan_nodes import Machine, PassTimes
from ..tasks import TaskData
from ..training import AdaptiveTraining
from .build import gradient_bytes
from .machine import network_of, read_probe, timed_passes
from .progress import ProgressDisplay

WAIT_S = 600.0
"""The seconds in the queue that count where neither the user nor the queue says any."""

LEAST_WAIT_S = 60.0
"""The fewest seconds that count where the queue says them: a job that starts at once has to begin anew, too."""

PASSES = "passes.json"


@dataclass(frozen=True, kw_only=True)
class FollowOptions:
    """Options of a run whose nodes follow its batch."""

    range: NodeRange
    """The node counts that it may have."""
    network: str
    """The network by name, or measured."""
    probe: str | None
    """The file of a probe; None to time some passes when the run begins."""
    efficiency: float
    """The least efficiency of a node."""
    wait_s: float | None
    """The seconds that a job waits in the queue; None for those that this one has waited."""


class NodesFollower:
    """The side of a run that watches its batch and says on which nodes it shall go on; on rank 0 alone.

    Args:
        rule: The rule.
        job: The job of the run.
        global_batch: The batch of a run that begins, whose nodes the user has chosen; None where it goes on: the job
            that was to get other nodes may have been lost before it asked for them.
        progress: The display for the person who watches.

    Attributes:
        wanted: The node count to go on with; None as long as the run stays.
    """

    def __init__(self, rule: Following, job: FollowingJob, global_batch: int | None, progress: ProgressDisplay) -> None:
        self._rule, self._job, self._batch, self._progress = rule, job, global_batch, progress
        self.wanted: int | None = None

    def look(self, training: AdaptiveTraining, epochs: float) -> None:
        """Asks all ranks to leave, where the batch has changed and other nodes pay.

        Args:
            training: The loop, between two steps.
            epochs: The epochs on the clock of its schedule after which it ends.
        """
        batch, now, rule = training.global_batch, self._job.nodes, self._rule
        if batch == self._batch or self.wanted is not None:
            return
        self._batch = batch
        left = (epochs - training.clock) * training.plan.n_samples  # more on AdaScale's clock
        nodes = rule.next_nodes(now, batch, left)
        if nodes == now:
            return
        now_h, then_h = (left / batch * rule.machine.step_s(count, batch) / 3600 for count in (now, nodes))
        told = f"batch {batch}: what is left takes {then_h:.3g} hours on {nodes} node(s), {now_h:.3g} on {now}"
        if self._job.moves_left < 1:
            self._progress.line(f"{told}; the run stays, as its job may not go on on others (ADABATCH_MAX_MOVES)")
            return
        self._progress.line(f"{told}, so the run goes on there")
        self.wanted = nodes
        training.stop_flag.ask_for_nodes()


def check_follow(recipe: Recipe, options: FollowOptions, cluster: Cluster) -> FollowingJob:
    """Returns the job of a run whose nodes shall follow its batch; called before the data is read.

    Raises:
        InputError: The job would submit no successor, its nodes are outside of the range or have different numbers of
            ranks, or the batch never changes.
    """
    job, given = following_job(), str(options.range)
    words = f"slurm/cpu.sbatch RECIPE --nodes_follow {given}"
    if job is None:
        allowed = "a job of Slurm or PBS that a template of slurm/ or pbs/ starts"
        raise InputError("nodes_follow", f"{given} outside of a job", allowed, f"sbatch {words}")
    least, most = min(options.range.least, job.nodes), max(options.range.most, job.nodes)
    fits = options.range.least <= job.nodes <= options.range.most
    told = f"{given} in a job of {job.nodes} node(s)"
    require(fits, "nodes_follow", told, "a range that has the nodes of the job", f"--nodes_follow {least}:{most}")
    even = cluster.size % job.nodes == 0
    told = f"{given} with {cluster.size} ranks on {job.nodes} nodes"
    require(even, "nodes_follow", told, "as many ranks on each node", f"sbatch --ntasks-per-node=4 {words}")
    check_recipe(recipe, options.range)
    return job


def check_recipe(recipe: Recipe, span: NodeRange) -> None:
    """Sees that the batch of a recipe changes, as far as that can be told before it is trained.

    Raises:
        InputError: It never does.
    """
    if isinstance(recipe.policy, Fixed):
        check_changes([recipe.global_batch], str(span))
    if isinstance(recipe.policy, Schedule):
        check_changes(recipe.policy.batches, str(span))


def following(
    recipe: Recipe, data: TaskData, options: FollowOptions, job: FollowingJob, folder: Path, ranks_per_node: int
) -> Following:
    """Returns the rule by which the nodes of a run follow its batch; on rank 0, before the network is built.

    Args:
        recipe: The recipe.
        data: Its data.
        options: The way in which its nodes follow its batch.
        job: The job of the run.
        folder: The folder of the run.
        ranks_per_node: Ranks on each node.

    Raises:
        InputError: The probe, the network or a number cannot be used.
        StorageError: The seconds of passes cannot be written.
    """
    kept = folder / PASSES
    used = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(used):  # the run draws the same numbers with and without
        model = recipe.network(data)
        if options.probe is None and not kept.exists():
            with writing(kept), whole(kept) as file:
                file.write(json.dumps(_as_probe(timed_passes(recipe, model, data), job.nodes)).encode())
    probe = read_probe(Path(options.probe) if options.probe is not None else kept)
    measured = max(job.waited_s, LEAST_WAIT_S) if job.waited_s is not None else WAIT_S
    return Following(
        machine=Machine(
            passes=PassTimes(probe.passes, recipe.batches(data).max_micro_batch),
            network=network_of(options.network, ranks_per_node, probe),
            gradient_bytes=gradient_bytes(recipe, model),
        ),
        range=options.range,
        efficiency=options.efficiency,
        wait_s=options.wait_s if options.wait_s is not None else measured,
    )


def in_words(rule: Following, network: str, largest: int) -> str:
    """Returns for which batches up to the largest one a run has which nodes, in words."""
    worth = [(batch, rule.worth(batch)) for batch in (1 << power for power in range(largest.bit_length()))]
    from_batch: dict[int, int] = {}
    for batch, nodes in worth:
        from_batch.setdefault(nodes, batch)
    told = ", ".join(f"{nodes} from batch {batch} on" for nodes, batch in from_batch.items())
    where = f"where moving saves more than twice the {rule.wait_s:g} s of waiting"
    return f"nodes follow the batch, by network {network}: {told}, {where}"


def _as_probe(passes: dict[int, float], nodes: int) -> dict[str, object]:
    steps = [{"micro_batch": size, "forward_backward": {"median_s": seconds}} for size, seconds in passes.items()]
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return {"format": FORMAT, "nodes": nodes, "device_name": device, "messages": None, "steps": {"steps": steps}}
