"""The command ``adabatch``: the table of its verbs.

Exit codes: 0 done, 1 a fault of the program, 2 input that cannot be used, 70 training has diverged, 74 files cannot be
written, 75 stopped by the scheduler and to be started again, 130 stopped by the user.
"""

from __future__ import annotations

import io
import os
import platform
import re
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import NoReturn

from . import brief_help, commands, verb_flags
from .completion import SHELLS, script
from .environment import code_is_left, launch, leave_code
from .errors import OneLineError, complain, name_flags, require
from .shipped import recipes

PATIENCE_S = 10.0  # for rank 0 to start and to read the same input; its end is usually this rank's too
LOOK_EVERY_S = 0.1


@dataclass(frozen=True)
class Verb:
    """A verb of the command line."""

    run: Callable[[list[str]], int]
    """The function that does it: takes the words after the verb, and returns the exit code."""
    does: str
    """A sentence for ``adabatch --help``."""
    usages: tuple[str, ...] = ("",)
    """The words that may follow the verb; one text for each way to use it."""
    plain: bool = False
    """True for a verb whose usage and sentence are all of its help."""
    flags: Callable[[], type] | None = None
    """The class of its own flags, for a verb with a recipe: its short help tells of these alone."""
    examples: tuple[str, ...] = ()
    """Commands as they are typed, for the short help."""


def completion(arguments: list[str]) -> int:
    """Prints a shell's completion for adabatch."""
    given, example = " ".join(arguments), "adabatch completion bash"
    require(given in SHELLS, "SHELL", given or "nothing", " or ".join(SHELLS), example)
    texts = {name: " ".join(verb.usages) for name, verb in VERBS.items()}
    choices = {name: re.findall(r"\w+", text) for name, text in texts.items() if text.islower()}
    choices["recipes"] = list(recipes())
    flags = {name: re.findall(r"--[a-z_]+", text) for name, text in texts.items()}
    print(script(given, choices, flags))
    return 0


def _measure_flags() -> type:
    from .probe.breakdown import MeasureFlags

    return MeasureFlags


def _rehearse_flags() -> type:
    from .run.rehearsal import RehearseFlags

    return RehearseFlags


def _noise_flags() -> type:
    from .run.noise import NoiseFlags

    return NoiseFlags


def _check_flags() -> type:
    from .run.check_data import CheckFlags

    return CheckFlags


