"""How the global batch grew in a run, read from its journal."""

from __future__ import annotations

from itertools import pairwise

from ..training.journal import Record


def phases(records: list[Record]) -> list[Record]:
    """Returns the records of the start and of every change of the batch on which something was trained."""
    said = [record for record in records if record["kind"] in ("start", "decision", "micro_batch", "resume")]
    holding = [a for a, b in pairwise(said) if a["cursor"] != b["cursor"]] + said[-1:]  # the last word at each cursor
    changed = [b for a, b in pairwise(holding) if a["global_batch"] != b["global_batch"]]
    return [holding[0], *(record for record in changed if record["cursor"] < records[-1]["cursor"])]


def growth(records: list[Record]) -> list[tuple[float, int]]:
    """Returns (epoch, global batch) at the start and at every change of the batch."""
    return [(record["cursor"] / records[0]["samples_per_epoch"], record["global_batch"]) for record in phases(records)]


def engine(records: list[Record]) -> str | None:
    """Returns the library that summed over ranks in the last part of a run; None for journals of before it was told."""
    return next((record["engine"] for record in reversed(records) if record.get("engine")), None)


def world_size(records: list[Record]) -> int:
    """Returns the number of ranks of the last part of a run, which may have been resumed on others."""
    return [record["world_size"] for record in records if record["kind"] in ("start", "resume")][-1]


def nodes(records: list[Record]) -> int:
    """Returns the number of nodes of the last part of a run; resumed parts of earlier releases do not tell it."""
    return [record["nodes"] for record in records if record["kind"] in ("start", "resume") and "nodes" in record][-1]
