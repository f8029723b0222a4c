"""The result of a finished run, for tools and for people: result.json, and a table.

Everything is made from the journal, so it can be made again for any run. docs/run-folder.md describes the files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from rich.console import RenderableType
from rich.table import Table

from ..batches.plan import steps_per_epoch
from ..errors import reading
from ..files import write_json
from ..records import check_format
from ..terminal import table
from ..training.journal import Record, read
from .folder import RunFolder
from .growth import engine, growth, phases, world_size
from .target import Target, first_reached


def write_result(
    path: Path,
    records: list[Record],
    *,
    wall_s: float,
    samples_per_s: float,
    target: Target | None = None,
) -> None:
    """Writes result.json, which exists only when it is complete.

    Args:
        path: The file.
        records: The whole journal.
        wall_s: The seconds of the run, earlier parts of a resumed one included.
        samples_per_s: The samples per second of training, over all ranks.
        target: The metric to train to; None for the whole recipe.
    """
    start, end = records[0], records[-1]
    per_epoch, reference = start["samples_per_epoch"], start.get("reference_batch") or start["global_batch"]
    epochs = _whole(end["cursor"] / per_epoch)  # a run may have been prolonged since its start
    clock = end.get("clock", epochs)
    fixed = round(steps_per_epoch(per_epoch, reference) * clock)
    result = {
        "task": start["task"],
        "name": start["name"],
        "model": start["model"],
        "policy": start["policy"],
        "optimizer": start["optimizer"],
        "world_size": world_size(records),
        "nodes": start["nodes"],
        "engine": engine(records),
        "epochs": epochs,
        "clock": clock,
        "steps": end["step"],
        "reference_batch": reference,
        "steps_of_fixed_batch": fixed,
        "samples_seen": end["cursor"],
        "wall_s": round(wall_s, 3),
        "samples_per_s": round(samples_per_s, 1),
        "initial_global_batch": start["global_batch"],
        "final_global_batch": growth(records)[-1][1],
        "metric": {"name": start["metric"], "value": end["metric"]},
        "reached": first_reached(target, records),
        "batches": [[round(epoch, 6), batch] for epoch, batch in growth(records)],
    }
    write_json(path, result)


def report(folder: Path) -> Iterator[RenderableType]:
    """Yields the table of the batch's growth, the metric, the updates saved, and the paths of the files.

    Raises:
        InputError: There is no complete run in the folder, or its files are damaged.
    """
    allowed = "the folder of a complete run, with result.json in it"
    with reading("RUN", folder, allowed, "adabatch report runs/NAME"):
        yield from list(_parts(RunFolder(folder)))


def _parts(paths: RunFolder) -> Iterator[RenderableType]:
    result = json.loads(paths.result.read_text(encoding="utf-8"))
    check_format(result, "RUN", paths.result)
    records = read(paths.journal)
    yield _table(records)
    metric = result["metric"]
    by = f" by {result['engine']}" if result.get("engine") not in (None, "none") else ""
    where = f"{result['world_size']} rank(s){by}, {result['wall_s']:.1f} s"
    evaluated = any(record["kind"] == "evaluation" for record in records)
    value = f"{metric['value']:.4f}" if metric["value"] is not None else "not finite" if evaluated else "not evaluated"
    yield f"test {metric['name']}  {value} after {result['epochs']:.6g} epochs on {where}"
    steps, fixed = result["steps"], result["steps_of_fixed_batch"]
    reference = result.get("reference_batch", result["initial_global_batch"])
    saved = f"{fixed - steps} saved, {fixed / steps:.2f} times fewer"
    yield f"updates        {steps} instead of {fixed} with the batch fixed at {reference}: {saved}"
    yield f"results        {paths.result}\npicture        {paths.picture}"


def _whole(value: float) -> float:
    return int(value) if value == int(value) else value


def _table(records: list[Record]) -> Table:
    per_epoch, last = records[0]["samples_per_epoch"], records[-1]["cursor"]
    changed = phases(records)
    ends = [record["cursor"] for record in changed[1:]] + [last]
    rows = []
    for record, end in zip(changed, ends, strict=True):
        within = [other for other in records if record["cursor"] < other["cursor"] <= end]
        steps = max(other["step"] for other in within) - record["step"]
        used = [record, *(other for other in within if other["kind"] == "statistics")]
        rates = [f"{other['learning_rate']:.4g}" for other in used]
        metrics = [other["metric"] for other in within if other["kind"] == "evaluation"]
        rows.append(
            (
                f"{record['cursor'] / per_epoch:.4g} to {end / per_epoch:.4g}",
                str(record["global_batch"]),
                f"{record['passes']} x {record['micro_batch']}",
                rates[0] if rates[0] == rates[-1] else f"{rates[0]} to {rates[-1]}",
                str(steps),
                f"{metrics[-1]:.4f}" if metrics and metrics[-1] is not None else "",
            )
        )
    headings = ["epochs", "global batch", "passes x micro-batch", "learning rate", "updates"]
    return table([*headings, f"test {records[0]['metric']}"], rows, unbroken=("epochs",))
