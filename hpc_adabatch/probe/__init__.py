"""Two minutes on the real ranks: how long messages take, and steps with communication and without.

    horovodrun -np 4 adabatch probe recipes/quickstart.yaml --out probe.json

    timing     rounds on all ranks: median, quartiles, repeats
    messages   allreduce by size, a decision
    fit        time = latency + bytes / bandwidth
    steps      a recipe's pass, step alone, step: samples/s and exposed communication by micro-batch
    report     the tables, and the file

The file is JSON. Times are objects of ``median_s``, ``lower_quartile_s``, ``upper_quartile_s`` (seconds) and
``repeats``; each repeat is the time on its slowest rank. No number in it is nan or infinite.

    format                              1 (see docs/run-folder.md, "Formats")
    world_size, nodes, launcher, device, device_name, threads      as in the journal of a run; threads of one rank
    seconds                             the time that --seconds allowed
    messages                            null with one rank, else
      allreduce[]                       message_bytes, time, algorithm_bytes_per_s, bus_bytes_per_s; by message_bytes
      fit                               latency_s, bandwidth_bytes_per_s (null: larger messages take no longer),
                                        largest_relative_error, of the medians
      decision                          message_bytes; broadcast and announce, which are times
    recipe                              null without one, else name, task, model, optimizer, precision, channels_last
    steps                               null without a recipe, else
      parameters, gradient_bytes        the trained parameters, and the bytes summed over the ranks in each step
      steps[]                           micro_batch, global_batch; forward_backward, step_alone, step and exposed, which
                                        are times (exposed: null with one rank, else step - step_alone of the same
                                        round, negative where that scatters); samples_per_s_per_rank, samples_per_s
      left_out[]                        micro_batch, reason
"""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path

from ..cluster import Cluster
from ..errors import require
from ..files import write_json
from ..recipe import Recipe
from ..terminal import display
from .messages import measure_messages
from .report import check_writable, place, show_messages, show_steps
from .steps import RecipeSteps
from .timing import Timer

SHARE_OF_MESSAGES = 1 / 3  # of the time, when there is a recipe too


def check_seconds(seconds: float) -> None:
    """Raises an InputError unless there is time to measure.

    Args:
        seconds: The time that --seconds allows.
    """
    require(0 < seconds < math.inf, "seconds", seconds, "more than 0", "--seconds 120")


def measure(recipe: Recipe | None, out: Path | None, *, seconds: float, cluster: Cluster) -> None:
    """Measures on all ranks; rank 0 prints the tables and writes the file.

    Args:
        recipe: The recipe whose steps are timed; None to time messages alone.
        out: The JSON file; None to write none.
        seconds: The time that measuring may take, about; reading the data comes on top.
        cluster: The ranks.

    Raises:
        InputError: The file cannot be written, or data, model or sizes of the recipe cannot be used; raised on every
            rank.
    """
    with cluster.together():
        if cluster.leads and out is not None:
            check_writable(out)
    recipe_steps = RecipeSteps(recipe, cluster) if recipe is not None else None
    timer = Timer(cluster, seconds)
    about = {**place(cluster), "seconds": seconds}
    if cluster.leads:
        display(
            f"{cluster.size} rank(s) on {cluster.n_nodes} node(s), launched by {cluster.launcher}, "
            f"{about['device_name']}, {about['threads']} thread(s) each; for at most about {seconds:g} s"
        )
    messages = steps = None
    if cluster.size > 1:
        messages = measure_messages(timer, share=SHARE_OF_MESSAGES if recipe_steps is not None else 1.0)
        if cluster.leads:
            display(*show_messages(messages))
    elif cluster.leads:
        display("one rank: there are no messages to measure; horovodrun -np 2 adabatch probe measures them")
    if recipe_steps is not None:
        steps = recipe_steps.measure(timer)
        if cluster.leads:
            display(*show_steps(steps, messages))
    if cluster.leads and out is not None:
        content = {
            **about,
            "messages": asdict(messages) if messages is not None else None,
            "recipe": _described(recipe) if recipe is not None else None,
            "steps": asdict(steps) if steps is not None else None,
        }
        write_json(out, content)
        display(f"numbers  {out}")


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
