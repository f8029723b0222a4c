"""Two minutes on the real ranks: what messages take, what steps take with communication and without.

    horovodrun -np 4 adabatch probe recipes/quickstart.yaml --out probe.json

    timing     rounds on all ranks: median, quartiles, repeats
    messages   allreduce by size, a decision
    fit        time = latency + bytes / bandwidth
    steps      a recipe's pass, step alone, step: samples/s and exposed communication by micro-batch
    report     the tables, and the file

The file is JSON. Times are objects of ``median_s``, ``lower_quartile_s``, ``upper_quartile_s`` (seconds) and
``repeats``; each repeat is the time on its slowest rank. Nothing in it is nan or infinite.

    world_size, nodes, launcher, device, device_name, threads      as in the journal of a run; threads are of one rank
    seconds                             what --seconds allowed
    messages                            null with one rank, else
      allreduce[]                       message_bytes, time, algorithm_bytes_per_s, bus_bytes_per_s; by message_bytes
      fit                               latency_s, bandwidth_bytes_per_s (null: larger takes no longer),
                                        largest_relative_error, of the medians
      decision                          message_bytes; broadcast and announce, which are times
    recipe                              null without one, else name, task, model, optimizer, precision, channels_last
    steps                               null without a recipe, else
      parameters, gradient_bytes        what is trained, and summed over the ranks in each step
      steps[]                           micro_batch, global_batch; forward_backward, step_alone, step and exposed, which
                                        are times (exposed: null with one rank, else step - step_alone of the same
                                        round, negative where that scatters); samples_per_s_per_rank, samples_per_s
      left_out[]                        micro_batch, reason

Not here: whether anything is wrong (doctor.py), what a run will do (run/preview.py).
"""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path

import torch

from ..cluster import Cluster
from ..errors import require
from ..recipe import Recipe
from ..run.progress import ProgressDisplay as Display
from .messages import measure_messages
from .report import check_writable, show_messages, show_steps, write
from .steps import RecipeSteps
from .timing import Timer

SHARE_OF_MESSAGES = 1 / 3  # of the time, when there is a recipe too
WIDTH = 110  # of the tables in log files


def check_seconds(seconds: float) -> None:
    """Raises InputError unless there is time to measure."""
    require(0 < seconds < math.inf, "seconds", seconds, "more than 0", "--seconds 120")


def measure(recipe: Recipe | None, out: Path | None, *, seconds: float, cluster: Cluster) -> None:
    """Measures on all ranks; rank 0 prints, and writes ``out``.

    Args:
        recipe: whose steps to time; None for messages alone.
        out: the file; None for none.
        seconds: to measure for, at most about; reading the data comes on top.
        cluster: the ranks.

    Raises:
        InputError: the file cannot be written, or data, model or sizes of the recipe cannot be used; the same on every
            rank.
    """
    display = Display(cluster.leads)
    if not display.console.is_terminal:
        display.console.width = WIDTH
    with cluster.together():
        if cluster.leads and out is not None:
            check_writable(out)
    recipe_steps = RecipeSteps(recipe, cluster) if recipe is not None else None
    timer = Timer(cluster, seconds)
    place = {
        "world_size": cluster.size,
        "nodes": cluster.n_nodes,
        "launcher": cluster.launcher,
        "device": str(cluster.device),
        "device_name": torch.cuda.get_device_name(cluster.device) if cluster.device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "seconds": seconds,
    }
    display.line(
        f"{cluster.size} rank(s) on {cluster.n_nodes} node(s), launched by {cluster.launcher}, {place['device_name']}, "
        f"{place['threads']} thread(s) each; for at most about {seconds:g} s"
    )
    messages = steps = None
    if cluster.size > 1:
        messages = measure_messages(timer, share=SHARE_OF_MESSAGES if recipe_steps is not None else 1.0)
        if cluster.leads:
            for part in show_messages(messages):
                display.console.print(part)
    else:
        display.line("one rank: there are no messages to measure; horovodrun -np 2 adabatch probe measures them")
    if recipe_steps is not None:
        steps = recipe_steps.measure(timer)
        if cluster.leads:
            for part in show_steps(steps, messages):
                display.console.print(part)
    if cluster.leads and out is not None:
        content = {
            **place,
            "messages": asdict(messages) if messages is not None else None,
            "recipe": _described(recipe) if recipe is not None else None,
            "steps": asdict(steps) if steps is not None else None,
        }
        write(out, content)
        display.line(f"numbers  {out}")


def _described(recipe: Recipe) -> dict[str, object]:
    options = recipe.options
    return {
        "name": recipe.name,
        "task": recipe.chosen["task"],
        "model": recipe.model_name,
        "optimizer": recipe.chosen["optimizer"],
        "precision": options.precision,
        "channels_last": options.channels_last,
    }
