"""What each verb of the command line does, in a few lines that join its flags to the module that does the work.

Each function takes the words after its verb and returns the exit code. Modules that need torch are imported inside, so
that ``adabatch --help`` and the first line about a wrong word come at once.
"""

from __future__ import annotations

import math
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from . import environment, files
from .all_ranks import on_all_ranks
from .errors import require
from .study.flags import FollowFlags
from .verb_flags import DoctorFlags, ExportFlags, PlanFlags, ProbeFlags, RecipesFlags, TrainFlags, WatchFlags

if TYPE_CHECKING:
    from jsonargparse import Namespace

    from .cluster import Cluster
    from .run.follow import FollowOptions

Flags = TypeVar("Flags")
HELP = {"-h", "--help"}


def train(arguments: list[str]) -> int:
    """Trains a recipe."""
    from .command_line import parse_recipe
    from .training.signals import StopFlag

    found, file = environment.launch(), environment.stop_file()
    stop_flag = StopFlag(file if found is None or found.rank == 0 else None)
    with stop_flag.listening():  # from here on, because a signal that comes while ranks join must not kill one
        recipe, flags, resolved = parse_recipe("train", arguments, TrainFlags)
        follow = _follow(_flags(TrainFlags, flags))
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
                follow=follow,
                tensorboard=flags["tensorboard"],
            ).train()

        return on_all_ranks(run, recipe.options.engine)


def plan(arguments: list[str]) -> int:
    """Prints what a recipe will do, before it is trained."""
    from .command_line import parse_recipe

    recipe, known, _ = parse_recipe("plan", arguments, PlanFlags)
    flags = _flags(PlanFlags, known)
    if flags.nodes_follow is not None:
        from .study.follow import plan_follow
        from .terminal import display

        display(*plan_follow(recipe, flags.ranks, flags))
        return 0
    _check_stays(flags, "efficiency", "wait_s")
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
    if _is_of_recipe(arguments):
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


def rehearse(arguments: list[str]) -> int:
    """Rehearses a recipe before a long run."""
    from .command_line import parse_recipe
    from .run.rehearsal import RehearseFlags
    from .run.rehearsal import rehearse as go_through

    recipe, flags, resolved = parse_recipe("rehearse", arguments, RehearseFlags)

    def run(cluster: Cluster) -> int:
        go_through(recipe, resolved, RehearseFlags(out=flags["out"]), cluster)
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
    """Prints the table of a run, or of several beside the first; writes the page where it is asked for."""
    from .run.report.flags import wanted

    asked = wanted(arguments)
    from .run.report.account import account, accounts
    from .run.result import lines
    from .terminal import display

    runs = accounts(asked.runs) if len(asked.runs) > 1 else [account(asked.runs[0])]
    display(*lines(runs))
    if asked.page is not None:
        from .run.report.page import write_page

        write_page(asked.page, runs)
        display(f"page           {asked.page}")
    return 0


def export(arguments: list[str]) -> int:
    """Writes journals for other tools."""
    from .verb_words import Word, read

    word = Word("RUN", "The folders of the runs.", many=True)
    folders, given = read("export", arguments, ExportFlags, word)
    from .run.export.export import export as write
    from .terminal import display

    to = Path(given["to"]) if given["to"] else None
    for line in write([Path(folder) for folder in folders], to, tensorboard=given["tensorboard"], wandb=given["wandb"]):
        display(line)
    return 0


def watch(arguments: list[str]) -> int:
    """Follows a run by its files until it is over."""
    from .verb_words import Word, read

    folder, given = read("watch", arguments, WatchFlags, Word("RUN", "The folder of the run."))
    wait_s = given["wait_s"]
    require(0 <= wait_s < math.inf, "wait_s", wait_s, "seconds, 0 or more", "--wait_s 3600")
    from .run.watch.watch import watch as follow

    return follow(Path(folder), wait_s)


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


def init(arguments: list[str]) -> int:
    """Writes a recipe and a batch script, and says what to type."""
    from .init.cli import main

    return main(arguments)


def recipes(arguments: list[str]) -> int:
    """Lists the recipes that ship, or copies one."""
    from . import shipped
    from .verb_words import Word, read

    name, given = read("recipes", arguments, RecipesFlags, Word("NAME", "The recipe to copy.", needed=False))
    known = shipped.recipes()
    if name is None:
        require(
            not given["to"], "NAME", "nothing", "a recipe to copy", f"adabatch recipes quickstart --to {given['to']}"
        )
        width = max(map(len, known), default=0)
        about = {each: shipped.about(path.read_text(encoding="utf-8")) for each, path in known.items()}
        print("\n".join(f"{each:{width}}  {words}" for each, words in about.items()))
        return 0
    require(name in known, "NAME", name, ", ".join(known), "adabatch recipes")
    target = Path(given["to"] or f"{name}.yaml")
    files.write_new(target, known[name].read_text(encoding="utf-8"), "to", f"adabatch recipes {name} --to OTHER.yaml")
    print(f"wrote {target}; type: adabatch train {target}")
    return 0


def doctor(arguments: list[str]) -> int:
    """Prints what the ranks find and what is wrong; returns 0 when nothing is."""
    from .command_line import parse_flags, parse_recipe
    from .doctor.examine import examine

    recipe = None
    if _is_of_recipe(arguments):
        recipe, flags, _ = parse_recipe("doctor", arguments, DoctorFlags)
    else:
        flags = parse_flags("doctor", arguments, DoctorFlags)
    return examine(recipe, Path(flags["out"]))


def _is_of_recipe(arguments: list[str]) -> bool:
    """Reports whether the words of a verb that may be given a recipe begin with one, or ask about the fields of one."""
    asks = {*HELP, "--print_config"} & {word.partition("=")[0] for word in arguments}
    return bool(asks or (arguments and not arguments[0].startswith("-")))


def _follow(flags: FollowFlags) -> FollowOptions | None:
    """Returns by what the nodes of a run follow its batch; None where they stay.

    Raises:
        InputError: The range is none, or another of these flags is given without it.
    """
    if flags.nodes_follow is None:
        _check_stays(flags, "network", "probe", "efficiency", "wait_s")
        return None
    from .run.follow import FollowOptions
    from .study.scaling.follow import node_range

    how = {field.name: getattr(flags, field.name) for field in fields(FollowFlags) if field.name != "nodes_follow"}
    return FollowOptions(range=node_range(flags.nodes_follow), **how)


def _check_stays(flags: FollowFlags, *names: str) -> None:
    """Sees that no flag is given that means something with ``--nodes_follow`` alone."""
    defaults = FollowFlags()
    for name in names:
        value, hint = getattr(flags, name), f"--nodes_follow 1:32 --{name} {getattr(flags, name)}"
        require(value == getattr(defaults, name), name, value, "nothing without --nodes_follow", hint)


def _flags(kind: type[Flags], known: Namespace) -> Flags:
    """Returns the command's own flags, out of all fields that were parsed."""
    return kind(**{field.name: known[field.name] for field in fields(kind)})  # type: ignore[arg-type]
