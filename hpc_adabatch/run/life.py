"""The life of a training in its folder, which a recipe's run and a script's share.

    begins     from the checkpoint of the folder, or anew
    lives      steps, checkpoints, evaluations, lines for who watches
    stops      all ranks after the same update, with a checkpoint: Stopped
    ends       journal, picture, result.json

What makes the run this run, and no other, is told by its identity: a recipe, or a script's settings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import torch

from ..environment import leave_nodes
from ..errors import StorageError, reading
from ..files import writing
from ..terminal import display
from ..training import AdaptiveTraining, Step, checkpoint
from ..training.signals import EXIT_CODES, NODES
from ..training.state import check, collect, restore
from . import restart
from .epoch_part import EpochPart
from .export.tensorboard import TensorBoard
from .folder import RunFolder
from .follow import NodesFollower
from .identity import Identity
from .picture import write_picture
from .progress import ProgressDisplay
from .result import report, write_result
from .saver import Saver
from .surroundings import surroundings
from .target import Target


class Stopped(SystemExit):
    """The end of a process whose run was told to stop: a checkpoint is written, and all ranks raise this.

    Args:
        signal: The name of what told it.
    """

    def __init__(self, signal: str) -> None:
        super().__init__(EXIT_CODES[signal])
        self.exit_code = EXIT_CODES[signal]


class Life:
    """A training that is kept in a folder.

    Args:
        folder: The folder, which this process has claimed on rank 0.
        training: The loop, whose journal lies in the folder.
        identity: Tells what the run is.
        epochs: The epochs on the clock of the schedule after which it ends.
        metric: The name of the metric that evaluations tell.
        target: The value of the metric that ends it; None for all epochs.
        resume: True to go on from the checkpoint in the folder, if there is one.
        progress: The display for the person who watches.
        tensorboard: True to write TensorBoard's events beside the journal.

    Attributes:
        metric: The last value of the metric; None before the first evaluation.
        is_new: True where it has begun anew.
        follower: Says on which nodes the run goes on; None where it stays on those that it has, and on other ranks.
        is_complete: True where the folder holds the run, with its result, and there is nothing to do.

    Raises:
        InputError: The checkpoint cannot be used; all ranks raise the same error.
    """

    def __init__(
        self,
        folder: RunFolder,
        training: AdaptiveTraining,
        identity: Identity,
        *,
        epochs: float,
        metric: str,
        target: Target | None = None,
        resume: bool,
        progress: ProgressDisplay,
        tensorboard: bool = False,
    ) -> None:
        self.folder, self.training, self._identity = folder, training, identity
        self.cluster, self.journal = training.cluster, training.journal
        self.metric: float | None = None
        self.follower: NodesFollower | None = None
        self.is_complete = False
        self._epochs, self._metric_name, self._target, self._progress = epochs, metric, target, progress
        self._training_s = 0.0
        self._left_early = False  # by the script, before its epochs were over
        self._yielded: int | None = None  # the epoch of ``epochs``, at whose end a checkpoint is due
        self._saved_at: int | None = None  # the step of the last checkpoint
        self._part = EpochPart(training.global_batch)
        self._part.end()
        training.checkpoints.request = folder.request if self.cluster.leads else None
        self._tensorboard = tensorboard
        self._saver = Saver(folder, self.journal, training.checkpoints, self._warn)
        self.is_new = not (resume and self._resume())
        if self.is_new:
            self._start()

    @property
    def is_over(self) -> bool:
        """Reports whether the run has come to its end."""
        reached = self._target is not None and self._target.reached(self.metric)
        return reached or self._left_early or self.training.is_over(self._epochs)

    def epochs(self) -> Iterator[int]:
        """Yields the numbers of the epochs that remain; after each of them a checkpoint is written.

        Raises:
            Stopped: The run was told to stop.
        """
        if self.is_over:
            return
        for epoch in self.training.epochs(self._epochs):
            self._yielded = epoch
            yield epoch
            self._end_epoch()
            if self.is_over:
                return

    def epoch(self, epoch: int) -> Iterator[Step]:
        """Yields the steps of an epoch that remain.

        Raises:
            RuntimeError: The number is not the one that ``epochs`` has yielded last.
            Stopped: The run was told to stop within the epoch.
        """
        if epoch != self._yielded:  # of range(): no checkpoint at its end, and evaluated again after each start
            raise RuntimeError(f"epoch {epoch} is not of run.epochs(): write for epoch in run.epochs():")
        training, plan = self.training, self.training.plan
        part = self._part = EpochPart(training.global_batch)
        try:
            with self._progress.epoch(f"epoch {epoch + 1}", plan.cursor % plan.n_samples, plan.n_samples):
                for step in training.epoch(epoch):
                    yield step
                    if not step.updated:  # the loop says so
                        continue
                    part.add(step)
                    self._progress.step(len(step.batch), step.loss, len(step.batch))
                    if self.follower is not None:
                        self.follower.look(training, self._epochs)
                    if training.checkpoints.due and not (training.stopped or plan.epoch_finished):
                        self._save()
        finally:
            self._training_s += part.end()
        if not (plan.epoch_finished or self.is_over):
            self._leave()

    def evaluated(
        self, loss: float | None, metric: float, scores: Mapping[str, float] | None = None, *, beside: str = ""
    ) -> None:
        """Records an evaluation, and prints a line.

        Args:
            loss: The mean loss; None where it is not known.
            metric: The value of the metric.
            scores: Further values by name.
            beside: The words that follow the metric in the line.
        """
        self.metric = metric
        more = {} if scores is None else {"scores": dict(scores)}
        rate = self._part.samples_per_s
        self.training.record("evaluation", loss=loss, metric=metric, samples_per_s=rate, **more)
        self._tell(f"  test loss {loss:.4f}" if loss is not None else "", metric, beside)

    def finish(self) -> None:
        """Writes what a complete run leaves, where it is not there yet."""
        if self._saved_at != self.training.steps:  # the caller has left the loop by itself
            self._left_early = not self.training.is_over(self._epochs)
            self._end_epoch()
        with self.cluster.together():
            if self.cluster.leads and not self.folder.result.exists():
                self._write_result()

    def _end_epoch(self) -> None:
        if not self._part.is_told:
            self._tell("", None)
        self._leave()

    def _leave(self) -> None:
        """Saves; where all ranks were told to stop, they end here.

        Raises:
            Stopped: They were.
        """
        training = self.training
        stopped = training.stopped if not self.is_over else None
        nodes = self.follower.wanted if self.follower is not None and stopped == NODES else None
        if stopped:
            training.record("end", reason=stopped, **({"nodes": nodes} if nodes is not None else {}))
        self._save()
        if nodes is not None:  # not before there is a checkpoint to go on from
            leave_nodes(nodes)
        if stopped:
            self._progress.line(f"{stopped}: left after update {training.steps}; to go on: {self._identity.again}")
            raise Stopped(stopped)

    def _tell(self, loss: str, metric: float | None, beside: str = "") -> None:
        training, part = self.training, self._part
        part.is_told = True
        if not part.samples:
            return
        value = f"  test {self._metric_name} {metric:.4f}" if metric is not None else ""
        rule = training.learning_rate
        clock = f"  clock {training.clock:.2f} of {self._epochs}" if rule.scale_invariant else ""
        self._progress.line(
            f"epoch {training.plan.epoch + 1:3d}  batch {part.batch_before:6d}"
            f"  learning rate {training.last_rate:<8.4g}"
            f"  loss {part.loss:.4f}{loss}{'' if self._metric_name == 'loss' and loss else value}{beside}"
            f"  {part.samples_per_s:.0f} samples/s{clock}"
        )

    def _listen(self) -> None:
        """Lets those listen to the journal who tell of the run elsewhere, and shows them the lines that it has.

        Raises:
            InputError: TensorBoard is asked for, and not installed; all ranks raise the same error.
        """
        with self.cluster.together():
            if self.cluster.leads:
                records = self.journal.read() if self.journal.position() else []
                for record in records:
                    self._progress.take(record)
                self.journal.listeners.append(self._progress.take)
                if self._tensorboard:
                    self.journal.listeners.append(TensorBoard(self.folder.path, records).take)

    def _start(self) -> None:
        training, cluster, named = self.training, self.cluster, self._identity.named
        if self.journal.position():  # of a run that was killed before its first checkpoint: all of it is done again
            self.journal.go_back(0, 0.0)
        self._listen()
        training.record(
            "start",
            **named,
            metric=self._metric_name,
            epochs=self._epochs,
            reference_batch=training.reference_batch,
            samples_per_epoch=training.plan.n_samples,
            parameters=sum(parameter.numel() for parameter in training.model.parameters()),
            world_size=cluster.size,
            nodes=cluster.n_nodes,
            launcher=cluster.launcher,
            engine=cluster.engine,
            device=str(cluster.device),
            threads=torch.get_num_threads(),
            max_global_batch=training.batches.max_global_batch,
            **(surroundings(cluster) if cluster.leads else {}),
            **training.holding(),
        )
        by = f" by {cluster.engine}" if cluster.engine != "none" else ""
        self._progress.line(
            f"{named['name']}: {named['task']}, {named['model']}, {named['policy']} with {named['optimizer']}; "
            f"{cluster.size} rank(s){by} on {cluster.n_nodes} node(s), "
            f"{cluster.device.type}, {torch.get_num_threads()} thread(s) each; in {self.folder.path}"
        )

    def _save(self) -> None:
        """Saves the state of all ranks; where that fails and training goes on, the checkpoint before is kept."""
        training, ends = self.training, bool(self.training.stopped or self.is_over)
        self.cluster.watchdog.enter("the checkpoint")
        with training.checkpoints.saving(training.steps):
            state = collect(training, self.cluster) | {
                **self._identity.saved,
                "epochs": self._epochs,
                "left_early": self._left_early,
                "metric": self.metric,
                "training_s": self._training_s + self._part.running_s,
                "elapsed_s": self.journal.elapsed_s(),
                "start": self.journal.start(),
            }
            try:
                with self.cluster.together():
                    if self.cluster.leads:
                        self._saver.save(state, wait=ends)
            except StorageError as error:
                if ends:
                    raise
                self._warn(error)
        self._saved_at = training.steps
        self.cluster.watchdog.beat()

    def _warn(self, error: StorageError) -> None:
        self._progress.line(f"warning: {error}; training goes on, and saves again later")

    def _resume(self) -> bool:
        """Takes up the checkpoint of the folder; False when there is none."""
        training, cluster, line = self.training, self.cluster, self._progress.line
        with cluster.together():
            loaded = checkpoint.load(self.folder.checkpoint, cluster)
            if loaded is None:
                if cluster.leads:
                    restart.check_nothing_lost(self.folder.journal)
                return False
            state, allowed = loaded.state, "the checkpoint of a run, by this release or an earlier one"
            with reading("resume", self.folder.checkpoint, allowed, "--out DIR, to start anew"):
                self._identity.check_same(state)
                restart.check_numbers(state)
                check(training, state)
                planned = self._identity.planned(state)
                restart.check_epochs(state, planned, self._epochs)
                restore(training, cluster, state)
                self.metric, self._training_s = state["metric"], state["training_s"]
                self._left_early = bool(state.get("left_early", False)) and self._epochs <= planned
                written, elapsed_s = state["journal_bytes"], state["elapsed_s"]
        self._saved_at = training.steps
        for told in loaded.told(self.folder.checkpoint):
            line(told)
        if cluster.leads:
            checkpoint.put_aside(self.folder.checkpoint, loaded.damaged)
        self.is_complete = self.is_over and bool(cluster.tell(self.folder.result.exists()))
        if self.is_complete:
            line(f"{self.folder.path} holds this run, complete")
            return True
        is_whole = self.journal.go_back(written, elapsed_s, start=state.get("start"))
        self._listen()
        if not is_whole:
            training.record("gap", reason="records before this one are lost or damaged on the disk")
            line(f"{self.folder.journal}: records are lost or damaged; training goes on without them")
        if cluster.leads:
            self.folder.result.unlink(missing_ok=True)
            training.checkpoints.ran_s = elapsed_s
            training.checkpoints.failures = restart.failures(self.journal.read())
        place: dict[str, Any] = {"world_size": cluster.size, "nodes": cluster.n_nodes, "engine": cluster.engine}
        place |= surroundings(cluster) if cluster.leads else {}  # other ranks write no journal
        training.record("resume", **place, changed=self._identity.changed(state), **training.holding())
        line(f"resumed {self.folder.path} after update {training.steps}")
        for told in (*self._identity.told(state), *training.micro_batch.told()):
            line(told)
        return True

    def _write_result(self) -> None:
        training = self.training
        training.record("end", reason="complete", metric=self.metric)
        self.journal.catch_up()
        records = self.journal.read()
        with writing(self.folder.picture):
            write_picture(self.folder.picture, records)
        write_result(
            self.folder.result,
            records,
            wall_s=self.journal.elapsed_s(),
            samples_per_s=training.plan.samples_seen / self._training_s if self._training_s else 0.0,
            target=self._target,
        )
        with suppress(OSError):  # the run is complete, whatever becomes of its log
            display(*report(self.folder.path))
