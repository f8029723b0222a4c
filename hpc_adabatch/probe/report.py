"""What a probe prints, and its file.

Not here: measuring (messages.py, steps.py); what the file's fields mean (this package's docstring).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich.box import ASCII2
from rich.console import RenderableType
from rich.table import Table

from ..errors import require
from ..files import make_writable
from .messages import Messages
from .steps import Steps
from .timing import Times


def check_writable(path: Path) -> None:
    """Sees, before anything is measured, that the file can be written.

    Raises:
        InputError: it cannot.
    """
    require(not path.is_dir(), "out", f"{path}, a folder", "a file", f"--out {path / 'probe.json'}")
    allowed = "a file in a folder that can be written"
    make_writable(path.parent, given=path, allowed=allowed, example="--out probe.json")


def write(path: Path, content: dict[str, Any]) -> None:
    """Writes JSON by rename: the file is whole, or as it was before."""
    text = json.dumps(content, indent=2, allow_nan=False)
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(f"{text}\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def show_messages(messages: Messages) -> Iterator[RenderableType]:
    """The table of sums over ranks, the line through them, and a decision."""
    yield _table(
        {
            "allreduce": lambda one: _bytes(one.message_bytes),
            "ms": lambda one: _ms(one.time),
            "algorithm\nMB/s": lambda one: _number(one.algorithm_bytes_per_s / 1e6),
            "bus\nMB/s": lambda one: _number(one.bus_bytes_per_s / 1e6),
            "repeats": lambda one: str(one.time.repeats),
        },
        messages.allreduce,
    )
    fit, decision = messages.fit, messages.decision
    bandwidth = fit.bandwidth_bytes_per_s
    per_byte = f"bytes / {_number(bandwidth / 1e6)} MB/s" if bandwidth is not None else "nothing for more bytes"
    off = f"off by at most {100 * fit.largest_relative_error:.0f} %"
    yield f"allreduce takes {_number(1000 * fit.latency_s)} ms + {per_byte}, {off}"
    yield f"a decision of {decision.message_bytes} bytes takes {_ms(decision.announce)} ms as training sends it,"
    yield f"{_ms(decision.broadcast)} ms by Horovod's broadcast"


def show_steps(steps: Steps, messages: Messages | None) -> Iterator[RenderableType]:
    """The table of micro-batches, what was left out, and the sum of the gradients by the line."""
    yield _table(
        {
            "micro-\nbatch": lambda one: str(one.micro_batch),
            "forward and\nbackward, ms": lambda one: _ms(one.forward_backward, "\n"),
            "step alone,\nms": lambda one: _ms(one.step_alone, "\n"),
            "step,\nms": lambda one: _ms(one.step, "\n"),
            "exposed,\nms": lambda one: "" if one.exposed is None else _ms(one.exposed, "\n"),
            "samples/s\na rank": lambda one: _number(one.samples_per_s_per_rank),
            "samples/s": lambda one: _number(one.samples_per_s),
        },
        steps.steps,
    )
    if steps.steps and steps.steps[0].exposed is not None:
        yield "step alone: without communication; exposed: step - step alone, round by round"
    for reason in dict.fromkeys(one.reason for one in steps.left_out):
        sizes = ", ".join(str(one.micro_batch) for one in steps.left_out if one.reason == reason)
        yield f"micro-batch {sizes} left out: {reason}"
    gradients = f"{steps.parameters:,} parameters, {_number(steps.gradient_bytes / 1e6)} MB of gradients"
    by_the_line = messages and f": {_number(1000 * messages.fit.seconds(steps.gradient_bytes))} ms as one allreduce"
    yield gradients + (by_the_line or "")


def _table(columns: dict[str, Callable[[Any], str]], rows: list[Any]) -> Table:
    # horovodrun passes output on in pieces that may end inside a character of several bytes
    table = Table(title="median (quartiles)", title_justify="left", title_style="", box=ASCII2)
    for heading in columns:
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(*(cell(row) for cell in columns.values()))
    return table


def _ms(times: Times, between: str = " ") -> str:
    lower, median, upper = (
        _number(1000 * seconds) for seconds in (times.lower_quartile_s, times.median_s, times.upper_quartile_s)
    )
    return f"{median}{between}({lower} to {upper})"


def _number(value: float) -> str:
    """Three digits, or all before the point: 0.0532, 5.27, 11,240."""
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}"


def _bytes(count: int) -> str:
    return f"{count >> 20} MiB" if count >= 1 << 20 else f"{count >> 10} KiB"
