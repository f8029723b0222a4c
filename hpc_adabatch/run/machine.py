"""The machine by which steps are predicted.

    seconds of passes    a probe's file, or a few passes of the recipe timed on this device
    network              a preset by the name of the GPU, or the probe's own line through its messages

Not here: the seconds of steps on them (study/scaling/plan_nodes.py).
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from ..errors import InputError, reading, require
from ..probe.steps import micro_batches
from ..recipe import Recipe
from ..records import check_format, misfit
from ..study.scaling.network import Network, measured, preset
from ..tasks import TaskData
from .hours import seconds_per_pass

LEAST_S = 1e-9
"""The shortest pass that a probe can have timed, in seconds."""

MOST_TIMED = 6
"""The number of micro-batches that are timed here, the largest ones: small ones say little about large batches."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """The part of a probe's file by which steps are predicted (the docstring of probe/ tells its fields)."""

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


def read_probe(path: Path) -> Probe:
    """Returns what a probe has found.

    Args:
        path: The file of ``adabatch probe RECIPE --out FILE``.

    Raises:
        InputError: The file is none of a probe of a recipe, or a number in it cannot be.
    """
    allowed, hint = "the file of a probe of a recipe", "adabatch probe RECIPE --out probe.json"
    with reading("probe", path, allowed, hint):
        content = json.loads(path.read_text(encoding="utf-8"))
        check_format(content, "probe", path)
        steps = content["steps"]["steps"] if content["steps"] is not None else []
        require(bool(steps), "probe", f"{path}, without steps", allowed, hint)
        fit = content["messages"]["fit"] if content["messages"] is not None else None
        found = Probe(
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


def network_of(name: str, ranks_per_node: int, probe: Probe | None) -> Network:
    """Returns the network of this name.

    Args:
        name: A preset, or ``measured`` for that of the probe.
        ranks_per_node: Ranks on each node.
        probe: The probe; None where there is none.

    Raises:
        InputError: There is no such preset, or no probe that measured a network.
    """
    if name != "measured":
        return preset(name, ranks_per_node)
    if probe is None or probe.latency_s is None:
        raise InputError("network", name, "a probe on 2 nodes or more", "--probe probe.json")
    return measured(probe.latency_s, probe.bandwidth_bytes_per_s or math.inf, probe.nodes, ranks_per_node)


def timed_passes(recipe: Recipe, model: nn.Module, data: TaskData) -> dict[int, float]:
    """Returns the seconds of passes of some micro-batches that fit into this device's memory, timed on it.

    Args:
        recipe: The recipe.
        model: Its network, whose gradients are used up.
        data: Its data.
    """
    batches = recipe.batches(data)
    sizes = micro_batches(batches.max_micro_batch, batches.max_global_batch, 1)[-MOST_TIMED:]
    passes = {}
    for size in sizes:
        try:
            passes[size] = seconds_per_pass(recipe, model, data, size)
        except ValueError:  # of batch normalisation, for one sample
            if size > 1 or len(sizes) == 1:
                raise
        except torch.cuda.OutOfMemoryError:  # of a size that ranks share in training
            if not passes:
                raise
            break
    return passes
