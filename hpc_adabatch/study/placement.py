"""The requests of a job to Slurm, read from the template's #SBATCH lines and from flags: time, tasks, GPUs.

Flags win over the template's lines, as with sbatch itself.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

from ..errors import InputError, require

RESERVED = (
    *("nodes", "ntasks", "ntasks-per-node", "job-name", "output", "error", "chdir", "array", "parsable"),
    *("test-only", "wrap", "export", "export-file", "clusters", "wait"),
)
"""The flags that a study sets itself: a second value would win over its own, or name another script."""
_SHORT = {
    "N": "nodes",
    "n": "ntasks",
    "t": "time",
    "J": "job-name",
    "o": "output",
    "e": "error",
    "D": "chdir",
    "a": "array",
    "M": "clusters",
    "W": "wait",
    "G": "gpus",
    "c": "cpus-per-task",
    "d": "dependency",
}
_LONGEST_DIRECTIVES = 200  # lines of a template that are looked at


def split_flags(text: str) -> tuple[str, ...]:
    """Returns the flags of ``--sbatch 'FLAGS'``, each in one word.

    Raises:
        InputError: Quotes that do not close, a word that sbatch would take for the script, a flag that the study sets.
    """
    hint = "--sbatch '--account=abc --time=00:20:00'"
    words = split_words("sbatch", text, hint)
    for word in words:
        require(len(word) > 1 and word.startswith("-"), "sbatch", word, "flags of one word each, --NAME=VALUE", hint)
    own = {"nodes": "--nodes", "ntasks": "--nodes and --ranks_per_node", "ntasks-per-node": "--ranks_per_node"}
    for name in options(words):
        allowed = f"{own[name]} of the study" if name in own else f"flags other than {', '.join(RESERVED)}"
        require(name not in RESERVED, "sbatch", f"--{name}, which the study sets", allowed, hint)
    return words


def split_words(flag: str, text: str, hint: str) -> tuple[str, ...]:
    """Returns the words of a flag's value, as a shell splits them.

    Args:
        flag: The flag, for the message.
        text: Its value.
        hint: A value as it might be, for the message.

    Raises:
        InputError: Quotes that do not close.
    """
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise InputError(flag, text, f"flags whose quotes close ({error})", hint) from error


def options(words: Iterable[str]) -> dict[str, str]:
    """Returns the values by long name of flags such as --time=5, -t5 and -t 5."""
    found: dict[str, str] = {}
    name = ""
    for word in words:
        if word.startswith("--"):
            name, _, value = word[2:].partition("=")
            found[name] = value
        elif word.startswith("-") and len(word) > 1:
            name = _SHORT.get(word[1], word[1])
            found[name] = word[2:]
        elif name and not found[name]:
            found[name] = word
    return found


def directives(template: str) -> dict[str, str]:
    """Returns the options of the #SBATCH lines, which end at the first command."""
    words: list[str] = []
    for line in template.splitlines()[:_LONGEST_DIRECTIVES]:
        if line.startswith("#SBATCH"):
            words += _split_line(line.removeprefix("#SBATCH"))
        elif line.strip() and not line.lstrip().startswith("#"):
            break
    return options(words)


def _split_line(line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError:  # sbatch will say so itself
        return line.split()


def time_limit_s(text: str) -> float | None:
    """Returns the seconds of Slurm's times: M, M:S, H:M:S, D-H, D-H:M, D-H:M:S; None without a limit.

    Raises:
        InputError: A text of none of these forms.
    """
    if text.lower() in ("", "0", "unlimited", "infinite"):
        return None
    found = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text)
    if found is None:
        raise InputError("time", text, "Slurm's times", "--sbatch '--time=00:20:00'")
    days, *parts = found.groups()
    numbers = [int(part) for part in parts if part is not None]
    if days is not None:
        hours, minutes, seconds = (*numbers, 0, 0)[:3]
    elif len(numbers) == 3:
        hours, minutes, seconds = numbers
    else:
        hours, (minutes, seconds) = 0, (*numbers, 0)[:2]
    return float(((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds)


def gpus_per_node(asked: dict[str, str]) -> int | None:
    """Returns the GPUs that the job asks for on each node; None where it does not say."""
    if found := re.fullmatch(r"(?:[\w.-]+:)?(\d+)", asked.get("gpus-per-node", "")):
        return int(found[1])
    for resource in asked.get("gres", "").split(","):
        if found := re.fullmatch(r"gpu(?::[A-Za-z][\w.-]*)?(?::(\d+))?(?:\(.*\))?", resource):
            return int(found[1] or 1)
    return None


def check_placement(asked: dict[str, str], ranks_per_node: int) -> None:
    """Sees that so many ranks fit into what the job asks for on each node.

    Raises:
        InputError: There are more ranks than the job has room for, or the request does not follow the number of nodes.
    """
    for name, instead in (("ntasks", "--ntasks-per-node"), ("gpus", "--gpus-per-node")):
        allowed = f"{instead}, which holds for any number of nodes"
        require(name not in asked, "template", f"--{name}={asked.get(name)}", allowed, f"#SBATCH {instead}=N")
    gpus = gpus_per_node(asked)
    if gpus is not None:
        allowed = f"at most {gpus}, the GPUs that the job asks for on each node"
        hint = f"--ranks_per_node {gpus}"
        require(ranks_per_node <= gpus, "ranks_per_node", ranks_per_node, allowed, hint)
