"""`adabatch plan RECIPE --nodes 1,2,...,4096`: all that a plan of nodes needs, put together before a job has run.

seconds of passes    a probe's file, or a few passes of this recipe timed here
network              a preset by the name of the GPU, or the probe's own line through its messages
noise scale          a number, or the journal of a run that measured it; unknown without either
samples              those of the run, or the recipe's epochs at its own batch, on AdaScale's clock at its reference
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from rich.console import RenderableType

from ..errors import reading, require
from ..policies import NoiseScale
from ..policies.recorded import holding
from ..recipe import Recipe
from ..run.build import gradient_bytes
from ..run.machine import network_of, read_probe, timed_passes
from ..training.journal import Record, read
from .flags import NodesFlags
from .nodes import node_counts
from .outlook import plan_parts
from .scaling.plan_nodes import Machine, PassTimes, plan_nodes
from .scaling.stretches import Stretch, constant, from_run


def plan_ahead(recipe: Recipe, ranks_per_node: int, flags: NodesFlags) -> Iterator[RenderableType]:
    """Yields the table of all node counts, and what it comes to.

    Args:
        recipe: The recipe.
        ranks_per_node: Ranks on each node.
        flags: The node counts and the machine.

    Raises:
        InputError: A flag, the recipe or one of the files cannot be used.
    """
    assert flags.nodes is not None
    both = flags.noise_scale is not None and flags.from_run is not None
    require(not both, "noise_scale", flags.noise_scale, "one of --noise_scale and --from_run", "--from_run runs/NAME")
    counts = sorted(node_counts(flags.nodes))
    probe = read_probe(Path(flags.probe)) if flags.probe is not None else None
    network = network_of(flags.network, ranks_per_node, probe)
    recipe.task.fetch()
    data = recipe.task.load()
    batches = recipe.batches(data)
    model = recipe.network(data)
    passes = probe.passes if probe is not None else timed_passes(recipe, model, data)
    message = gradient_bytes(recipe, model)
    machine = Machine(passes=PassTimes(passes, batches.max_micro_batch), network=network, gradient_bytes=message)
    samples = recipe.options.epochs * batches.plan.n_samples
    way = _way(flags, samples, recipe.reference_batch)  # on AdaScale's clock the epochs are those of that batch
    where = f"{flags.probe}, {probe.device_name}" if probe is not None else "timed on this machine"
    yield f"{recipe.name}: {message / 1e6:.3g} MB of gradients; passes: {where}; network: {flags.network}"
    yield from plan_parts(
        plan_nodes(
            nodes=counts,
            machine=machine,
            way=way,
            start_batch=recipe.global_batch,
            max_global_batch=batches.max_global_batch,
            fraction=recipe.policy.fraction if isinstance(recipe.policy, NoiseScale) else 1.0,
        )
    )


def way_of_run(records: list[Record]) -> tuple[Stretch, ...]:
    """Returns the way that a run went, from its journal, which has a noise scale.

    The first lines of kind noise have none yet: an average takes two measurements. A line of kind statistics tells the
    samples of one step, which may be the last and shorter one of an epoch: batches are those decided.
    """
    n_samples = records[0]["samples_per_epoch"]
    scales = {record["cursor"]: _scale(record, n_samples) for record in records if "noise_scale" in record}
    batches = {record["cursor"]: record["global_batch"] for record in holding(records)}
    scale, batch, known = next(iter(scales.values())), 0, []
    for cursor in sorted({*scales, *batches}):
        scale, batch = scales.get(cursor, scale), batches.get(cursor, batch)
        known.append((float(cursor), scale, float(batch)))
    return from_run(known, float(records[-1]["cursor"]))


def _way(flags: NodesFlags, samples: int, batch: int) -> tuple[Stretch, ...]:
    if flags.from_run is not None:
        return _journal(Path(flags.from_run))
    scale = flags.noise_scale if flags.noise_scale is not None else math.inf
    require(scale > 0, "noise_scale", scale, "more than 0 samples", "--noise_scale 2000")
    return constant(samples / (1 + batch / scale), scale)


def _journal(folder: Path) -> tuple[Stretch, ...]:
    """Returns the way that the run in a folder went."""
    with reading("from_run", folder, "the folder of a run", "--from_run runs/NAME"):
        records = read(folder / "journal.jsonl")
        measured_it = records[:1] and records[0]["kind"] == "start" and any("noise_scale" in line for line in records)
        allowed, hint = (
            "a run that measured its noise scale twice or more",
            "adabatch train RECIPE --policy noise_scale",
        )
        require(bool(measured_it), "from_run", f"{folder}, without noise", allowed, hint)
        return way_of_run(records)


def _scale(record: Record, n_samples: int) -> float:
    """Returns the noise scale of batches that share no sample, as one epoch has them (``Estimate.disjoint_signal``)."""
    signal = record["signal"] - record["variance"] / n_samples
    return float(record["variance"] / signal) if signal > 0 else math.inf
