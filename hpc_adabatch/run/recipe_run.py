"""A whole run of a recipe: data, model, epochs, evaluation, and the life that it has in its folder (life.py)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..cluster import Cluster
from ..files import whole
from ..optim import WeightAverage
from ..recipe import Recipe
from ..tasks import TaskData
from ..training import AdaptiveTraining
from ..training.journal import Journal
from ..training.signals import StopFlag
from . import restart
from .build import Forward, build_model, load_data, loss_scaler
from .evaluation import evaluate
from .folder import RunFolder
from .follow import FollowOptions, NodesFollower, check_follow, following, in_words
from .life import Life, Stopped
from .loop import train
from .progress import ProgressDisplay
from .target import parse_target


class RecipeIdentity:
    """A recipe, as what a run is.

    Args:
        recipe: The recipe.
        resolved: The recipe as YAML, with every field resolved.
        folder: The folder of the run.
        training: The loop.
    """

    def __init__(self, recipe: Recipe, resolved: str, folder: Path, training: AdaptiveTraining) -> None:
        self._resolved, self._training = resolved, training
        self.again = f"--out {folder} --resume auto"
        self.named: dict[str, Any] = {"name": recipe.name, **recipe.chosen, "model": recipe.model_name}
        if not recipe.task.larger_is_better:
            self.named["larger_is_better"] = False
        self.saved = {"recipe": resolved}

    def check_same(self, state: Mapping[str, Any]) -> None:
        """Sees that a checkpoint is one of this run."""
        restart.check_same(state["recipe"], self._resolved)

    def planned(self, state: Mapping[str, Any]) -> float:
        """Returns the epochs of the recipe that a checkpoint comes from."""
        return restart.planned(state["recipe"])

    def changed(self, state: Mapping[str, Any]) -> Mapping[str, Any]:
        """Returns the fields that differ from a checkpoint."""
        return restart.differences(state["recipe"], self._resolved)

    def told(self, state: Mapping[str, Any]) -> Iterator[str]:
        """Yields a line for each field that makes the run another one from here on."""
        return restart.tell_changes(state["recipe"], self._resolved, self._training)


class RecipeRun:
    """A run of a recipe in its folder.

    Args:
        recipe: The recipe.
        resolved: The recipe as YAML, for the folder and for telling whether a checkpoint belongs to it.
        folder: The folder of the run's files.
        resume: True to go on from the checkpoint in the folder, if there is one.
        cluster: The ranks.
        until: ``METRIC=VALUE``: the first evaluation at least as good ends the run; None for the whole recipe.
        stop_flag: The flag that tells this rank to stop.
        follow: The way in which nodes follow the batch; None where the run stays on those that it has.
        tensorboard: True to write TensorBoard's events beside the journal.
        data: The task's data, where they are read already.
        progress: The display; that of rank 0 on its standard output when not given.

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
        follow: FollowOptions | None = None,
        tensorboard: bool = False,
        data: TaskData | None = None,
        progress: ProgressDisplay | None = None,
    ) -> None:
        self.recipe, self.cluster, self.stop_flag = recipe, cluster, stop_flag or StopFlag()
        self.folder = RunFolder(folder)
        progress = progress or ProgressDisplay(cluster.leads)
        with cluster.together():
            target = parse_target(until, recipe.task)
            job = check_follow(recipe, follow, cluster) if follow is not None and cluster.leads else None
            if cluster.leads:
                self.folder.claim(resume=resume)
        cluster.watchdog.enter("reading the data", prepares=True)
        self.data = data or load_data(recipe, cluster)
        rule = None
        if follow is not None:
            cluster.watchdog.enter("timing some passes", prepares=True)
            with cluster.together():
                if job is not None:
                    rule = following(recipe, self.data, follow, job, folder, cluster.size // job.nodes)
        self._average: WeightAverage | None = None
        self.journal = Journal(self.folder.journal if cluster.leads else None)
        self.training = self._build()
        self._forward = Forward(self.training.model, recipe, cluster.device)
        if self.data.told:
            progress.line(self.data.told)
        identity = RecipeIdentity(recipe, resolved, folder, self.training)
        self.life = Life(
            self.folder,
            self.training,
            identity,
            epochs=recipe.options.epochs,
            metric=recipe.task.metric,
            target=target,
            resume=resume,
            progress=progress,
            tensorboard=tensorboard,
        )
        if follow is not None and rule is not None and job is not None:  # on rank 0
            given = self.training.global_batch if self.life.is_new else None
            self.life.follower = NodesFollower(rule, job, given, progress)
            progress.line(in_words(rule, follow.network, self.training.batches.max_global_batch))
        if self.life.is_new and recipe.schedule.scale_invariant:
            progress.line(recipe.length(self.training.batches))
        if self.life.is_new and recipe.schedule.warmup == "auto":
            progress.line(recipe.rise())
        with cluster.together():
            if cluster.leads and not self.life.is_complete:
                with whole(self.folder.config) as file:
                    file.write(resolved.encode())

    def train(self) -> int:
        """Trains to the end, or until stopped. Returns the exit code: 0, or that of the signal that left work to do."""
        with self.folder.owner:
            try:
                for epoch in self.life.epochs():
                    self._epoch(epoch)
            except Stopped as stopped:
                return stopped.exit_code
            self.life.finish()
        return 0

    def evaluate(self) -> dict[str, float]:
        """Returns the scores of the weights that there are now on the whole test set."""
        return self._evaluate(self.training.model)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Returns the model's outputs, in the precision of the run."""
        return self._forward(inputs)

    def _epoch(self, epoch: int) -> None:
        task, average = self.recipe.task, self._average
        self.training.model.train()
        for step in train(self.life, [epoch], lambda inputs, targets: task.loss(self.forward(inputs), targets)):
            if average is not None and step.applied:
                average.update(len(step.batch))
        self.training.average_buffers()
        scores = self._evaluate(self.training.model)
        if average is None:
            self.life.evaluated(scores["loss"], scores[task.metric])
        else:
            averaged = self._evaluate(average.model)
            named = {f"averaged_{name}": averaged[name] for name in ("loss", task.metric)}
            beside = f" (averaged {averaged[task.metric]:.4f})"
            self.life.evaluated(scores["loss"], scores[task.metric], named, beside=beside)

    def _evaluate(self, model: nn.Module) -> dict[str, float]:
        """Returns the scores of a network of this recipe on the whole test set."""
        options, forward = self.recipe.options, Forward(model, self.recipe, self.cluster.device)
        batch, workers = options.evaluation_batch, options.workers
        return evaluate(model, forward, self.recipe.task, self.data, self.cluster, batch=batch, workers=workers)

    def _build(self) -> AdaptiveTraining:
        recipe = self.recipe
        with self.cluster.together():
            model = build_model(recipe, self.data, self.cluster.device)
            batches = recipe.batches(self.data)
            batches.check_ranks(self.cluster.size)
            optimizer = recipe.optimizer.build(model)
            decay = recipe.options.weight_average
            if decay is not None:
                self._average = WeightAverage(model, decay, recipe.global_batch)
        torch.manual_seed(recipe.options.seed + 1)  # for dropout, to which the loop adds the rank
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
            also={"weight_average": self._average} if self._average is not None else None,
        )
