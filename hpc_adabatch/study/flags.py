"""The flags of ``adabatch study`` and of ``adabatch plan --nodes``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ..verb_words import Word, read

STALL_S = 600.0
"""Seconds without a change of its files, after which a running cell counts as stalled."""


@dataclass(frozen=True, kw_only=True)
class FolderFlags:
    """The flag that tells where studies lie."""

    folder: str = "studies"
    """The folder of all studies, in which each has a folder of its own."""


@dataclass(frozen=True, kw_only=True)
class SubmitFlags(FolderFlags):
    """The flags of submit."""

    dry_run: bool = False
    """True to print the lines that submit would call, and to touch nothing."""
    test_only: bool = False
    """True to ask Slurm whether it would take the jobs and when they would start, and to submit nothing."""
    cells: str = ""
    """The cells to submit, such as 'nodes<=4,mode=strong', by mode, nodes, variant, repeat; all when not given."""
    chain: bool = False
    """True to let each job wait for the end of the one before."""
    retry: str = ""
    """States of ended cells to submit again, with commas between, out of failed, timeout, oom, node_fail, preempted,
    cancelled, lost."""


@dataclass(frozen=True, kw_only=True)
class StatusFlags(FolderFlags):
    """The flags of status."""

    json: bool = False
    """True to print JSON, for programs."""
    watch: float | None = None
    """Seconds between two looks at the cells, until no job waits or runs; one look when not given."""
    stall: float = STALL_S
    """Seconds without a change of its files, after which a running cell counts as stalled."""


@dataclass(frozen=True, kw_only=True)
class PredictFlags(FolderFlags):
    """The flags of predict."""

    nodes: str
    """Node counts to predict, with commas between."""
    far: bool = False
    """True to predict also beyond four times the largest count that ran."""


@dataclass(frozen=True, kw_only=True)
class ReportFlags(FolderFlags):
    """The flags of report."""

    proposal: bool = False
    """True for a page of evidence beside the report, as computing centres ask for it with a proposal."""
    efficiency: float = 0.75
    """The least efficiency that the centre asks for, from 0 to 1; with --proposal."""


@dataclass(frozen=True, kw_only=True)
class CancelFlags(FolderFlags):
    """The flags of cancel."""

    cells: str = ""
    """The cells to cancel, such as 'nodes<=4,mode=strong'; all when not given."""


@dataclass(frozen=True, kw_only=True)
class GridFlags:
    """The flags of plan: the grid of cells, and how a cell is started."""

    nodes: str
    """Node counts, with commas between, such as 1,2,4 or 1,2,...,64."""
    mode: str = "strong"
    """The growth of the batch with the nodes: strong, weak, adaptive, or follow, where the nodes go with the batch
    between the fewest and the most; or several with commas between."""
    ranks_per_node: int = 1
    """Ranks on each node; one for each GPU."""
    repeats: int = 3
    """Jobs of each cell of the grid; confidence intervals need at least 3."""
    warmup: int = 20
    """Steps before the measured ones; without --until."""
    steps: int = 200
    """Steps to measure; without --until."""
    until: str | None = None
    """The target to train to, such as accuracy=0.92; when not given, jobs measure steps instead of training."""
    template: str = "slurm/cpu.sbatch"
    """The batch script, copied into the study."""
    launcher: Literal["srun", "horovodrun", "mpirun"] | None = None
    """The program that starts the ranks; srun when not given, or mpirun with --where local."""
    sbatch: str = ""
    """Further flags of sbatch, in one word: '--account=abc --time=00:20:00'; with --where local only --time."""
    follow: str = ""
    """The flags of runs whose nodes follow, in one word: '--probe=probe.json --network=measured --efficiency=0.75'."""
    where: Literal["slurm", "local"] = "slurm"
    """The place of the jobs: slurm, or local, which is this machine: one cell after another, with all ranks on it."""
    folder: str = "studies"
    """The folder of all studies, in which each has a folder of its own."""


@dataclass(frozen=True, kw_only=True)
class FollowFlags:
    """The flags of a run whose nodes follow its batch, which ``train`` and ``plan`` have: node counts and machine."""

    nodes_follow: str | None = None
    """The node counts that a run may have, fewest and most, such as 1:32. Each time other nodes pay for a batch that
    has changed, it leaves its job, which submits its successor on them."""
    network: str = "v100"
    """The network: p100, p100-nvlink, p100-fdr, p100-aries, v100, or measured (needs --probe)."""
    probe: str | None = None
    """The file of `adabatch probe RECIPE --out FILE` on such nodes; when not given, passes are timed here."""
    efficiency: float = 0.75
    """The least efficiency of a node with nodes_follow, against one of the fewest nodes with the same batch."""
    wait_s: float | None = None
    """The seconds in the queue until a job on other nodes starts, with nodes_follow; when not given, those that the
    job itself has waited, 60 at least; 600 in a plan."""


@dataclass(frozen=True, kw_only=True)
class NodesFlags(FollowFlags):
    """The flags of ``adabatch plan --nodes``: the node counts to compare, and the machine."""

    nodes: str | None = None
    """Node counts to compare, such as 1,2,4,...,4096. Prints the fastest and the cheapest in node-hours."""
    noise_scale: float | None = None
    """The noise scale of the gradient in samples, as `adabatch noise` prints it; give this or from_run."""
    from_run: str | None = None
    """The folder of a run that measured its noise scale as it trained; give this or noise_scale. Without nodes, its
    journal brings AdaScale's gains, and the batches of rules that follow the gradients."""


def parse(
    verb: str, arguments: list[str], flags: type, lists: dict[str, str] | None = None
) -> tuple[str, dict[str, Any]]:
    """Reads NAME and the flags of a verb. Returns NAME, and the values of the flags by name.

    Args:
        verb: The verb.
        arguments: The words after the verb.
        flags: The class of the verb's flags.
        lists: Help texts by name of further flags, which may be given several times.

    Raises:
        InputError: The first thing that cannot be used.
        SystemExit: After --help.
    """
    return read(f"study {verb}", arguments, flags, Word("NAME", "The name of the study."), lists)
