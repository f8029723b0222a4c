"""What each verb of the command line does, in a few lines that join its flags to the module that does the work.

Each function takes the words after its verb and returns the exit code. Modules that need torch are imported inside, so
that ``adabatch --help`` and the first line about a wrong word come at once.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from . import environment
from .all_ranks import on_all_ranks
from .errors import require
from .study.flags import NodesFlags

if TYPE_CHECKING:
    from jsonargparse import Namespace

    from .cluster import Cluster

Flags = TypeVar("Flags")
HELP = {"-h", "--help"}


@dataclass(frozen=True, kw_only=True)
class TrainFlags:
    """The folder of the run, and its end."""

    out: str | None = None
    """The folder of the run; runs/RECIPE-DATE when not given."""
    resume: Literal["no", "auto"] = "no"
    """auto goes on from the folder's checkpoint, or starts when there is none."""
    until: str | None = None
    """METRIC=VALUE, for example accuracy=0.92; the first evaluation as good as that ends the run."""


@dataclass(frozen=True, kw_only=True)
class PlanFlags(NodesFlags):
    """The ranks to plan for."""

    ranks: int = 1
    """The number of ranks that will train; with --nodes, the number on each node."""
    measure: bool = False
    """Makes a few steps of each size on this machine, to tell hours, with an interval, and memory."""


@dataclass(frozen=True, kw_only=True)
class ProbeFlags:
    """The time and the file of a probe."""

    out: str | None = None
    """The JSON file for all numbers; none is written when not given."""
    seconds: float = 120.0
    """The approximate time for measuring, in seconds."""


def train(arguments: list[str]) -> int:
    """Trains a recipe."""
    from .command_line import parse_recipe
    from .training.signals import StopFlag

    found, file = environment.launch(), environment.stop_file()
    stop_flag = StopFlag(file if found is None or found.rank == 0 else None)
    with stop_flag.listening():  # from here on, because a signal that comes while ranks join must not kill one
        recipe, flags, resolved = parse_recipe("train", arguments, TrainFlags)
        from .run.folder import new_folder
        from .run.recipe_run import RecipeRun

        def run(cluster: Cluster) -> int:
            out = flags["out"]
            if not out:
                name = Path("runs") / f"{recipe.name}-{datetime.now():%Y%m%d-%H%M%S}"
                out = cluster.tell(str(new_folder(name)) if cluster.leads else None)
            return RecipeRun(
                recipe,
                resolved,
                Path(out),
                resume=flags["resume"] == "auto",
                until=flags["until"],
                cluster=cluster,
                stop_flag=stop_flag,
            ).train()

        return on_all_ranks(run, recipe.options.engine)


def plan(arguments: list[str]) -> int:
    """Prints what a recipe will do, before it is trained."""
    from .command_line import parse_recipe

    recipe, known, _ = parse_recipe("plan", arguments, PlanFlags)
    flags = _flags(PlanFlags, known)
    if flags.nodes is None:
        from .run.preview import preview

        preview(recipe, flags.ranks, measure=flags.measure, from_run=flags.from_run)
    else:
        from .study.ahead import plan_ahead
        from .terminal import display

        display(*plan_ahead(recipe, flags.ranks, flags))
    return 0


def probe(arguments: list[str]) -> int:
    """Measures messages between the ranks, and a recipe's steps on them."""
    from .command_line import parse_flags, parse_recipe
    from .probe import check_seconds, measure

    recipe = None
    if arguments and (not arguments[0].startswith("-") or {*HELP, "--print_config"} & set(arguments)):
        recipe, flags, _ = parse_recipe("probe", arguments, ProbeFlags)
    else:
        flags = parse_flags("probe", arguments, ProbeFlags)
    check_seconds(flags["seconds"])
    out = Path(flags["out"]) if flags["out"] is not None else None

    def run(cluster: Cluster) -> int:
        measure(recipe, out, seconds=flags["seconds"], cluster=cluster)
        return 0

    return on_all_ranks(run, recipe.options.engine if recipe is not None else None)


def measure(arguments: list[str]) -> int:
    """Measures where the time of a recipe's steps goes."""
    from .command_line import parse_recipe
    from .probe.breakdown import MeasureFlags, measure_step

    recipe, known, _ = parse_recipe("measure", arguments, MeasureFlags)
    flags = _flags(MeasureFlags, known)

    def run(cluster: Cluster) -> int:
        measure_step(recipe, flags, cluster)
        return 0

    return on_all_ranks(run, recipe.options.engine)


def noise(arguments: list[str]) -> int:
    """Measures the noise of a model's gradient, and suggests a batch."""
    from .command_line import parse_recipe
    from .run.noise import NoiseFlags, report_noise
    from .terminal import display

    recipe, known, _ = parse_recipe("noise", arguments, NoiseFlags)
    flags = _flags(NoiseFlags, known)

    def run(cluster: Cluster) -> int:
        parts = report_noise(recipe, flags, cluster)
        if cluster.leads:
            display(*parts)
        return 0

    return on_all_ranks(run, recipe.options.engine)


def check_data(arguments: list[str]) -> int:
    """Reads all images of a recipe, and lists those that cannot be read."""
    from .command_line import parse_recipe
    from .run.check_data import CheckFlags
    from .run.check_data import check_data as check

    recipe, known, _ = parse_recipe("check-data", arguments, CheckFlags)
    flags = _flags(CheckFlags, known)
    return on_all_ranks(lambda cluster: check(recipe, flags, cluster), recipe.options.engine)


def report(arguments: list[str]) -> int:
    """Prints the table of a finished run."""
    require(len(arguments) == 1, "RUN", " ".join(arguments) or "nothing", "one folder", "adabatch report runs/NAME")
    from .run.result import report as parts
    from .terminal import display

    display(*parts(Path(arguments[0])))
    return 0


def checkpoint(arguments: list[str]) -> int:
    """Asks a run for a checkpoint."""
    given = " ".join(arguments) or "nothing"
    require(len(arguments) == 1, "RUN", given, "one folder", "adabatch checkpoint runs/NAME")
    from .run.request import ask

    print(ask(Path(arguments[0])))
    return 0


def study(arguments: list[str]) -> int:
    """Carries out a scaling study: many jobs, one answer."""
    from .study.cli import main

    return main(arguments)


def doctor(arguments: list[str]) -> int:
    """Prints what the ranks find and what is wrong; returns 0 when nothing is."""
    from .command_line import parse_flags, parse_recipe
    from .doctor.examine import DoctorFlags, examine

    recipe = None
    if arguments and not arguments[0].startswith("-"):
        recipe, flags, _ = parse_recipe("doctor", arguments, DoctorFlags)
    else:
        flags = parse_flags("doctor", arguments, DoctorFlags)
    return examine(recipe, Path(flags["out"]))


def _flags(kind: type[Flags], known: Namespace) -> Flags:
    """Returns the command's own flags, out of all fields that were parsed."""
    return kind(**{field.name: known[field.name] for field in fields(kind)})  # type: ignore[arg-type]
