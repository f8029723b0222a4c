"""The state of all ranks at a step boundary, and going on from it.

Shared by all ranks: weights, optimizer, plan, batch, decisions (``AdaptiveTraining.state_dict``). Each rank's own: the
generators that dropout draws from and, inside an epoch, the running statistics of normalisation layers.

Not here: files (checkpoint.py), when to save (run.py).
"""

from __future__ import annotations

from typing import Any

import torch
import yaml

from ..cluster import Cluster
from ..errors import InputError
from ..training.adaptive import AdaptiveTraining

MAY_CHANGE = ("epochs", "workers", "evaluation_batch", "journal_every")  # between a checkpoint and its resumption


def collect(training: AdaptiveTraining, cluster: Cluster) -> dict[str, Any]:
    """The state of all ranks, on every rank."""
    own: dict[str, Any] = {"rng": torch.get_rng_state()}
    if cluster.device.type == "cuda":
        own["cuda_rng"] = torch.cuda.get_rng_state()
    if not training.plan.epoch_finished:  # at an epoch's end they are averaged
        own["buffers"] = dict(training.model.named_buffers())
    return {"training": training.state_dict(), "ranks": cluster.gather(own)}


def restore(training: AdaptiveTraining, cluster: Cluster, state: dict[str, Any]) -> None:
    """Goes on from ``collect``'s state, on any number of ranks: new ones keep the generators they have."""
    training.load_state_dict(state["training"])
    if cluster.rank < len(state["ranks"]):
        own = state["ranks"][cluster.rank]
        torch.set_rng_state(own["rng"])
        if "cuda_rng" in own and cluster.device.type == "cuda":
            torch.cuda.set_rng_state(own["cuda_rng"])
        training.model.load_state_dict(own.get("buffers", {}), strict=False)


def check_same(saved: str, now: str) -> None:
    """Sees that a checkpoint belongs to this recipe; both are resolved recipes as YAML.

    Raises:
        InputError: naming the first field that differs and must not.
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
