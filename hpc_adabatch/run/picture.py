"""The picture of a run: training.png, made from the journal."""

from __future__ import annotations

from pathlib import Path

from ..training.journal import Record
from .growth import growth, world_size


def write_picture(path: Path, records: list[Record]) -> None:
    """Writes batch, learning rate, loss and metric over the epochs, as PNG."""
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
    figure.suptitle(f"{start['name']}: {start['policy']} with {start['optimizer']} on {world_size(records)} rank(s)")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
