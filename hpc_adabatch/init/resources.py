"""What a job asks for, also read from a batch script of Slurm or PBS that is there.

    #SBATCH --nodes=2 --ntasks-per-node=4 --gres=gpu:v100:4 --cpus-per-task=10 --time=04:00:00 --account=A
    #PBS -l select=2:ncpus=40:mpiprocs=4:ngpus=4 -l walltime=04:00:00 -A A -q Q

Ours has one rank a GPU, where a script for torchrun or for one process with several GPUs has fewer tasks: the cores of
a node are divided over its ranks anew.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields

from ..errors import require
from ..study.placement import directives, gpus_per_node

KINDS = {  # of GPUs: the template of Slurm, and the precision that it asks for
    "p100": ("p100", "float32"),
    "v100": ("v100", "float16"),
    "a100": ("a100", "bfloat16"),
    "h100": ("a100", "bfloat16"),
    "h200": ("a100", "bfloat16"),
    "b200": ("a100", "bfloat16"),
    "gh200": ("gh200", "bfloat16"),
    "mi250": ("mi250", "bfloat16"),
    "none": ("cpu", "float32"),
}
_ENVIRONMENT = re.compile(
    r"(?:(?:module|ml|source|\.|conda|mamba|micromamba|spack)\s+\S|eval .*\b(?:conda|mamba|micromamba)\b)"
)
_LINES = 400  # of a script that are looked at
KEPT = (
    "qos",
    "constraint",
    "mem",
    "mem-per-cpu",
    "hint",
    "exclusive",
    "reservation",
    "threads-per-core",
    "network",
    "uenv",
    "view",
)
_READ = (
    "nodes",
    "ntasks",
    "ntasks-per-node",
    "gpus",
    "gpus-per-node",
    "gpus-per-task",
    "gres",
    "cpus-per-task",
    "time",
)
_OURS = ("job-name", "output", "error", "open-mode", "requeue", "signal", "cpus-per-gpu", "tasks-per-node")


@dataclass(frozen=True, kw_only=True)
class Resources:
    """The nodes, the time and the rest that a job asks for; empty where nothing is known."""

    queue: str = ""
    """The system that starts it: slurm or pbs."""
    gpu: str = ""
    """The kind of GPU, none for nodes without."""
    nodes: int | None = None
    """The number of nodes."""
    ranks_per_node: int | None = None
    """The ranks of a node; with GPUs as many as these."""
    cores: int | None = None
    """The cores of a rank."""
    time: str = ""
    """The time limit, as its queue writes it."""
    account: str = ""
    """The account that is charged."""
    partition: str = ""
    """The partition or queue."""
    asks: str = ""
    """The way the script asks for GPUs, up to their number: --gres=gpu:v100: or --gpus-per-node=."""
    more: Mapping[str, str] = field(default_factory=dict)
    """Further options that say where the job may run, by name."""
    environment: tuple[str, ...] = ()
    """The lines that load modules and environments."""
    left: tuple[str, ...] = ()
    """The options that are not taken over."""

    def over(self, other: Resources) -> Resources:
        """Returns what is known here, and of the other what is not."""
        names = [each.name for each in fields(self)]
        return Resources(**{name: getattr(self, name) or getattr(other, name) for name in names})


def read(text: str) -> Resources:
    """Returns what a batch script asks for.

    Args:
        text: The script.

    Raises:
        InputError: It has no line of Slurm or PBS.
    """
    lines = text.splitlines()[:_LINES]
    slurm, pbs = (any(line.startswith(f"#{word} ") for line in lines) for word in ("SBATCH", "PBS"))
    require(slurm or pbs, "from", "a file without #SBATCH or #PBS lines", "a batch script of Slurm or PBS")
    environment = tuple(line.strip() for line in lines if _ENVIRONMENT.match(line.strip()))
    return _slurm(directives(text), environment) if slurm else _pbs(lines, environment)


def _slurm(asked: dict[str, str], environment: tuple[str, ...]) -> Resources:
    asked = {_LONG.get(name, name): value for name, value in asked.items()}
    nodes, tasks = _number(asked.get("nodes")), _number(asked.get("ntasks"))
    on_node = _number(asked.get("ntasks-per-node") or asked.get("tasks-per-node"))
    gpus = gpus_per_node(asked)
    if nodes is None and tasks and (on_node or gpus):
        nodes = -(-tasks // (on_node or gpus or 1))
    nodes = nodes or 1
    on_node = on_node or (-(-tasks // nodes) if tasks else 1)
    if gpus is None and (total := _number(asked.get("gpus", "").rpartition(":")[2])):
        gpus = -(-total // nodes)
    if gpus is None and (each := _number(asked.get("gpus-per-task", "").rpartition(":")[2])):
        gpus = each * on_node
    cores = _number(asked.get("cpus-per-task"))
    if cores is None and gpus and (cores := _number(asked.get("cpus-per-gpu"))):
        cores = cores * gpus // on_node
    ranks = gpus or on_node
    hints = " ".join(
        asked.get(name, "") for name in ("gres", "gpus-per-node", "gpus", "gpus-per-task", "constraint", "partition")
    )
    known = (*_READ, *_OURS, *KEPT, "account", "partition")
    return Resources(
        queue="slurm",
        gpu=_kind(hints) if gpus else "none",
        nodes=nodes,
        ranks_per_node=ranks,
        cores=max(1, cores * on_node // ranks) if cores else None,
        time=asked.get("time", ""),
        account=asked.get("account", ""),
        partition=asked.get("partition", ""),
        asks=_way(asked) if gpus else "",
        more={name: asked[name] for name in KEPT if name in asked},
        environment=environment,
        left=tuple(f"--{name}={value}".rstrip("=") for name, value in asked.items() if name not in known),
    )


def _way(asked: Mapping[str, str]) -> str:
    """Returns how GPUs of a node are asked for, up to their number."""
    if found := re.search(r"(?:^|,)(gpu:(?:[A-Za-z][\w.-]*:)?)", asked.get("gres", "") + ":"):
        return f"--gres={found[1]}"
    kinds = (asked.get(name, "").rpartition(":") for name in ("gpus-per-node", "gpus", "gpus-per-task"))
    return "--gpus-per-node=" + next((f"{kind}:" for kind, colon, _ in kinds if colon), "")


_LONG = {"A": "account", "p": "partition", "q": "qos", "C": "constraint"}  # placement.py has the others


def _pbs(lines: list[str], environment: tuple[str, ...]) -> Resources:
    asked, chunk, left = {}, {}, []
    for name, value in _pbs_options(lines):
        if name != "l":
            asked[name] = value
            continue
        for resource in value.split(",") if not value.startswith(("select", "nodes")) else [value]:
            key, _, amount = resource.partition("=")
            if key in ("select", "nodes"):
                count, *parts = amount.split("+")[0].split(":")
                chunk = {"nodes": count} | dict(part.partition("=")[::2] for part in parts)
                taken = ("nodes", "ncpus", "mpiprocs", "ngpus", "gpus", "ppn")
                left += [amount] if "+" in amount else [f"{key}={chunk[key]}" for key in chunk if key not in taken]
            else:
                asked[key] = amount
    known = ("A", "P", "q", "N", "j", "k", "o", "e", "r", "V", "walltime", "place", "filesystems")
    gpus = _number(chunk.get("ngpus") or chunk.get("gpus"))
    on_node = _number(chunk.get("mpiprocs") or chunk.get("ppn")) or 1
    cores, ranks = _number(chunk.get("ncpus") or chunk.get("ppn")), gpus or on_node
    return Resources(
        queue="pbs",
        gpu=_kind(" ".join((*chunk.values(), asked.get("q", "")))) if gpus else "none",
        nodes=_number(chunk.get("nodes")) or 1,
        ranks_per_node=ranks,
        cores=max(1, cores // ranks) if cores else None,
        time=_with_units(asked.get("walltime", "")),
        account=asked.get("A", "") or asked.get("P", ""),
        partition=asked.get("q", ""),
        more={name: asked[name] for name in ("place", "filesystems") if name in asked},
        environment=environment,
        left=(*left, *(f"{name} {value}".rstrip() for name, value in asked.items() if name not in known)),
    )


def _with_units(walltime: str) -> str:
    """Returns PBS's time, which may be seconds alone, in hours, minutes and seconds: Slurm would read minutes."""
    seconds = int(walltime) if walltime.isascii() and walltime.isdigit() and len(walltime) < 10 else None
    return walltime if seconds is None else f"{seconds // 3600}:{seconds % 3600 // 60:02}:{seconds % 60:02}"


def _pbs_options(lines: list[str]) -> Iterator[tuple[str, str]]:
    """Yields the letter and the value of each option, of which -l may come several times."""
    for line in lines:
        if not line.startswith("#PBS "):
            continue
        letter = ""
        for word in _words(line.removeprefix("#PBS")):
            if word.startswith("-") and len(word) > 1:
                if letter:
                    yield letter, ""
                letter = word[1]
                word = word[2:]
            if letter and word:
                yield letter, word
                letter = ""
        if letter:
            yield letter, ""


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text, comments=True)
    except ValueError:  # qsub will say so itself
        return text.split()


def _number(text: str | None) -> int | None:
    """Returns the first number of a text such as 2-4, if it begins with one."""
    found = re.match(r"[1-9]\d{0,5}", text or "")
    return int(found[0]) if found else None


def _kind(text: str) -> str:
    """Returns the kind of GPU that a text names; empty where it names none."""
    names = sorted(set(KINDS) - {"none"}, key=lambda name: (-len(name), name))  # gh200 before h200
    return next((name for name in names if name in text.lower()), "")
