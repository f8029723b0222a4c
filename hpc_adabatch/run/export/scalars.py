"""The curves of a run by tag, line by line of its journal, as loggers want them.

    train/loss  train/learning_rate  train/samples_per_s
    batch/global  batch/micro  batch/passes
    noise/scale  noise/low  noise/high  noise/variance  noise/signal
    test/loss  test/METRIC  test/SCORE
    trust_ratio/PARAMETER
    run/updates  run/epoch

The x of a point is the number of samples trained on: over updates a batch that grows would press the end of a run
together. What a change, a restart, a skipped update or the end was for comes as text.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...training.journal import Record

_TAGS = {
    "statistics": {"loss": "train/loss", "learning_rate": "train/learning_rate"},
    "noise": {
        **{"noise_scale": "noise/scale", "low": "noise/low", "high": "noise/high"},
        **{"variance": "noise/variance", "signal": "noise/signal"},
    },
    "evaluation": {"loss": "test/loss", "samples_per_s": "train/samples_per_s"},
}
_BATCH = {"global_batch": "batch/global", "micro_batch": "batch/micro", "passes": "batch/passes"}
_HOLDING = ("start", "decision", "resume")
_TOLD = ("decision", "resume", "skipped", "gap", "end")


class Curves:
    """The curves of a run, of which each line adds points."""

    def __init__(self) -> None:
        self._metric = "metric"
        self._batch: int | None = None

    def pass_over(self, record: Record) -> None:
        """Takes note of a line whose points are there already."""
        if record["kind"] == "start":
            self._metric = str(record["metric"])
        if record["kind"] in _HOLDING:
            self._batch = record["global_batch"]

    def points(self, record: Record) -> Iterator[tuple[str, float]]:
        """Yields the tag and the value of each point that a line adds; numbers that are not finite are left out."""
        kind, metric = record["kind"], record["metric"] if record["kind"] == "start" else self._metric
        self._metric = str(metric)
        found: dict[str, Any] = {tag: record.get(name) for name, tag in _TAGS.get(kind, {}).items()}
        if kind in _HOLDING:
            found |= {tag: record.get(name) for name, tag in _BATCH.items()}
        if kind == "statistics":
            found |= {"run/updates": record["step"], "run/epoch": record["epoch"]}
        if kind == "evaluation":
            found |= {f"test/{name}": value for name, value in (record.get("scores") or {}).items()}
            found[f"test/{self._metric}"] = record["metric"]
        if kind == "trust_ratios":
            found |= {f"trust_ratio/{name}": value for name, value in record["ratios"].items()}
        yield from ((tag, float(value)) for tag, value in found.items() if value is not None)

    def text(self, record: Record) -> str | None:
        """Returns what a line tells in words; None for one that tells nothing, as of a decision that kept the batch."""
        kind, batch = record["kind"], record.get("global_batch")
        before, self._batch = self._batch, batch if kind in _HOLDING else self._batch
        if kind not in _TOLD or (kind == "decision" and batch == before):
            return None
        reason = record.get("reason") or ""
        match kind:
            case "decision":
                return f"batch {before} to {batch}: {reason}"
            case "resume":
                return f"went on after update {record['step']} on {record['world_size']} rank(s)"
        return f"{kind}: {reason}"
