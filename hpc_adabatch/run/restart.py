"""The state of all ranks at a step boundary, and going on from it.

shared by all ranks    weights, optimizer, plan, batch, decisions (AdaptiveTraining.state_dict)
of each rank           the generators that dropout draws from; inside an epoch, the running statistics of
                       normalisation layers
"""

from __future__ import annotations

from typing import Any

import torch
import yaml

from ..cluster import Cluster
from ..errors import InputError
from ..training import AdaptiveTraining

MAY_CHANGE = ("epochs", "workers", "evaluation_batch", "journal_every")
"""The fields of a recipe that may differ between a checkpoint and the run that goes on from it."""


def collect(training: AdaptiveTraining, cluster: Cluster) -> dict[str, Any]:
    """Returns the state of all ranks, on every rank."""
    own: dict[str, Any] = {"rng": torch.get_rng_state()}
    if cluster.device.type == "cuda":
        own["cuda_rng"] = torch.cuda.get_rng_state()
    if not training.plan.epoch_finished:  # at an epoch's end they are averaged
        own["buffers"] = {name: buffer.cpu() for name, buffer in training.model.named_buffers()}
    return {"training": training.state_dict(), "ranks": cluster.gather(own)}


def restore(training: AdaptiveTraining, cluster: Cluster, state: dict[str, Any]) -> None:
    """Goes on from the state that ``collect`` returned, on any number of ranks: new ones keep their generators."""
    training.load_state_dict(state["training"])
    if cluster.rank < len(state["ranks"]):
        own = state["ranks"][cluster.rank]
        torch.set_rng_state(own["rng"])
        if "cuda_rng" in own and cluster.device.type == "cuda":
            torch.cuda.set_rng_state(own["cuda_rng"])
        training.model.load_state_dict(own.get("buffers", {}), strict=False)


def check_same(saved: str, now: str) -> None:
    """Sees that a checkpoint belongs to this recipe.

    Args:
        saved: The resolved recipe of the checkpoint, as YAML.
        now: The resolved recipe of this run, as YAML.

    Raises:
        InputError: A field differs that must not; the first one is named.
    """
    before, after = (_flatten(yaml.safe_load(text)) for text in (saved, now))
    for field in sorted(before.keys() | after.keys()):
        if before.get(field) != after.get(field) and field not in MAY_CHANGE:
            allowed = f"{before.get(field)}, as in the run that is resumed"
            raise InputError(field, after.get(field), allowed, f"--{field} {before.get(field)}")


def _flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        flat |= _flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat
