"""The command ``adabatch``.

Exit codes: 0 done, 1 a fault of the program, 2 input that cannot be used, 75 stopped by the scheduler and to be started
again, 130 stopped by the user.

Not here: what the commands do (run/run.py, run/preview.py, probe/, doctor.py), recipes
(command_line.py), how a rank's fault ends all of them (all_ranks.py).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn

from .all_ranks import complain, on_all_ranks
from .errors import InputError, require
from .study.flags import NodesFlags

if TYPE_CHECKING:
    from jsonargparse import Namespace

    from .cluster import Cluster

USAGE = """usage: adabatch COMMAND ...

  train RECIPE [--out DIR] [--resume auto] [--until METRIC=VALUE] [--FIELD VALUE ...]
                                                                 train; alone, or under horovodrun, mpirun, srun
  plan RECIPE [--ranks N] [--measure true] [--FIELD VALUE ...]   what will happen, before it happens
  plan RECIPE --nodes 1,2,4,...,4096 [--network v100] [--from_run RUN]   which node count is soonest, which cheapest
  probe [RECIPE] [--out FILE] [--seconds S] [--FIELD VALUE ...]  what messages and steps take on these ranks
  measure RECIPE [--out DIR] [--steps N] [--FIELD VALUE ...]     where the time of this recipe's steps goes
  noise RECIPE [--checkpoint RUN] [--steps N] [--FIELD VALUE ...] noise scale of a model's gradient, layer by layer
  report RUN                                                     table of a finished run
  study plan | submit | status | collect | report | predict | cancel   scaling studies: many jobs, one answer
  doctor                                                         what is built, what is wrong, how to mend it

adabatch COMMAND --help tells more."""


PATIENCE_S = 10.0  # for rank 0 to start and to read the same input; its end is usually this one's too


@dataclass(frozen=True, kw_only=True)
class TrainFlags:
    """Where the run goes."""

    out: str | None = None
    """Folder of the run; runs/RECIPE-DATE when not given."""
    resume: Literal["no", "auto"] = "no"
    """auto: go on from the folder's checkpoint, or start when there is none."""
    until: str | None = None
    """METRIC=VALUE, for example accuracy=0.92: the first evaluation as good as that ends the run."""


@dataclass(frozen=True, kw_only=True)
class PlanFlags(NodesFlags):
    """For whom to plan."""

    ranks: int = 1
    """Ranks that will train; with --nodes, on each node."""
    measure: bool = False
    """Passes a few micro-batches of each size through the network here, for hours and memory."""


@dataclass(frozen=True, kw_only=True)
class ProbeFlags:
    """How long to measure."""

    out: str | None = None
    """File for all numbers, as JSON; none is written when not given."""
    seconds: float = 120.0
    """To measure for, at most about."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs the command and exits."""
    command, *rest = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    commands: dict[str, Callable[[list[str]], int]] = {
        "train": train,
        "plan": plan,
        "probe": probe,
        "measure": measure,
        "noise": noise,
        "report": report,
        "study": study,
        "doctor": doctor,
    }
    if command in ("-h", "--help"):
        print(USAGE)
        sys.exit(0)
    try:
        require(command in commands, "command", command, ", ".join(commands), "adabatch --help")
        code = commands[command](rest)
    except InputError as error:  # found before the ranks joined: the same on each
        from .environment import launch

        found = launch()
        if found is None or found.rank == 0:
            complain(error)
        else:  # whoever ends first with an error makes mpirun end the others, and rank 0 has something to say
            time.sleep(PATIENCE_S)
        code = 2
    sys.exit(code)


def train(arguments: list[str]) -> int:
    """Trains a recipe."""
    from . import environment
    from .cluster import Watchdog
    from .command_line import parse_recipe
    from .training.signals import StopFlag

    found = environment.launch()
    file = environment.stop_file()
    stop_flag = StopFlag(file if found is None or found.rank == 0 else None)
    with stop_flag.listening():  # from here on: a signal that comes while ranks join must not kill one
        recipe, flags, resolved = parse_recipe("train", arguments, TrainFlags)
        limit_s = environment.stall_limit_s()
        from .run.run import Run

        def run(cluster: Cluster) -> int:
            name = f"runs/{recipe.name}-{datetime.now():%Y%m%d-%H%M%S}"
            return Run(
                recipe,
                resolved,
                Path(flags["out"] or cluster.tell(name)),
                resume=flags["resume"] == "auto",
                until=flags["until"],
                cluster=cluster,
                stop_flag=stop_flag,
                watchdog=Watchdog(limit_s, cluster.rank, note=file),
            ).train()

        return on_all_ranks(run)


