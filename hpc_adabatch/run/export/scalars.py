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
_HOLDING = ("start", "decision", "micro_batch", "resume")


class Curves:
    """The curves of a run, of which each line adds points."""

    def __init__(self) -> None:
        self._metric = "metric"
        self._batch: int | None = None

    def take(self, record: Record) -> tuple[dict[str, float], str | None]:
        """Returns the values that the next line adds, by tag, and what it tells in words.

        Numbers that are not finite are left out. The words are None where there is nothing to tell, as of a decision
        that kept the batch.
        """
        if record["kind"] == "start":
            self._metric = str(record["metric"])
        before, self._batch = self._batch, record["global_batch"] if record["kind"] in _HOLDING else self._batch
        found = {tag: float(value) for tag, value in self._values(record).items() if value is not None}
        return found, _words(record, before)

    def _values(self, record: Record) -> dict[str, Any]:
        kind = record["kind"]
        found = {tag: record.get(name) for name, tag in _TAGS.get(kind, {}).items()}
        if kind in _HOLDING:
            found |= {tag: record.get(name) for name, tag in _BATCH.items()}
        if kind == "statistics":
            found |= {"run/updates": record["step"], "run/epoch": record["epoch"]}
        if kind == "evaluation":
            found |= {f"test/{name}": value for name, value in (record.get("scores") or {}).items()}
            found[f"test/{self._metric}"] = record["metric"]
        if kind == "trust_ratios":
            found |= {f"trust_ratio/{name}": value for name, value in record["ratios"].items()}
        return found


def _words(record: Record, batch_before: int | None) -> str | None:
    kind, batch, reason = record["kind"], record.get("global_batch"), record.get("reason") or ""
    match kind:
        case "decision":
            return f"batch {batch_before} to {batch}: {reason}" if batch != batch_before else None
        case "resume":
            return f"went on after update {record['step']} on {record['world_size']} rank(s)"
        case "micro_batch":
            return f"micro-batch at most {record['max_micro_batch']}: {reason}"
        case "skipped" | "gap" | "end":
            return f"{kind}: {reason}"
    return None
