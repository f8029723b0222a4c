"""What reports show as tables: stretches of one batch, decisions with their reasons, restarts, where it ran."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ...numerals import brief
from ...terminal import count
from ...training.journal import Record
from ..growth import phases
from .account import Account
from .reasons import kind

SHOWN = 200
"""Rows of a long table that a page shows: half of them from its beginning, half from its end."""


@dataclass(frozen=True)
class Table:
    """A table for the page or the terminal."""

    head: tuple[str, ...]
    """The headings of its columns."""
    rows: Sequence[tuple[str, ...]]
    """The cells of each row."""
    words: tuple[str, ...] = ()
    """The headings of columns that hold words, which are set to the left."""
    note: str = ""
    """A sentence below it."""


def phase_table(records: list[Record]) -> Table:
    """Returns the stretches of a run in which the global batch stayed, a row each."""
    per_epoch, last = records[0]["samples_per_epoch"], records[-1]["cursor"]
    cursors = [record["cursor"] for record in records]
    changed = phases(records)
    ends = [record["cursor"] for record in changed[1:]] + [last]
    rows = []
    for record, end in zip(changed, ends, strict=True):
        within = records[bisect_right(cursors, record["cursor"]) : bisect_right(cursors, end)]
        steps = max((other["step"] for other in within), default=record["step"]) - record["step"]
        used = [record, *(other for other in within if other["kind"] == "statistics")]
        rates = [f"{other['learning_rate']:.4g}" for other in (used[0], used[-1])]
        metrics = [other["metric"] for other in within if other["kind"] == "evaluation"]
        rows.append(
            (
                f"{brief(record['cursor'] / per_epoch)} to {brief(end / per_epoch)}",
                str(record["global_batch"]),
                f"{record['passes']} x {record['micro_batch']}",
                rates[0] if rates[0] == rates[-1] else f"{rates[0]} to {rates[-1]}",
                str(steps),
                f"{metrics[-1]:.4f}" if metrics and metrics[-1] is not None else "",
            )
        )
    headings = ("epochs", "global batch", "passes x micro-batch", "learning rate", "updates")
    return Table((*headings, f"test {records[0]['metric']}"), rows)


def decision_table(run: Account) -> Table:
    """Returns the decisions that changed batch or rate, with their reasons; the others are counted below."""
    said = [record for record in run.records if record["kind"] in ("start", "decision", "resume")]
    rows, kept = [], Counter[str]()
    for before, after in pairwise(said):
        if after["kind"] != "decision":
            continue
        factors = before["learning_rate_factor"], after["learning_rate_factor"]
        if before["global_batch"] == after["global_batch"] and factors[0] == factors[1]:
            kept[kind(after["reason"])] += 1
            continue
        rows.append(
            (
                _epoch(run, after),
                count(after["step"]),
                f"{before['global_batch']} to {after['global_batch']}",
                f"{factors[0]:.4g}" if factors[0] == factors[1] else f"{factors[0]:.4g} to {factors[1]:.4g}",
                after["reason"] or "not told",
            )
        )
    words = "; ".join(f"{reason} ({count(times)})" for reason, times in kept.most_common(6))
    number = f"{count(kept.total())} decision{'s' if kept.total() > 1 else ''}"
    note = f"{number} changed neither: {words}." if kept else ""
    return Table(("epoch", "update", "global batch", "factor on the rate", "reason"), rows, ("reason",), note)


def restart_table(run: Account) -> Table:
    """Returns when the run went on from a checkpoint, on how many ranks, and what was changed."""
    rows = []
    for record in run.of_kind("resume"):
        changed = record.get("changed") or {}
        told = "; ".join(f"{name}: {before} to {now}" for name, (before, now) in changed.items())
        engine = str(record.get("engine") or "")
        where = str(record["world_size"]), str(record.get("nodes", ""))
        rows.append((_epoch(run, record), count(record["step"]), *where, engine, told or "nothing changed"))
    note = "Work after the last checkpoint was done again; neither its samples nor its time are in the journal."
    return Table(("epoch", "update", "ranks", "nodes", "summed by", "changed"), rows, ("summed by", "changed"), note)


def shown(table: Table) -> Table:
    """Returns the beginning and the end of a table that is too long for a page."""
    if len(table.rows) <= SHOWN:
        return table
    left_out = len(table.rows) - SHOWN
    rows = [*table.rows[: SHOWN // 2], *table.rows[-SHOWN // 2 :]]
    note = f"The first and the last {SHOWN // 2} rows; {count(left_out)} between them are in the journal. {table.note}"
    return Table(table.head, rows, table.words, note.strip())


def facts(pairs: Sequence[tuple[str, object]]) -> Table:
    """Returns a table of names and values; those without a value are left out."""
    rows = [(name, str(value)) for name, value in pairs if value is not None and value != ""]
    return Table(("", " "), rows, ("", " "))


def _epoch(run: Account, record: Record) -> str:
    return brief(record["cursor"] / run.start["samples_per_epoch"])
