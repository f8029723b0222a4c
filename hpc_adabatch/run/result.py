"""What a finished run leaves for people and tools: result.json, training.png, a table.

Everything is made from the journal, so it can be made again for any run. docs/run-folder.md describes the files.

Not here: the journal itself (journal.py).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from rich.console import RenderableType
from rich.table import Table

from ..errors import InputError
from ..training.journal import Record, read
from .folder import RunFolder
from .target import Target, first_reached


def phases(records: list[Record]) -> list[Record]:
    """The records of the start and of every change of the batch on which something was trained."""
    said = [record for record in records if record["kind"] in ("start", "decision")]
    holding = [a for a, b in pairwise(said) if a["cursor"] != b["cursor"]] + said[-1:]  # the last word at each cursor
    changed = [b for a, b in pairwise(holding) if a["global_batch"] != b["global_batch"]]
    return [holding[0], *(record for record in changed if record["cursor"] < records[-1]["cursor"])]


def growth(records: list[Record]) -> list[tuple[float, int]]:
    """(epoch, global batch) at the start and at every change of the batch."""
    return [(record["cursor"] / records[0]["samples_per_epoch"], record["global_batch"]) for record in phases(records)]


def write_result(
    path: Path,
    records: list[Record],
    *,
    wall_s: float,
    samples_per_s: float,
    target: Target | None = None,
) -> None:
    """Writes result.json by rename: it exists only when it is complete."""
    start, end = records[0], records[-1]
    epochs = end["cursor"] // start["samples_per_epoch"]  # a run may have been prolonged since its start
    fixed = -(-start["samples_per_epoch"] // start["global_batch"]) * epochs
    result = {
        "task": start["task"],
        "name": start["name"],
        "model": start["model"],
        "policy": start["policy"],
        "optimizer": start["optimizer"],
        "world_size": records_world_size(records),
        "nodes": start["nodes"],
        "epochs": epochs,
        "steps": end["step"],
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
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(result, file, indent=2, allow_nan=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def records_world_size(records: list[Record]) -> int:
    """Ranks of the last part of the run."""
    return [record["world_size"] for record in records if record["kind"] in ("start", "resume")][-1]


def report(folder: Path) -> Iterator[RenderableType]:
    """The table of the batch's growth, the metric, the updates saved, and where the files lie.

    Raises:
        InputError: there is no complete run in the folder.
    """
    paths = RunFolder(folder)
    if not paths.result.exists():
        raise InputError(
            "RUN", folder, "the folder of a complete run, with result.json in it", "adabatch report runs/NAME"
        )
    result = json.loads(paths.result.read_text(encoding="utf-8"))
    yield _table(read(paths.journal))
    metric = result["metric"]
    where = f"{result['world_size']} rank(s), {result['wall_s']:.1f} s"
    value = "not finite" if metric["value"] is None else f"{metric['value']:.4f}"
    yield f"test {metric['name']}  {value} after {result['epochs']} epochs on {where}"
    steps, fixed = result["steps"], result["steps_of_fixed_batch"]
    saved = f"{fixed - steps} saved, {fixed / steps:.2f} times fewer"
    yield f"updates        {steps} instead of {fixed} with the batch fixed at {result['initial_global_batch']}: {saved}"
    yield f"results        {paths.result}\npicture        {paths.picture}"


def _table(records: list[Record]) -> Table:
    shown = Table()
    for heading in (
        "epochs",
        "global batch",
        "passes x micro-batch",
        "learning rate",
        "updates",
        f"test {records[0]['metric']}",
    ):
        shown.add_column(heading, justify="right", no_wrap=heading == "epochs")
    per_epoch, last = records[0]["samples_per_epoch"], records[-1]["cursor"]
    changed = phases(records)
    ends = [record["cursor"] for record in changed[1:]] + [last]
    for record, end in zip(changed, ends, strict=True):
        within = [other for other in records if record["cursor"] < other["cursor"] <= end]
        steps = max(other["step"] for other in within) - record["step"]
        used = [record, *(other for other in within if other["kind"] == "statistics")]
        rates = [f"{other['learning_rate']:.4g}" for other in used]
        metrics = [other["metric"] for other in within if other["kind"] == "evaluation"]
        shown.add_row(
            f"{record['cursor'] / per_epoch:.4g} to {end / per_epoch:.4g}",
            str(record["global_batch"]),
            f"{record['passes']} x {record['micro_batch']}",
            rates[0] if rates[0] == rates[-1] else f"{rates[0]} to {rates[-1]}",
            str(steps),
            f"{metrics[-1]:.4f}" if metrics and metrics[-1] is not None else "",
        )
    return shown


def write_picture(path: Path, records: list[Record]) -> None:
    """Batch, learning rate, loss and metric over the epochs, as PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    start = records[0]

    def series(kind: str, field: str) -> tuple[list[float], list[float]]:
        chosen = [record for record in records if record["kind"] == kind and record[field] is not None]
        return [record["cursor"] / start["samples_per_epoch"] for record in chosen], [
            record[field] for record in chosen
        ]

    changes = growth(records)
    figure, ((batch, metric), (rate, loss)) = pyplot.subplots(2, 2, figsize=(9, 5.4), sharex=True, layout="constrained")
    epochs = [epoch for epoch, _ in changes] + [records[-1]["cursor"] / start["samples_per_epoch"]]
    batch.step(epochs, [size for _, size in changes] + [changes[-1][1]], where="post", color="C0")
    batch.set_yscale("log", base=2)
    batch.yaxis.set_major_formatter("{x:.0f}")
    batch.set_ylabel("global batch (samples)")
    metric.plot(*series("evaluation", "metric"), color="C3")
    metric.set_ylabel(f"test {start['metric']}")
    rate.plot(*series("statistics", "learning_rate"), color="C1", drawstyle="steps-pre")
    rate.set_ylabel("learning rate")
    loss.plot(*series("statistics", "loss"), color="C2", alpha=0.6, label="train")
    loss.plot(*series("evaluation", "loss"), color="C3", label="test")
    loss.set_yscale("log")
    loss.set_ylabel("loss")
    loss.legend()
    for axes in (rate, loss):
        axes.set_xlabel("epoch")
    for axes in (batch, rate, loss, metric):
        axes.grid(alpha=0.3)
    figure.suptitle(
        f"{start['name']}: {start['policy']} with {start['optimizer']} on {records_world_size(records)} rank(s)"
    )
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
