"""Where a run stands, for people: rows of a panel in a terminal, or a line in a log."""

from __future__ import annotations

from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ...numerals import brief
from ...terminal import count, number
from ...training.journal import Record
from ..report.words import in_time
from .position import Change, Position

BAR_WIDTH = 40


def title(position: Position) -> str:
    """Returns what runs, and where it does now."""
    start = position.start
    ranks, nodes = position.place["world_size"], position.place.get("nodes", 1)
    where = f"{ranks} rank{'s' if ranks != 1 else ''} on {nodes} node{'s' if nodes != 1 else ''}"
    return f"{start['name']}: {start['task']}, {start['model']}, {start['policy']} with {start['optimizer']}; {where}"


def panel(position: Position, *beside: tuple[str, str]) -> Table:
    """Returns rows of a name and a text below a bar of the whole run.

    Args:
        position: The position of the run.
        beside: Further rows.
    """
    bar = ProgressBar(total=1.0, completed=position.progress, width=BAR_WIDTH)
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(f"{100 * position.progress:.0f} % of the run", bar)
    for name, text in (*rows(position), *beside):
        grid.add_row(Text(name), Text(text))
    return grid


def rows(position: Position) -> list[tuple[str, str]]:
    """Returns the names and texts of a panel; what is not known yet is left out."""
    holding, step, noise = position.holding, position.statistics, position.noise
    rate = step if step is not None and step["step"] > holding["step"] else holding
    found = [
        ("epoch", f"{position.done:.2f} of {position.epochs:g}{_left(position, '; ')}"),
        ("global batch", f"{count(holding['global_batch'])}, {_passes(holding)}{_maximum(position)}"),
        ("learning rate", f"{rate['learning_rate']:.4g}"),
    ]
    if noise is not None:
        found.append(("noise scale", f"{number(noise['noise_scale'])} (95 %: {_interval(noise)})"))
    if step is not None and step["loss"] is not None:
        found.append(("training loss", f"{step['loss']:.4f}"))
    if position.evaluation is not None and position.best is not None:
        found.append((f"test {position.start['metric']}", _evaluated(position.evaluation, position.best)))
    if position.samples_per_s is not None:
        found.append(("samples/s", number(position.samples_per_s)))
    if position.change is not None:
        found.append(("last change", _changed(position, position.change)))
    if position.decision is not None and (position.change is None or position.decision is not position.change.record):
        found.append(("last decision", f"{_at(position, position.decision)}{_reason(position.decision)}"))
    counted = {"restarts": position.restarts, "skipped updates": position.skipped}
    return found + [(name, count(many)) for name, many in counted.items() if many]


def line(position: Position) -> str:
    """Returns the position in one line."""
    step = position.statistics
    loss = f"  loss {step['loss']:.4f}" if step is not None and step["loss"] is not None else ""
    batch = f"batch {position.holding['global_batch']}"
    return f"epoch {position.done:.2f} of {position.epochs:g}{loss}  {batch}{more(position)}"


def more(position: Position | None) -> str:
    """Returns what follows epoch, loss and batch in a line; an empty text where nothing is known."""
    if position is None:
        return ""
    step, noise, speed = position.statistics, position.noise, position.samples_per_s
    parts = [f"learning rate {step['learning_rate']:.4g}"] if step is not None else []
    parts += [f"noise scale {brief(noise['noise_scale'])}"] if noise is not None else []
    parts += [f"{speed:.0f} samples/s"] if speed is not None else []
    return "".join(f"  {part}" for part in parts) + _left(position, "  ")


def event(position: Position) -> str | None:
    """Returns what the last line says that a person wants to hear at once; None for a line that says nothing new."""
    record = position.last
    match record["kind"]:
        case "decision" if position.change is not None and position.change.record is record:
            return f"batch {_changed(position, position.change)}"
        case "evaluation" if position.evaluation is record and position.best is not None:
            return f"test {position.start['metric']} {_evaluated(record, position.best)}"
        case "resume":
            return f"went on after update {record['step']} on {record['world_size']} rank(s)"
        case "micro_batch":
            return f"micro-batch at most {count(record['max_micro_batch'])}: {record['reason']}"
        case "skipped" | "gap":
            return f"{record['kind']} at update {record['step']}: {record['reason']}"
    return None


def _left(position: Position, before: str) -> str:
    return f"{before}about {in_time(position.left_s)} left" if position.left_s is not None else ""


def _passes(holding: Record) -> str:
    passes, micro = holding["passes"], holding["micro_batch"]
    return f"{count(passes)} pass{'es' if passes != 1 else ''} of at most {count(micro)} on each rank"


def _maximum(position: Position) -> str:
    maximum = position.start.get("max_global_batch")
    return f"; maximum {count(maximum)}" if maximum is not None else ""


def _interval(noise: Record) -> str:
    ends = [number(noise.get(end)) if noise.get(end) is not None else "no end" for end in ("low", "high")]
    return " to ".join(ends)


def _evaluated(last: Record, best: Record) -> str:
    text = f"{last['metric']:.4f} in epoch {last['epoch'] + 1}"
    return text if best is last else f"{text}; best {best['metric']:.4f} in epoch {best['epoch'] + 1}"


def _changed(position: Position, change: Change) -> str:
    now = change.record
    return f"{count(change.before)} to {count(now['global_batch'])} {_at(position, now)}{_reason(now)}"


def _at(position: Position, record: Record) -> str:
    return f"at epoch {record['cursor'] / position.start['samples_per_epoch']:.2f}"


def _reason(record: Record) -> str:
    return f": {record['reason']}" if record.get("reason") else ""
