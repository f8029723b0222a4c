"""The tables of a probe, and what its files say of the ranks. The package's docstring tells the fields of the file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from rich.console import RenderableType

from ..cluster import Cluster
from ..errors import require
from ..files import make_writable
from ..terminal import number, table
from .messages import Messages
from .steps import Steps
from .timing import Times

TITLE = "median (quartiles)"


def check_writable(path: Path) -> None:
    """Checks that the file can be written, before anything is measured.

    Raises:
        InputError: The file cannot be written.
    """
    require(not path.is_dir(), "out", f"{path}, a folder", "a file", f"--out {path / 'probe.json'}")
    allowed = "a file in a folder that can be written"
    make_writable(path.parent, given=path, allowed=allowed, example="--out probe.json")


def place(cluster: Cluster) -> dict[str, object]:
    """Returns the fields of a file that say on which ranks it was measured."""
    device = cluster.device
    return {
        "world_size": cluster.size,
        "nodes": cluster.n_nodes,
        "launcher": cluster.launcher,
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
    }


def show_messages(messages: Messages) -> Iterator[RenderableType]:
    """Yields the table of sums over ranks, the line through them, and the time of a decision."""
    yield table(
        ("allreduce", "ms", "algorithm\nMB/s", "bus\nMB/s", "repeats"),
        [
            (
                _bytes(one.message_bytes),
                _ms(one.time),
                number(one.algorithm_bytes_per_s / 1e6),
                number(one.bus_bytes_per_s / 1e6),
                str(one.time.repeats),
            )
            for one in messages.allreduce
        ],
        title=TITLE,
        ascii_only=True,
    )
    fit, decision = messages.fit, messages.decision
    bandwidth = fit.bandwidth_bytes_per_s
    per_byte = f"bytes / {number(bandwidth / 1e6)} MB/s" if bandwidth is not None else "nothing for more bytes"
    off = f"off by at most {100 * fit.largest_relative_error:.0f} %"
    yield f"allreduce takes {number(1000 * fit.latency_s)} ms + {per_byte}, {off}"
    yield f"a decision of {decision.message_bytes} bytes takes {_ms(decision.announce)} ms as training sends it,"
    yield f"{_ms(decision.broadcast)} ms by the engine's broadcast"


def show_steps(steps: Steps, messages: Messages | None) -> Iterator[RenderableType]:
    """Yields the table of micro-batches, those left out, and the size of the gradients."""
    headings = ("micro-\nbatch", "forward and\nbackward, ms", "step alone,\nms", "step,\nms", "exposed,\nms")
    yield table(
        (*headings, "samples/s\na rank", "samples/s"),
        [
            (
                str(one.micro_batch),
                *(
                    "" if times is None else _ms(times, "\n")
                    for times in (one.forward_backward, one.step_alone, one.step, one.exposed)
                ),
                number(one.samples_per_s_per_rank),
                number(one.samples_per_s),
            )
            for one in steps.steps
        ],
        title=TITLE,
        ascii_only=True,
    )
    if steps.steps and steps.steps[0].exposed is not None:
        yield "step alone: without communication; exposed: step - step alone, round by round"
    for reason in dict.fromkeys(one.reason for one in steps.left_out):
        sizes = ", ".join(str(one.micro_batch) for one in steps.left_out if one.reason == reason)
        yield f"micro-batch {sizes} left out: {reason}"
    gradients = f"{steps.parameters:,} parameters, {number(steps.gradient_bytes / 1e6)} MB of gradients"
    by_the_line = messages and f": {number(1000 * messages.fit.seconds(steps.gradient_bytes))} ms as one allreduce"
    yield gradients + (by_the_line or "")


def _ms(times: Times, between: str = " ") -> str:
    lower, median, upper = (
        number(1000 * seconds) for seconds in (times.lower_quartile_s, times.median_s, times.upper_quartile_s)
    )
    return f"{median}{between}({lower} to {upper})"


def _bytes(count: int) -> str:
    return f"{count >> 20} MiB" if count >= 1 << 20 else f"{count >> 10} KiB"