def plan(arguments: list[str]) -> int:
    """Prints what a recipe will do."""
    from .command_line import parse_recipe
    from .run.preview import preview
    from .study.ahead import plan_ahead
    from .terminal import display

    recipe, given, _ = parse_recipe("plan", arguments, PlanFlags)
    flags = PlanFlags(**{name: given[name] for name in PlanFlags.__dataclass_fields__})
    if flags.nodes is None:
        preview(recipe, flags.ranks, measure=flags.measure)
        return 0
    for part in plan_ahead(recipe, flags.ranks, flags):
        display(part)
    return 0


def probe(arguments: list[str]) -> int:
    """Measures messages between the ranks, and a recipe's steps on them."""
    from .command_line import parse_recipe

    recipe = None
    if arguments and (not arguments[0].startswith("-") or {"-h", "--help", "--print_config"} & set(arguments)):
        recipe, flags, _ = parse_recipe("probe", arguments, ProbeFlags)
    else:
        flags = _flags_alone("probe", arguments, ProbeFlags)
    from .probe import check_seconds, measure

    check_seconds(flags["seconds"])
    out = Path(flags["out"]) if flags["out"] is not None else None

    def run(cluster: Cluster) -> int:
        measure(recipe, out, seconds=flags["seconds"], cluster=cluster)
        return 0

    return on_all_ranks(run)


def measure(arguments: list[str]) -> int:
    """Measures where the time of a recipe's steps goes."""
    from .command_line import parse_recipe
    from .probe.breakdown import MeasureFlags, measure_step

    recipe, given, _ = parse_recipe("measure", arguments, MeasureFlags)
    flags = MeasureFlags(**{name: given[name] for name in MeasureFlags.__dataclass_fields__})

    def run(cluster: Cluster) -> int:
        measure_step(recipe, flags, cluster)
        return 0

    return on_all_ranks(run)


def study(arguments: list[str]) -> int:
    """Plans, submits and reports scaling studies."""
    from .study.cli import main as study_main

    return study_main(arguments)


def noise(arguments: list[str]) -> int:
    """Measures the noise of a model's gradient, and says which batch it suggests."""
    from .command_line import parse_recipe
    from .run.noise import NoiseFlags, report_noise
    from .terminal import display

    recipe, given, _ = parse_recipe("noise", arguments, NoiseFlags)
    flags = NoiseFlags(**{name: given[name] for name in NoiseFlags.__dataclass_fields__})

    def run(cluster: Cluster) -> int:
        parts = report_noise(recipe, flags, cluster)
        if cluster.leads:
            for part in parts:
                display(part)
        return 0

    return on_all_ranks(run)


def report(arguments: list[str]) -> int:
    """Prints the table of a finished run."""
    from .run.result import report as parts
    from .terminal import display

    require(len(arguments) == 1, "RUN", " ".join(arguments) or "nothing", "one folder", "adabatch report runs/NAME")
    if arguments[0] in ("-h", "--help"):
        print("usage: adabatch report RUN\n\nRUN is the folder of a finished run.")
        return 0
    for part in parts(Path(arguments[0])):
        display(part)
    return 0


def doctor(arguments: list[str]) -> int:
    """Prints what is built and what is wrong; 0 when nothing is."""
    if {"-h", "--help"} & set(arguments):
        print("usage: adabatch doctor\n\nRun it as you would train: alone, or under horovodrun, mpirun, srun.")
        return 0
    require(not arguments, "doctor", " ".join(arguments), "no arguments", "adabatch doctor")
    from .doctor import examine

    return examine()


def _flags_alone(command: str, arguments: list[str], flags: type) -> Namespace:
    """The flags of a command that was given no recipe.

    Raises:
        InputError: the first thing that cannot be used.
    """
    from jsonargparse import ArgumentError, ArgumentParser

    from .command_line import explain

    names, hint = list(flags.__dataclass_fields__), f"adabatch {command} recipes/quickstart.yaml"  # type: ignore[attr-defined]
    for argument in arguments:
        flag = argument.partition("=")[0]
        known = not flag.startswith("--") or flag[2:] in names
        require(known, flag[2:], "no RECIPE that has such a field", ", ".join(names), f"{hint} {flag} VALUE")
    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False)
    parser.add_class_arguments(flags)
    parser.add_argument("late", nargs="?")
    try:
        found = parser.parse_args(arguments)
    except ArgumentError as error:
        raise explain(str(error), parser) from error
    require(found["late"] is None, "RECIPE", f"{found['late']} after the flags", "the recipe first", hint)
    return found
