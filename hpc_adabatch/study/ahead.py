"""`adabatch plan RECIPE --nodes 1,2,...,4096`: all that a plan of nodes needs, put together before a job has run.

seconds of passes    a probe's file, or a few passes of this recipe timed here
network              a preset by the name of the GPU, or the probe's own line through its messages
noise scale          a number, or the journal of a run that measured it; unknown without either
samples              those of the run, or the recipe's epochs at its own batch, on AdaScale's clock at its reference
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import RenderableType

from ..errors import InputError, reading, require
from ..policies import NoiseScale
from ..policies.recorded import holding
from ..probe.steps import micro_batches
from ..recipe import Recipe
from ..records import check_format, misfit
from ..run.build import gradient_bytes
from ..run.hours import seconds_per_pass
from ..training.journal import Record, read
from .flags import NodesFlags
from .nodes import node_counts
from .outlook import plan_parts
from .scaling.network import Network, measured, preset
from .scaling.plan_nodes import Machine, PassTimes, plan_nodes
from .scaling.stretches import Stretch, constant, from_run

LEAST_S = 1e-9
"""The shortest pass that a probe can have timed, in seconds."""

MOST_TIMED = 6
"""The number of micro-batches that are timed here, the largest ones: small ones say little about large batches."""


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
    probe = _probe(Path(flags.probe)) if flags.probe is not None else None
    network = _network(flags.network, ranks_per_node, probe)
    recipe.task.fetch()
    data = recipe.task.load()
    batches = recipe.batches(data)
    model = recipe.network(data)
    if probe is not None:
        passes = probe.passes
    else:
        sizes = micro_batches(batches.max_micro_batch, batches.max_global_batch, 1)[-MOST_TIMED:]
        passes = {}
        for size in sizes:
            try:
                passes[size] = seconds_per_pass(recipe, model, data, size)
            except ValueError:  # of batch normalisation, for one sample
                if size > 1 or len(sizes) == 1:
                    raise
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


@dataclass(frozen=True, kw_only=True)
class _Probe:
    """What a plan takes from a probe's file (the docstring of probe/ tells its fields)."""

    passes: dict[int, float]
    """The seconds of forward and backward by micro-batch."""
    device_name: str
    """The device of the probe's ranks."""
    nodes: int
    """The node count of the probe."""
    latency_s: float | None
    """The seconds of a sum of no bytes over these nodes; None for a probe of one rank."""
    bandwidth_bytes_per_s: float | None
    """The bytes a second of a sum; None where more bytes take no longer."""


def _probe(path: Path) -> _Probe:
    allowed, hint = "the file of a probe of a recipe", "adabatch probe RECIPE --out probe.json"
    with reading("probe", path, allowed, hint):
        content = json.loads(path.read_text(encoding="utf-8"))
        check_format(content, "probe", path)
        steps = content["steps"]["steps"] if content["steps"] is not None else []
        require(bool(steps), "probe", f"{path}, without steps", allowed, hint)
        fit = content["messages"]["fit"] if content["messages"] is not None else None
        found = _Probe(
            passes={step["micro_batch"]: step["forward_backward"]["median_s"] for step in steps},
            device_name=content["device_name"],
            nodes=content["nodes"],
            latency_s=fit["latency_s"] if fit is not None else None,
            bandwidth_bytes_per_s=fit["bandwidth_bytes_per_s"] if fit is not None else None,
        )
        wrong = misfit(found)
        require(wrong is None, "probe", f"{path} (another type of {wrong})", allowed, hint)
        counts, passes_s = (*found.passes, found.nodes), found.passes.values()
        good = min(counts) >= 1 and all(LEAST_S <= seconds < math.inf for seconds in passes_s)
        good = good and (found.bandwidth_bytes_per_s or 1.0) >= 1 and (found.latency_s or 0.0) >= 0
        require(good, "probe", f"{path} (a number out of its range)", allowed, hint)
    return found


def _network(name: str, ranks_per_node: int, probe: _Probe | None) -> Network:
    if name != "measured":
        return preset(name, ranks_per_node)
    if probe is None or probe.latency_s is None:
        raise InputError("network", name, "a probe on 2 nodes or more", "--probe probe.json")
    return measured(probe.latency_s, probe.bandwidth_bytes_per_s or math.inf, probe.nodes, ranks_per_node)


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
