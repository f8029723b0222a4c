"""The evidence that computing centres ask for with a proposal: on one page, and up to which node count it holds.

    asked for                                       shown
    three node counts or more, the same input       a row for each; what was the same, what was not
    an efficiency of 75 % or more (the threshold)   R(N) / R(first) * first / N, as in lines.py, with its interval
    wall times                                      of a step or a training, and of the whole job
    utilisation and energy of the GPUs              where nvidia-smi or Slurm's accounting told; else "not measured"
    the batch script, the binding                   the script as the jobs ran it, the binding that it asks for

A request is supported up to the last node count before efficiency first falls below the threshold.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from ...terminal import count, number
from ..scaling.statistics import LEAST_JOBS, Interval, mean
from ..wording import interval, jobs_spread, listed, nodes_in_words
from . import pictures
from .findings import Remark
from .lines import Line, Point, efficiency_factor, rate, speed_up
from .sections import INTERVALS, SCALED, Picture, Section
from .tables import Table, without_empty

LEAST_COUNTS = 3
NOT_MEASURED = "not measured"
_BINDING = (
    r"--(?:cpu-bind|gpu-bind|mem-bind|distribution|hint|threads-per-core|ntasks-per-node|cpus-per-task|gpus-per-task"
    r"|gpus-per-node|gres|bind-to|map-by)[= ][^\s\"'{}]+"
)


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """The facts for a page of evidence: what it is held against, and how its jobs were run."""

    threshold: float
    """The least efficiency that the centre asks for, from 0 to 1."""
    script: str = ""
    """The batch script; empty where there is none."""
    launcher: str = ""
    """The program that started the ranks."""
    flags: tuple[str, ...] = ()
    """The flags that were given to sbatch beside the script."""
    one_machine: bool = False
    """True where all ranks of all cells shared one machine."""
    differing: tuple[str, ...] = ()
    """The fields of the recipe that have another value on each node count."""


def supported(line: Line, threshold: float) -> Point | None:
    """Returns the last point before efficiency first falls below the threshold; None without numbers."""
    found = None
    for point in line.having(rate):
        if efficiency(line, point).value < threshold:
            break
        found = point
    return found


def efficiency(line: Line, point: Point) -> Interval:
    """Returns the efficiency of a point with numbers; 1 at the first, by definition."""
    found = speed_up(line, point)
    return Interval(value=1.0) if found is None else found.times(efficiency_factor(line, point))


def verdicts(lines: Sequence[Line], about: Proposal) -> list[Remark]:
    """Returns up to which node count each line supports a request, and what is too little; at least one remark."""
    said = [Remark(about=line.name, text=" ".join(_verdict(line, about.threshold))) for line in lines if line.scales]
    if not said:
        said = [Remark(about="Numbers", text="The study has none yet: it supports no request.")]
    if about.one_machine:
        text = "All ranks shared one machine: this shows how the study is made, and is no evidence for a request."
        said.insert(0, Remark(about="No nodes", text=text))
    if about.differing:
        text = f"Not the same on all node counts: {listed(about.differing)}, set by --zip."
        said.append(Remark(about="Input", text=text))
    return said


def _verdict(line: Line, threshold: float) -> Iterator[str]:
    having, asked = line.having(rate), f"{100 * threshold:g} %"
    missing = [nodes_in_words(point.nodes) for point in line.points if point not in having]
    point = supported(line, threshold)
    if point is None:
        yield "No node count gave numbers: the study supports no request."
        return
    first = having[0]
    if len(having) < LEAST_COUNTS:
        only = listed([nodes_in_words(one.nodes) for one in having])
        yield f"Too little for a proposal: numbers on {only} only, where {LEAST_COUNTS} node counts or more are asked."
    elif point is first:
        yield f"The study supports no request above {nodes_in_words(first.nodes)}."
    else:
        ranks = point.cells[0].ranks
        yield f"The study supports a request of up to {nodes_in_words(point.nodes)} ({count(ranks)} ranks)."
    if point is not first:
        found = efficiency(line, point)
        against = f"against {nodes_in_words(first.nodes)}; {asked} is asked"
        yield f"Efficiency on {nodes_in_words(point.nodes)} is {interval(found.times(100))} %, {against}."
        if found.low is not None and found.low < threshold:
            yield f"Its interval reaches below {asked}: that may be chance, and more repeats would tell."
    below = [one for one in having if efficiency(line, one).value < threshold]
    if below:
        words = [f"{nodes_in_words(one.nodes)} ({number(100 * efficiency(line, one).value)} %)" for one in below]
        yield f"It is below {asked} on {listed(words)}."
    if missing:
        yield f"No numbers on {listed(missing)}."
    few = [nodes_in_words(one.nodes) for one in having if len(one.values(rate)) < LEAST_JOBS]
    if few:
        yield f"No interval on {listed(few)}: fewer than {LEAST_JOBS} jobs are OK."


def proposal_sections(lines: Sequence[Line], about: Proposal) -> list[Section]:
    """Returns the sections of the page: the numbers of each line, then how they were made."""
    having = [line for line in lines if line.having(rate) and line.scales]
    found = [_numbers(line, about.threshold) for line in having]
    if any(len(line.having(rate)) > 1 for line in having):
        says = "Speed-up over nodes, both axes logarithmic, with the ideal line; the tables above hold its numbers."
        found.append(
            Section(title="Speed-up", picture=Picture(name="speedup", says=says, draw=lambda: pictures.speedup(having)))
        )
    return [*found, _how(about)]


def _numbers(line: Line, threshold: float) -> Section:
    words = (
        f"{_input(line)} Times: median over jobs, and the least and the greatest; those of "
        f"jobs have all attempts in them. {INTERVALS}"
    )
    head = (
        *("nodes", "ranks", "jobs, OK of all", "global batch, samples", "step, ms", "training, s", "job, s"),
        *("samples/s", "speed-up, times", "efficiency, %", f"{100 * threshold:g} % or more"),
    )
    rows = tuple(_row(line, point, threshold) for point in line.having(rate))
    scaling = without_empty(Table(head=head, rows=rows))
    used = ("nodes", "GPUs busy, %", "power of a GPU, W", "energy of a job by Slurm, kWh")
    rows = tuple(
        (
            count(point.nodes),
            _measured(point, "gpu_percent"),
            _measured(point, "gpu_watts"),
            _measured(point, "energy_j", 1 / 3.6e6),
        )
        for point in line.having(rate)
    )
    return Section(title=f"Scaling: {line.name}", words=words, tables=(scaling, Table(head=used, rows=rows)))


def _row(line: Line, point: Point, threshold: float) -> tuple[str, ...]:
    found = efficiency(line, point)
    hours = point.values(lambda job: job.node_hours)
    return (
        count(point.nodes),
        count(point.cells[0].ranks),
        f"{len(point.jobs)} of {len(point.cells)}",
        count(next((cell.global_batch for cell in point.cells if cell.global_batch), None)),
        jobs_spread(point.values(lambda job: job.step_s), 1000),
        jobs_spread(point.values(lambda job: job.wall_s)),
        jobs_spread(hours, 3600 / point.nodes) or NOT_MEASURED,
        interval(mean(point.values(rate))),
        interval(speed_up(line, point) or Interval(value=1.0)),
        interval(found.times(100)),
        "yes" if found.value >= threshold else "no",
    )


def _measured(point: Point, field: str, factor: float = 1.0) -> str:
    values = [value for job in point.jobs if (value := getattr(job, field)) is not None]
    return number(factor * fmean(values)) if values else NOT_MEASURED


def _input(line: Line) -> str:
    batches = {cell.global_batch for point in line.having(rate) for cell in point.jobs}
    if line.mode == "strong" and len(batches) > 1:
        return "The global batch is not the same on all node counts."
    return f"Recipe and data are the same on all node counts. {SCALED[line.mode]}"


def _how(about: Proposal) -> Section:
    asked = binding_asked_for(about.script, about.flags)
    words = f"Ranks were started by {about.launcher}. " if about.launcher else ""
    words += f"Binding and GPUs asked for: {asked}. " if asked else "The script asks for no binding. "
    words += "What each rank got: the table of the same script with the word doctor."
    if not about.script:
        words = f"Ranks were started by {about.launcher or 'hand'} on one machine, without a batch script."
    return Section(title="Batch script", words=words, code=about.script)


def binding_asked_for(script: str, flags: Sequence[str]) -> str:
    """Returns the flags about tasks, cores and GPUs of a batch script and of sbatch, each once, as they are written.

    Args:
        script: The text of the script, whose comments do not count, #SBATCH lines do.
        flags: The flags given to sbatch.
    """
    lines = [line for line in script.splitlines() if line.startswith("#SBATCH") or not line.lstrip().startswith("#")]
    found = re.findall(_BINDING, "\n".join((*lines, " ".join(flags))))
    return " ".join(dict.fromkeys(" ".join(flag.split()) for flag in found))
