"""The questions of ``adabatch init`` in a terminal: one for each flag that is missing, with what Enter stands for."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from rich.prompt import IntPrompt, Prompt

from ..errors import InputError
from ..shipped import recipes
from .flags import InitFlags
from .recipe import STARTS, has_data
from .resources import KINDS, Resources
from .template import usual_ranks

Answer = TypeVar("Answer", str, int)


def in_terminal() -> bool:
    """Reports whether somebody is there to answer."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def ask_folder() -> str:
    """Asks for the folder.

    Raises:
        InputError: Nobody answers.
    """
    return _ask(Prompt, "Folder to write into", default="my-run")


def ask(flags: InitFlags, known: Resources) -> InitFlags:
    """Asks for what neither flags nor the batch script have said. Returns all flags.

    Args:
        flags: The flags that were given.
        known: The resources of the batch script.

    Raises:
        InputError: Nobody answers, or an answer cannot be used.
    """
    if not (flags.task or flags.recipe or flags.script):
        named = f"a task ({', '.join(STARTS)}), a recipe (adabatch recipes) or a script"
        flags = _what(flags, _ask(Prompt, f"What trains: {named}", default="digits"))
        flags.check()
    if not (flags.script or flags.data) and has_data(flags.task, flags.recipe):
        flags = replace(flags, data=_ask(Prompt, "Folder of its data", default="data"))
    if not (flags.queue or known.queue):
        flags = replace(flags, queue=_ask(Prompt, "What starts jobs", choices=["slurm", "pbs"], default="slurm"))
    if not (flags.gpu or known.gpu):
        flags = replace(flags, gpu=_ask(Prompt, "Kind of GPU", choices=list(KINDS), default="v100"))
    if not (flags.nodes or known.nodes):
        flags = replace(flags, nodes=_ask(IntPrompt, "Nodes", default=1))
    if not (flags.ranks_per_node or known.ranks_per_node):
        usual = usual_ranks(flags.gpu or known.gpu, flags.queue or known.queue)
        asked = "Ranks of a node" if "none" in (flags.gpu, known.gpu) else "GPUs of a node, a rank for each"
        flags = replace(flags, ranks_per_node=_ask(IntPrompt, asked, default=usual))
    if not (flags.time or known.time):
        flags = replace(flags, time=_ask(Prompt, "Time limit", default="04:00:00"))
    if not (flags.account or known.account):
        flags = replace(flags, account=_ask(Prompt, "Account (Enter: none)", default=""))
    if not (flags.partition or known.partition):
        flags = replace(flags, partition=_ask(Prompt, "Partition or queue (Enter: none)", default=""))
    if not (flags.modules or known.environment):
        flags = replace(
            flags, modules=_ask(Prompt, "Modules to load, such as gcc cuda openmpi (Enter: none)", default="")
        )
    return flags


def _what(flags: InitFlags, answer: str) -> InitFlags:
    if answer in recipes():
        return replace(flags, recipe=answer)
    words = answer.split()
    is_script = len(words) > 1 or answer.endswith(".py") or (bool(words) and Path(words[0]).is_file())
    return replace(flags, script=answer) if is_script else replace(flags, task=answer)


def _ask(
    kind: type[Prompt] | type[IntPrompt], text: str, *, default: Answer, choices: list[str] | None = None
) -> Answer:
    try:
        return kind.ask(text, default=default, choices=choices, show_default=default != "")  # type: ignore[return-value]
    except EOFError as error:
        raise InputError("answer", "nothing", "a line", "adabatch init --help") from error
