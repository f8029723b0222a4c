"""The flags of ``adabatch study`` and of ``adabatch plan --nodes``, and how a command line becomes them.

A word such as --dry_run stands for itself, and a value may look like a flag: --sbatch --time=5.

Not here: what the values must be (checks.py, nodes.py), what is done (cli.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ..errors import InputError, require

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

STALL_S = 600.0


@dataclass(frozen=True, kw_only=True)
class FolderFlags:
    """Where the study is."""

    folder: str = "studies"
    """In which the study's folder lies."""


@dataclass(frozen=True, kw_only=True)
class SubmitFlags(FolderFlags):
    """Which cells, and how."""

    dry_run: bool = False
    """Prints the lines that would be called, and touches nothing."""
    test_only: bool = False
    """Asks Slurm whether it would take the jobs, and when they would start."""
    cells: str = ""
    """Only these: 'nodes<=4,mode=strong'; by mode, nodes, variant, repeat."""
    chain: bool = False
    """Each job waits for the end of the one before."""
    retry: str = ""
    """Also cells that ended so: failed, timeout, oom, node_fail, preempted, cancelled, lost, with commas between."""


@dataclass(frozen=True, kw_only=True)
class StatusFlags(FolderFlags):
    """How to show it."""

    json: bool = False
    """For programs."""
    watch: float | None = None
    """Shows it again every so many seconds, until nothing is still to come."""
    stall: float = STALL_S
    """Seconds without any file of a running cell moving, after which it counts as stalled."""


@dataclass(frozen=True, kw_only=True)
class PredictFlags(FolderFlags):
    """For how many nodes."""

    nodes: str
    """Node counts, with commas between."""
    far: bool = False
    """Also beyond four times the largest count that ran."""


@dataclass(frozen=True, kw_only=True)
class CancelFlags(FolderFlags):
    """Which cells."""

    cells: str = ""
    """Only these: 'nodes<=4,mode=strong'."""


@dataclass(frozen=True, kw_only=True)
class GridFlags:
    """The grid, and how a cell is started."""

    nodes: str
    """Node counts, with commas between."""
    mode: str = "strong"
    """strong, weak, adaptive, or several with commas between."""
    ranks_per_node: int = 1
    """Ranks on each node; one a GPU."""
    repeats: int = 3
    """Jobs of each cell of the grid; intervals need 3."""
    warmup: int = 20
    """Steps before the measured ones, where steps are measured."""
    steps: int = 200
    """Measured steps."""
    until: str | None = None
    """METRIC=VALUE, for example accuracy=0.92: trains to it, instead of measuring steps."""
    template: str = "slurm/cpu.sbatch"
    """The batch script, copied into the study."""
    launcher: Literal["srun", "horovodrun", "mpirun"] | None = None
    """What starts the ranks; srun when not given, and mpirun on this machine."""
    sbatch: str = ""
    """Further flags of sbatch, in one word: '--account=abc --time=00:20:00'. On this machine only --time."""
    where: Literal["slurm", "local"] = "slurm"
    """local: all ranks on this machine, one cell after another, without Slurm."""
    folder: str = "studies"
    """In which the study's folder lies."""


@dataclass(frozen=True, kw_only=True)
class NodesFlags:
    """For which machine to plan."""

    nodes: str | None = None
    """Node counts to compare, such as 1,2,4,...,4096: which is soonest, and which cheapest in node-hours."""
    network: str = "v100"
    """Between and within nodes: p100, p100-nvlink, p100-fdr, p100-aries, v100, or measured (with --probe)."""
    probe: str | None = None
    """File of `adabatch probe RECIPE --out FILE` on one such node or more; passes are timed here when not given."""
    noise_scale: float | None = None
    """Of the gradient, in samples, as `adabatch noise` finds it."""
    from_run: str | None = None
    """Folder of a run that measured its noise scale as it trained; instead of a number."""


def parse(
    verb: str, arguments: list[str], flags: type, lists: dict[str, str] | None = None
) -> tuple[str, dict[str, Any]]:
    """NAME, and the flags by name.

    Raises:
        InputError: the first thing that cannot be used.
        SystemExit: after --help.
    """
    from jsonargparse import ArgumentError, ArgumentParser, set_parsing_settings

    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False, prog=f"adabatch study {verb}")
    parser.add_argument("NAME", type=str, help="of the study")
    for name, text in (lists or {}).items():
        parser.add_argument(f"--{name}", action="append", type=str, default=[], metavar="FIELD=VALUES", help=text)
    parser.add_class_arguments(flags)
    words = _join_values(verb, arguments, parser)
    try:
        found = parser.parse_args(words)
    except ArgumentError as error:
        from ..argument_errors import explain

        raise explain(str(error), parser) from error
    given = found.as_dict()
    return given.pop("NAME"), given


def _join_values(verb: str, arguments: Sequence[str], parser: ArgumentParser) -> list[str]:
    """--dry_run or --dry-run as --dry_run=true, and --sbatch --x as --sbatch=--x: a value may look like a flag.

    Raises:
        InputError: a flag that there is not.
    """
    defaults = parser.get_defaults().as_dict()
    names = [name for name in defaults if name != "NAME"]
    joined: list[str] = []
    words = iter(arguments)
    for word in words:
        if not word.startswith("--") or word == "--help":
            joined.append(word)
            continue
        name, sign, value = word[2:].partition("=")
        name = name.replace("-", "_")
        allowed = ", ".join(f"--{other}" for other in names)
        require(
            name in names, name, f"a flag that study {verb} does not have", allowed, f"adabatch study {verb} --help"
        )
        if not sign and isinstance(defaults[name], bool):
            value = "true"
        elif not sign:
            following = next(words, None)
            if following is None:
                raise InputError(name, "nothing", "a value", f"--{name} VALUE")
            value = following
        joined.append(f"--{name}={value}")
    return joined
