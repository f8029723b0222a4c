"""The outcome of a run, told from its journal: the fields of result.json, which docs/run-folder.md describes.

Of a run that has not come to its end they are those so far.
"""

from __future__ import annotations

from typing import Any

from ..batches.plan import steps_per_epoch
from ..training.journal import Record
from .growth import engine, growth, nodes, world_size
from .target import Target, first_reached


def outcome(
    records: list[Record],
    *,
    wall_s: float,
    samples_per_s: float | None,
    target: Target | None = None,
) -> dict[str, Any]:
    """Returns the fields of result.json.

    Args:
        records: The whole journal.
        wall_s: The seconds of the run, earlier parts of a resumed one included.
        samples_per_s: The samples per second of training, over all ranks; None where nothing tells it yet.
        target: The metric to train to; None for the whole recipe.
    """
    start, end = records[0], records[-1]
    per_epoch, reference = start["samples_per_epoch"], start.get("reference_batch") or start["global_batch"]
    epochs = _whole(end["cursor"] / per_epoch)  # a run may have been prolonged since its start
    clock = end.get("clock", epochs)
    return {
        "task": start["task"],
        "name": start["name"],
        "model": start["model"],
        "policy": start["policy"],
        "optimizer": start["optimizer"],
        "world_size": world_size(records),
        "nodes": nodes(records),
        "engine": engine(records),
        "epochs": epochs,
        "clock": clock,
        "steps": end["step"],
        "reference_batch": reference,
        "steps_of_fixed_batch": round(steps_per_epoch(per_epoch, reference) * clock),
        "samples_seen": end["cursor"],
        "wall_s": round(wall_s, 3),
        "samples_per_s": round(samples_per_s, 1) if samples_per_s is not None else None,
        "initial_global_batch": start["global_batch"],
        "final_global_batch": growth(records)[-1][1],
        "metric": {"name": start["metric"], "value": _last_metric(records)},
        "reached": first_reached(target, records),
        "batches": [[round(epoch, 6), batch] for epoch, batch in growth(records)],
    }


def _last_metric(records: list[Record]) -> float | None:
    said = (record for record in reversed(records) if "metric" in record and record["kind"] in ("end", "evaluation"))
    return next((record["metric"] for record in said), None)


def _whole(value: float) -> float:
    return int(value) if value == int(value) else value
