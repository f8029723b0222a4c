"""Slurm's queue as the place of a study's jobs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ...errors import InputError, require
from ...shipped import template_file
from .. import checkout
from ..cells import Cell
from ..flags import STALL_S, GridFlags
from ..folder import StudyFolder
from ..job import Job
from ..place import Order, Place, Say, Terms
from ..placement import check_placement, directives, options
from ..spec import Study
from ..status import CellStatus, States
from .cancel import cancel
from .commands import Slurm, clean_environment
from .search import find_states, remember
from .submit import dry_run, last_active, submit, test_only


class SlurmQueue(Place):
    """Slurm's queue, where each cell is a job of its own.

    Args:
        study: The plan.
        folder: The study's files.
    """

    def __init__(self, study: Study, folder: StudyFolder) -> None:
        super().__init__(study, folder)
        self._slurm = Slurm(Path(study.directory))

    @staticmethod
    def terms(flags: GridFlags, words: tuple[str, ...], directory: Path) -> Terms:
        template, hint = template_file(flags.template), "--template slurm/cpu.sbatch"
        try:
            text = template.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            given = f"{template} ({type(error).__name__})"
            raise InputError("template", given, "a batch script that can be read", hint) from error
        require(text.startswith("#!"), "template", template, "a script that begins with #!", hint)
        checkout.variables(directory, text)  # or every job would fail after its wait in the queue
        asked = directives(text) | options(words)
        check_placement(asked, flags.ranks_per_node)
        return Terms(template=str(template), launcher=flags.launcher or "srun", asked=asked)

    @property
    def title(self) -> str:
        return f"Slurm, {self.study.template} with {self.study.launcher}"

    def look(self, stall_s: float = STALL_S) -> States:
        states = self._states(stall_s)
        remember(self.folder, states)
        return states

    def lines(self, order: Order) -> Iterator[str]:
        self._check_chain(order)
        _, overrides = clean_environment()
        states = self._states()
        chosen, after = states.to_start(order.cells, order.retry), last_active(states) if order.chain else None
        return dry_run(self.study, self.folder, chosen, overrides, chain=order.chain, after=after)

    def test(self, order: Order) -> Iterator[tuple[bool, str]]:
        chosen = self._states().to_start(order.cells, order.retry)
        return test_only(self.study, self.folder, self._slurm, [status.cell for status in chosen])

    def submit(self, order: Order, say: Say) -> int:
        self._check_chain(order)
        _, overrides = clean_environment()
        if overrides:
            names = [name for name in overrides if name.startswith("SBATCH_")]
            names += ["what Slurm tells the job that this shell is in"] if len(names) < len(overrides) else []
            say(f"taken out of sbatch's environment, for they win over the script: {' '.join(names)}")
        done = submit(self.study, self.folder, self._slurm, order.cells, retry=order.retry, chain=order.chain, say=say)
        if done:
            say(f"{len(done)} submitted, {self.study.hours_in_words(done)}")
        else:
            say(self._states().nothing_to_submit(order.cells))
        return 0

    def cancel(self, cells: Sequence[Cell]) -> list[CellStatus]:
        return cancel(self.study, self.folder, self._slurm, cells)

    def accounts(self, states: States) -> Mapping[str, Job]:
        return accounts(states, self._slurm)

    def _check_chain(self, order: Order) -> None:
        own = any(word.startswith(("--dependency", "-d")) for word in self.study.sbatch)
        require(not (order.chain and own), "chain", "with --dependency in --sbatch", "one of them")

    def _states(self, stall_s: float = STALL_S) -> States:
        return find_states(self.study, self.folder, self._slurm, stall_s)


def accounts(states: States, slurm: Slurm) -> dict[str, Job]:
    """Returns what sacct tells of the jobs of all attempts, by number; nothing where the site keeps no accounts."""
    ids = sorted({job_id for status in states.cells for job_id in status.job_ids}, key=int)
    return {job.job_id: job for job in (slurm.accounting(job_ids=ids) or [] if ids else [])}
