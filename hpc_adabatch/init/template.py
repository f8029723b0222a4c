"""A batch script of slurm/ or pbs/ whose site's part is filled in: the lines between its two marks, and nothing else.

A line of the template that asks for the same is replaced, also where it is ready to be uncommented (##SBATCH); what it
has no line for stands behind the last one. Of the head only the names of files change.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from ..errors import InputError, require
from ..shipped import root, templates
from ..study.placement import time_limit_s
from .resources import KEPT, KINDS, Resources

FIRST, LAST = "# ---- what a site changes", "# ---- what a site keeps"
FILES = {"slurm": "run.sbatch", "pbs": "run.pbs"}
Option = tuple[str, str]  # how the template's line begins, as a regular expression; the option that replaces it


def usual_ranks(gpu: str, queue: str) -> int:
    """Returns the ranks of a node of which the template for such GPUs is made."""
    return ranks_of(fill(Resources(queue=queue, gpu=gpu, nodes=1)))


def fill(wanted: Resources) -> str:
    """Returns the batch script for what is wanted.

    Raises:
        InputError: There is no template for such nodes.
    """
    slurm = wanted.queue == "slurm"
    if not slurm:
        allowed = ", ".join(name for name, (template, _) in KINDS.items() if template not in ("gh200", "mi250"))
        require(wanted.gpu in allowed.split(", "), "gpu", f"{wanted.gpu} with PBS", allowed, "--queue slurm")
    name = KINDS[wanted.gpu][0] if slurm else "pbs"
    text = templates()[name].read_text(encoding="utf-8")
    head, first, site, last, rest = _parts(text)
    options = _slurm(wanted, site) if slurm else _pbs(wanted, site)
    site = _with_environment(_asking(site, options, "SBATCH" if slurm else "PBS"), wanted)
    head = _with_names(head, f"{wanted.queue}/{templates()[name].name}", FILES[wanted.queue])
    return "".join((head, first, site, last, rest))


def ranks_of(script: str) -> int:
    """Returns the ranks that a filled script starts, which has a line for nodes and one for the ranks of each."""
    if found := re.search(r"^#PBS -l select=(\d+):.*?mpiprocs=(\d+)", script, re.MULTILINE):
        return int(found[1]) * int(found[2])
    return int(_value(script, "nodes") or 1) * int(_value(script, "ntasks-per-node") or 1)


def _parts(text: str) -> tuple[str, str, str, str, str]:
    found = re.fullmatch(rf"(.*?\n)({FIRST}[^\n]*\n)(.*?\n)({LAST}[^\n]*\n)(.*)", text, re.DOTALL)
    assert found is not None, "a template without its two marks"
    return found[1], found[2], found[3], found[4], found[5]


def _value(site: str, name: str) -> str:
    found = re.search(rf"^#SBATCH --{name}=(\S+)", site, re.MULTILINE)
    return found[1] if found else ""


def _slurm(wanted: Resources, site: str) -> Iterator[Option]:
    if wanted.nodes:
        yield "--nodes=", f"--nodes={wanted.nodes}"
    ranks = wanted.ranks_per_node or int(_value(site, "ntasks-per-node"))
    yield "--ntasks-per-node=", f"--ntasks-per-node={ranks}"
    if wanted.gpu != "none":
        own = f"--gres=gpu:{wanted.gpu}:" if _value(site, "gres") else "--gpus-per-node="
        yield "--(?:gres|gpus-per-node)=", f"{wanted.asks or own}{ranks}"
    if wanted.cores:
        yield "--cpus-per-task=", f"--cpus-per-task={wanted.cores}"
    named = {name: getattr(wanted, name) for name in ("time", "account", "partition")}
    for name, value in (named | {name: wanted.more[name] for name in KEPT if name in wanted.more}).items():
        if value or name not in named:
            same = "mem(?:-per-cpu)?" if name.startswith("mem") else name  # of which Slurm takes one
            yield rf"--{same}\b(?!-)", f"--{name}={shlex.quote(value)}" if value else f"--{name}"


def _pbs(wanted: Resources, site: str) -> Iterator[Option]:
    select = dict(re.findall(r"(select|ncpus|mpiprocs)=(\d+)", site))
    ranks = wanted.ranks_per_node or int(select["mpiprocs"])
    cores = wanted.cores * ranks if wanted.cores else int(select["ncpus"])
    gpus = f":ngpus={ranks}" if wanted.gpu != "none" else ""
    yield "-l select=", f"-l select={wanted.nodes or select['select']}:ncpus={cores}:mpiprocs={ranks}{gpus}"
    for name in ("place", "filesystems"):
        if name in wanted.more:
            yield f"-l {name}=", f"-l {name}={wanted.more[name]}"
    if wanted.time:
        yield "-l walltime=", f"-l walltime={_in_hours(wanted.time)}"
    if wanted.account:
        yield "-A ", f"-A {wanted.account}"
    if wanted.partition:
        yield "-q ", f"-q {wanted.partition}"


def _in_hours(text: str) -> str:
    """Returns a time as PBS writes it."""
    seconds = time_limit_s(text)
    if seconds is None:
        raise InputError("time", text, "a limit, which PBS wants", "--time 04:00:00")
    return f"{int(seconds) // 3600:02}:{int(seconds) % 3600 // 60:02}:{int(seconds) % 60:02}"


def _asking(site: str, options: Iterator[Option], word: str) -> str:
    """Returns the site's part with these options."""
    lines = site.splitlines(keepends=True)
    for before, option in options:
        line = f"#{word} {option}\n"
        if places := [at for at, other in enumerate(lines) if re.match(f"##?{word} {before}", other)]:
            lines[places[0]] = line
        else:
            after = max(at for at, other in enumerate(lines) if re.match(rf"##?{word} ", other))
            lines.insert(after + 1, line)
    return "".join(lines)


def _with_environment(site: str, wanted: Resources) -> str:
    """Returns the site's part with the modules, this Python's environment, and the place of launch/job."""
    given = list(wanted.environment)
    own = Path(sys.prefix, "bin", "activate")
    if own.is_file():
        given = [line for line in given if not re.match(r"(?:source|\.) .*bin/activate", line)]
        given.append(f"source {shlex.quote(str(own))}")
    else:
        given.append(f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH")
    given.append(f"export ADABATCH_HOME=${{ADABATCH_HOME:-{shlex.quote(str(root()))}}} # has launch/job")
    if wanted.queue == "pbs":
        given.append(f'export ADABATCH_FLAGS="${{ADABATCH_FLAGS---precision {KINDS[wanted.gpu][1]}}}"')
    site = re.sub(r"^# source /path/.*\n", "", site, flags=re.MULTILINE)
    modules = re.search(r"^# module load .*\n", site, re.MULTILINE)
    assert modules is not None, "a template without a line of modules"
    kept = "" if any(line.startswith(("module", "ml")) for line in given) else modules[0]
    return site[: modules.start()] + kept + "".join(f"{line}\n" for line in given) + site[modules.end() :]


def _with_names(head: str, template: str, name: str) -> str:
    """Returns the head, which tells how the script is submitted, for a file of this name in a folder of its own."""
    head = head.replace(template, name).replace(
        "Submit it from the folder of the checkout.", "Submit it from this folder."
    )
    return re.sub(r" \(docs/[\w-]+\.md\)", "", head)
