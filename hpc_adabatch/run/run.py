"""A whole run of a recipe: data, model, epochs, evaluation, checkpoints, result."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import torch

from ..cluster import Cluster
from ..errors import StorageError, reading
from ..files import whole, writing
from ..recipe import Recipe
from ..terminal import display
from ..training import AdaptiveTraining
from ..training.journal import Journal
from ..training.signals import EXIT_CODES, StopFlag
from . import checkpoint, restart
from .build import Forward, build_model, load_data, loss_scaler
from .evaluation import evaluate
from .folder import RunFolder
from .loop import train
from .picture import write_picture
from .progress import ProgressDisplay
from .result import report, write_result
from .saver import Saver
from .target import parse_target


class Run:
    """A run in its folder.

    Args:
        recipe: The recipe.
        resolved: The recipe as YAML, for the folder and for telling whether a checkpoint belongs to it.
        folder: The folder of the run's files.
        resume: True to go on from the checkpoint in the folder, if there is one.
        cluster: The ranks.
        until: ``METRIC=VALUE``: the first evaluation at least as good ends the run; None for the whole recipe.
        stop_flag: The flag that tells this rank to stop.

    Raises:
        InputError: Data, model, sizes or folder cannot be used; every rank raises the same error.
    """

    def __init__(
        self,
        recipe: Recipe,
        resolved: str,
        folder: Path,
        *,
        resume: bool,
        cluster: Cluster,
        until: str | None = None,
        stop_flag: StopFlag | None = None,
    ) -> None:
        self.recipe, self.resolved, self.cluster = recipe, resolved, cluster
        self.stop_flag = stop_flag or StopFlag()
        self.folder = RunFolder(folder)
        self.progress = ProgressDisplay(cluster.leads)
        with cluster.together():
            self.target = parse_target(until, recipe.task)
            if cluster.leads:
                self.folder.claim(resume=resume)
        cluster.watchdog.enter("reading the data", prepares=True)
        self.data = load_data(recipe, cluster)
        self.journal = Journal(self.folder.journal if cluster.leads else None)
        self.training = self._build()
        self.training.checkpoints.request = self.folder.request if cluster.leads else None
        self._saver = Saver(self.folder, self.journal, self.training.checkpoints, self._warn)
        self._forward = Forward(self.training.model, recipe, cluster.device)
        self.metric: float | None = None
        self.training_s = 0.0
        if self.data.told:
            self.progress.line(self.data.told)
        if not (resume and self._resume()):
            self._start()

    def train(self) -> int:
        """Trains to the end, or until stopped. Returns the exit code: 0, or that of the signal that left work to do."""
        with self.folder.owner:
            return self._train()

    def _train(self) -> int:
        training = self.training
        for epoch in training.epochs(self.recipe.options.epochs):
            if self._reached:
                break
            self._epoch(epoch)
        if training.stopped and not self._over:
            go_on = f"--out {self.folder.path} --resume auto"
            self.progress.line(f"{training.stopped}: left after update {training.steps}; to go on: {go_on}")
            return EXIT_CODES[training.stopped]
        with self.cluster.together():
            if self.cluster.leads and not self.folder.result.exists():
                self._finish()
        return 0

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Returns the model's outputs, in the precision of the run."""
        return self._forward(inputs)

    @property
    def _over(self) -> bool:
        return self._reached or self.training.is_over(self.recipe.options.epochs)

    @property
    def _reached(self) -> bool:
        return self.target is not None and self.target.reached(self.metric)

    def _epoch(self, epoch: int) -> None:
        training, plan, task = self.training, self.training.plan, self.recipe.task
        batch_before, began = training.global_batch, time.monotonic()
        loss_sum, samples = 0.0, 0
        training.model.train()
        with self.progress.epoch(f"epoch {epoch + 1}", plan.cursor % plan.n_samples, plan.n_samples):
            for step in train(training, [epoch], lambda inputs, targets: task.loss(self.forward(inputs), targets)):
                loss_sum, samples = loss_sum + step.loss * len(step.batch), samples + len(step.batch)
                self.progress.step(len(step.batch), step.loss, len(step.batch))
                if training.checkpoints.due and not (training.stopped or plan.epoch_finished):
                    self._save(self.training_s + time.monotonic() - began)
        seconds = time.monotonic() - began
        self.training_s += seconds
        if not (plan.epoch_finished or self._over):
            self._leave()
            return
        training.average_buffers()
        batch, workers = self.recipe.options.evaluation_batch, self.recipe.options.workers
        scores = evaluate(training.model, self.forward, task, self.data, self.cluster, batch=batch, workers=workers)
        self.metric = scores[task.metric]
        training.record("evaluation", loss=scores["loss"], metric=self.metric, samples_per_s=samples / seconds)
        self.progress.line(
            f"epoch {epoch + 1:3d}  batch {batch_before:6d}  learning rate {training.last_rate:<8.4g}"
            f"  loss {loss_sum / samples:.4f}  test loss {scores['loss']:.4f}  test {task.metric} {self.metric:.4f}"
            f"  {samples / seconds:.0f} samples/s{self._clock}"
        )
        self._leave()

    @property
    def _clock(self) -> str:
        if not self.recipe.schedule.scale_invariant:
            return ""
        return f"  clock {self.training.clock:.2f} of {self.recipe.options.epochs}"

    def _leave(self) -> None:
        """Saves at the end of an epoch, or where all ranks were stopped."""
        if self.training.stopped and not self._over:
            self.training.record("end", reason=self.training.stopped)
        self._save(self.training_s)

    def _build(self) -> AdaptiveTraining:
        recipe = self.recipe
        with self.cluster.together():
            model = build_model(recipe, self.data, self.cluster.device)
            batches = recipe.batches(self.data)
            batches.check_ranks(self.cluster.size)
            optimizer = recipe.optimizer.build(model)
        torch.manual_seed(recipe.options.seed + 1 + self.cluster.rank)  # dropout differs between ranks
        return AdaptiveTraining(
            model,
            optimizer,
            batches,
            cluster=self.cluster,
            policy=recipe.policy,
            learning_rate=recipe.schedule,
            journal=self.journal,
            step_size=recipe.optimizer.step_size(),
            scaler=loss_scaler(recipe, self.cluster.device),
            options=recipe.options,
            stop_flag=self.stop_flag,
        )

    def _start(self) -> None:
        recipe, training, cluster = self.recipe, self.training, self.cluster
        if self.journal.position():  # of a run that was killed before its first checkpoint: all of it is done again
            self.journal.go_back(0, 0.0)
        self._write_config()
        training.record(
            "start",
            name=recipe.name,
            **recipe.chosen,
            model=recipe.model_name,
            metric=recipe.task.metric,
            epochs=recipe.options.epochs,
            reference_batch=recipe.reference_batch,
            samples_per_epoch=training.plan.n_samples,
            parameters=sum(parameter.numel() for parameter in training.model.parameters()),
            world_size=cluster.size,
            nodes=cluster.n_nodes,
            launcher=cluster.launcher,
            engine=cluster.engine,
            device=str(cluster.device),
            threads=torch.get_num_threads(),
            max_global_batch=training.batches.max_global_batch,
            **training.holding(),
        )
        by = f" by {cluster.engine}" if cluster.engine != "none" else ""
        self.progress.line(
            f"{recipe.name}: {recipe.chosen['task']}, {recipe.model_name}, {recipe.chosen['policy']} with "
            f"{recipe.chosen['optimizer']}; {cluster.size} rank(s){by} on {cluster.n_nodes} node(s), "
            f"{cluster.device.type}, {torch.get_num_threads()} thread(s) each; in {self.folder.path}"
        )
        if recipe.schedule.scale_invariant:
            self.progress.line(recipe.length(training.batches))

    def _write_config(self) -> None:
        with self.cluster.together():
            if self.cluster.leads:
                with whole(self.folder.config) as file:
                    file.write(self.resolved.encode())

    def _save(self, training_s: float) -> None:
        """Saves the state of all ranks; where that fails and training goes on, the checkpoint before is kept."""
        training, ends = self.training, bool(self.training.stopped or self._over)
        self.cluster.watchdog.enter("the checkpoint")
        with training.checkpoints.saving(training.steps):
            state = restart.collect(training, self.cluster) | {
                "recipe": self.resolved,
                "metric": self.metric,
                "training_s": training_s,
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
        self.cluster.watchdog.beat()

    def _warn(self, error: StorageError) -> None:
        self.progress.line(f"warning: {error}; training goes on, and saves again later")

    def _resume(self) -> bool:
        """Takes up the checkpoint of the folder; False when there is none."""
        with self.cluster.together():
            loaded = checkpoint.load(self.folder.checkpoint, self.cluster)
            if loaded is None:
                if self.cluster.leads:
                    restart.check_nothing_lost(self.folder.journal)
                return False
            state, allowed = loaded.state, "the checkpoint of a run, by this release or an earlier one"
            with reading("resume", self.folder.checkpoint, allowed, "--out DIR, to start anew"):
                restart.check_same(state["recipe"], self.resolved)
                restart.check_progress(state, self.resolved, self.training)
                restart.restore(self.training, self.cluster, state)
                self.metric, self.training_s = state["metric"], state["training_s"]
                written, elapsed_s = state["journal_bytes"], state["elapsed_s"]
        for name, why in loaded.damaged.items():
            self.progress.line(f"{self.folder.checkpoint / name} is {why}: kept as {checkpoint.DAMAGED}")
        if self.cluster.leads:
            checkpoint.put_aside(self.folder.checkpoint, loaded.damaged)
        if self._over and self.folder.result.exists():
            self.progress.line(f"{self.folder.path} holds this run, complete")
            return True
        if not self.journal.go_back(written, elapsed_s, start=state.get("start")):
            self.training.record("gap", reason="records before this one are lost or damaged on the disk")
            self.progress.line(f"{self.folder.journal}: records are lost or damaged; training goes on without them")
        if self.cluster.leads:
            self.folder.result.unlink(missing_ok=True)
            self.training.checkpoints.ran_s = elapsed_s
            self.training.checkpoints.failures = restart.failures(self.journal.read())
        self._write_config()
        changed = restart.differences(state["recipe"], self.resolved)
        ranks = {"world_size": self.cluster.size, "engine": self.cluster.engine}
        self.training.record("resume", **ranks, changed=changed, **self.training.holding())
        self.progress.line(f"resumed {self.folder.path} after update {self.training.steps}")
        for line in restart.tell_changes(state["recipe"], self.resolved, self.training):
            self.progress.line(line)
        return True

    def _finish(self) -> None:
        training = self.training
        assert self.metric is not None  # at least one epoch was evaluated
        training.record("end", reason="complete", metric=self.metric)
        self.journal.catch_up()
        records = self.journal.read()
        with writing(self.folder.picture):
            write_picture(self.folder.picture, records)
        write_result(
            self.folder.result,
            records,
            wall_s=self.journal.elapsed_s(),
            samples_per_s=training.plan.samples_seen / self.training_s,
            target=self.target,
        )
        with suppress(OSError):  # the run is complete, whatever becomes of its log
            display(*report(self.folder.path))