VERBS = {
    "init": Verb(
        commands.init,
        "Writes a recipe and a batch script for your site, from flags, questions or an older script.",
        (
            "FOLDER [--task NAME] [--recipe NAME] [--script 'FILE ...'] [--data DIR] [--from FILE]",
            "FOLDER ... [--queue NAME] [--gpu KIND] [--nodes N] [--ranks_per_node N] [--cores N] [--time T]",
            "FOLDER ... [--account NAME] [--partition NAME] [--modules 'NAME ...']",
        ),
    ),
    "recipes": Verb(commands.recipes, "Lists the recipes that ship, or copies one.", ("[NAME] [--to FILE]",)),
    "train": Verb(
        commands.train,
        "Trains a recipe: alone, or on every rank that horovodrun, mpirun or srun starts.",
        (
            "RECIPE [--out DIR] [--resume auto] [--until METRIC=VALUE] [--tensorboard true] [--FIELD VALUE ...]",
            "RECIPE --nodes_follow 1:32 [--probe FILE] [--network NAME] [--efficiency SHARE] [--wait_s S] ...",
        ),
        flags=lambda: verb_flags.RunFlags,
        examples=(
            "adabatch train quickstart --out runs/mine",
            "adabatch train quickstart --out runs/mine --epochs 40 --resume auto",
            "adabatch train quickstart --policy smith --policy.milestones '[10,20]'",
            "mpirun -np 4 adabatch train recipe.yaml --until accuracy=0.92",
        ),
    ),
    "rehearse": Verb(
        commands.rehearse,
        "Takes some steps of a recipe's first and largest batch, evaluates, saves and goes on; nothing stays.",
        ("RECIPE [--out DIR] [--FIELD VALUE ...]",),
        flags=_rehearse_flags,
        examples=("mpirun -np 4 adabatch rehearse recipe.yaml --out runs",),
    ),
    "plan": Verb(
        commands.plan,
        "Prints what a recipe will do, before it is trained; with --nodes, which node count is fastest or cheapest.",
        (
            "RECIPE [--ranks N] [--measure true] [--FIELD VALUE ...]",
            "RECIPE --nodes 1,2,4,...,4096 [--network v100] [--from_run RUN] [--FIELD VALUE ...]",
        ),
        flags=lambda: verb_flags.PlanFlags,
        examples=(
            "adabatch plan quickstart --ranks 4",
            "adabatch plan quickstart --nodes 1,2,4 --noise_scale 500",
        ),
    ),
    "probe": Verb(
        commands.probe,
        "Measures how long messages between these ranks take, and the steps of a recipe on them.",
        ("[RECIPE] [--out FILE] [--seconds S] [--FIELD VALUE ...]",),
        flags=lambda: verb_flags.ProbeFlags,
        examples=("mpirun -np 4 adabatch probe quickstart --out probe.json",),
    ),
    "measure": Verb(
        commands.measure,
        "Measures where the time of a recipe's steps goes: data, computation, stragglers, communication.",
        ("RECIPE [--out DIR] [--steps N] [--FIELD VALUE ...]",),
        flags=_measure_flags,
        examples=("mpirun -np 4 adabatch measure quickstart --steps 50",),
    ),
    "noise": Verb(
        commands.noise,
        "Measures the noise scale of a model's gradient, layer by layer, and suggests a batch.",
        ("RECIPE [--checkpoint RUN] [--steps N] [--FIELD VALUE ...]",),
        flags=_noise_flags,
        examples=("adabatch noise quickstart --checkpoint runs/mine",),
    ),
    "check-data": Verb(
        commands.check_data,
        "Reads every image of a recipe on all ranks, and lists those that cannot be read.",
        ("RECIPE [--out FILE] [--FIELD VALUE ...]",),
        flags=_check_flags,
        examples=("mpirun -np 4 adabatch check-data recipe.yaml --out unreadable.txt",),
    ),
    "report": Verb(
        commands.report,
        "Prints the table of a run, or compares several to the first; --html writes a page that opens offline.",
        ("RUN [RUN ...] [--html [FILE.html]]",),
        plain=True,
    ),
    "export": Verb(
        commands.export,
        "Writes the journals of runs for other tools: a table, TensorBoard's events, or an offline run of wandb.",
        ("RUN [RUN ...] [--to FILE.csv|FILE.parquet] [--tensorboard true] [--wandb true]",),
    ),
    "watch": Verb(
        commands.watch,
        "Follows a run by its files, from any machine that sees them, until it is over.",
        ("RUN [--wait_s S]",),
    ),
    "checkpoint": Verb(
        commands.checkpoint,
        "Asks the run that trains in the folder RUN for a checkpoint, and waits until it is written.",
        ("RUN",),
        plain=True,
    ),
    "study": Verb(
        commands.study,
        "Carries out a scaling study: many jobs, one answer.",
        ("plan | submit | status | collect | report | predict | cancel",),
    ),
    "doctor": Verb(
        commands.doctor,
        "Prints what the ranks find, what is wrong, and the words that mend it; start it as you would start training.",
        ("[RECIPE] [--out DIR] [--FIELD VALUE ...]",),
        flags=lambda: verb_flags.DoctorFlags,
        examples=("mpirun -np 4 adabatch doctor", "srun adabatch doctor recipe.yaml --out /scratch/runs"),
    ),
    "completion": Verb(
        completion,
        'Prints completion for adabatch: put eval "$(adabatch completion bash)" into ~/.bashrc, or zsh into ~/.zshrc.',
        ("bash | zsh",),
        plain=True,
    ),
}


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Carries a verb out and exits.

    Args:
        arguments: The words of the command line; those of this process when not given.
    """
    name_flags()
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files may hold bytes that are no text
        sys.stdout.reconfigure(errors="backslashreplace")
    verb, *rest = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        code = _carry_out(verb, rest)
    except BrokenPipeError:  # who reads has seen enough, as head has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    if _is_first():
        leave_code(code)
    if code != 0 and launch() is not None:  # the first rank that is gone makes srun end the others, on their way out
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(code)


def _carry_out(verb: str, rest: list[str]) -> int:
    """Carries a verb out. Returns the exit code; ends the process after help."""
    if verb in commands.HELP:
        _help(usage())
    if verb == "--version":
        _help(versions())
    try:
        require(verb in VERBS, "command", verb, ", ".join(VERBS), "adabatch --help")
        chosen = VERBS[verb]
        if chosen.plain and commands.HELP & set(rest):
            _help(f"usage: adabatch {verb} {chosen.usages[0]}".rstrip() + f"\n\n{chosen.does}")
        if chosen.flags is not None and brief_help.wants(rest):
            _help(brief_help.text(verb, chosen.does, chosen.usages, chosen.flags, chosen.examples))
        return chosen.run(rest)
    except OneLineError as error:  # found before the ranks joined: the same on each, and rank 0 prints it
        if _is_first():
            complain(f"adabatch: error: {error}")
        elif not error.told:  # the first rank that ends with an error makes mpirun end the others: rank 0 speaks first
            with suppress(SystemExit):  # srun ends them by SIGTERM, and returns the largest code
                signal.signal(signal.SIGTERM, lambda *_: sys.exit())
                patience = time.monotonic() + PATIENCE_S
                while time.monotonic() < patience and not code_is_left():
                    time.sleep(LOOK_EVERY_S)
        return error.exit_code


def _help(text: str) -> NoReturn:
    print(text, flush=True)
    sys.exit(0)


def _is_first() -> bool:
    found = launch()
    return found is None or found.rank == 0


def usage() -> str:
    """Returns the text of ``adabatch --help``."""
    lines = ["usage: adabatch VERB ...", ""]
    for name, verb in VERBS.items():
        lines += [f"  {name} {words}".rstrip() for words in verb.usages]
        lines += [f"      {verb.does}"]
    return "\n".join((*lines, "", "adabatch VERB --help tells more; adabatch --version tells what is installed."))


def versions() -> str:
    """Returns the versions of adabatch and of what it runs on, without importing them."""
    found = {}
    for name in ("hpc_adabatch", "torch", "horovod"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    rest = f"Python {platform.python_version()}, torch {found['torch']}, horovod {found['horovod']}"
    return f"adabatch {found['hpc_adabatch']} ({rest})"
