"""A script's training kept in a folder: what ``adabatch train`` does for a recipe, around a loop of the user's own."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from torch import nn
from torch.utils.data import Dataset

from ..cluster.ends import fail, leave
from ..environment import stop_file
from ..errors import OneLineError, real, require
from ..training import AdaptiveTraining, Step
from ..training.evaluation import Score, evaluate
from ..training.journal import Journal
from ..training.settings import check_same, differences, rounded
from .folder import RunFolder
from .life import Life, Stopped
from .progress import ProgressDisplay


class Run:
    """A training in a folder, from which the same command goes on.

        with hab.Run("runs/mine", training, epochs=90, metric="accuracy") as run:
            for epoch in run.epochs():
                for step in run.epoch(epoch):
                    for inputs, targets in step:
                        step.backward(loss_fn(model(inputs), targets))
                    step.update()
                run.evaluate(score, test_set)

    The folder gets the journal, checkpoints (after each epoch, and within as ``LoopOptions`` has it), and in the end
    result.json and a picture: ``adabatch report runs/mine`` shows them. Where it holds a checkpoint of this training,
    that is gone on from, bit by bit on as many ranks.

    Ctrl-C, SIGTERM, SIGUSR2 and the scheduler's stop file make all ranks leave after the same update, with a checkpoint
    and the exit code 75 (130 after Ctrl-C), by which ``launch/job`` queues the job again. A fault of one rank within
    the block ends all of them.

    Args:
        folder: The folder, which is made where it is missing.
        training: The training, of which no step is taken yet.
        epochs: The epochs on the clock of the schedule after which it ends.
        metric: The name of the score that journal, picture and report show.
        tensorboard: True to write TensorBoard's events into the folder too, as it trains.

    Attributes:
        training: The training.

    Raises:
        InputError: The training is none, or has taken a step.
        SystemExit: The folder cannot be used, with a line and code 2; or the run was told to stop.
    """

    def __init__(
        self,
        folder: str | Path,
        training: AdaptiveTraining,
        *,
        epochs: float,
        metric: str = "loss",
        tensorboard: bool = False,
    ) -> None:
        given, call = type(training).__name__, 'Run("runs/mine", training, epochs=90)'
        require(isinstance(training, AdaptiveTraining), "training", given, "an AdaptiveTraining", call)
        self.training, self._metric = training, metric
        self._folder, self._block, self._is_entered = RunFolder(Path(folder)), ExitStack(), False
        cluster = training.cluster
        try:
            with cluster.together():
                require(0 < real(epochs) < math.inf, "epochs", epochs, "more than 0", "--epochs 90")
                allowed = "a new one: Run goes on from its folder by itself"
                require(training.steps == 0, "training", f"one after {training.steps} steps", allowed, call)
                own = training.journal.path
                allowed = "none with Run, which writes it into its folder"
                require(own is None, "journal", own, allowed, "AdaptiveTraining(...) without journal")
                if cluster.leads:
                    self._folder.claim(resume=True)
            training.journal = Journal(self._folder.journal if cluster.leads else None)
            if training.stop_flag.file is None and cluster.leads:
                training.stop_flag.file = stop_file()
            self._life = Life(
                self._folder,
                training,
                ScriptIdentity(Path(folder), training),
                epochs=epochs,
                metric=metric,
                resume=True,
                progress=ProgressDisplay(cluster.leads),
                tensorboard=tensorboard,
            )
        except OneLineError as error:
            self._end(error)

    @property
    def metric(self) -> float | None:
        """Returns the last value of the metric; None before the first evaluation."""
        return self._life.metric

    def epochs(self) -> Iterator[int]:
        """Yields the numbers of the epochs that remain; after each of them a checkpoint is written.

        A caller may leave the loop: the run is complete then.

        Raises:
            RuntimeError: It is called outside of the run's ``with`` block, which listens to signals and ends the run.
        """
        if not self._is_entered:
            raise RuntimeError("a run is used within its block: with hab.Run(...) as run:")
        return self._life.epochs()

    def epoch(self, epoch: int) -> Iterator[Step]:
        """Yields the steps of an epoch that remain, with checkpoints in between.

        Raises:
            RuntimeError: The epoch is not the one that ``epochs`` has yielded last.
        """
        return self._life.epoch(epoch)

    def evaluate(
        self,
        score: Score,
        dataset: Dataset[Any],
        *,
        model: nn.Module | None = None,
        batch: int = 256,
        workers: int = 0,
    ) -> dict[str, float]:
        """Returns the mean of each score over a dataset, as ``hab.evaluate`` does, and records them.

        Samples are collated as those of the training set, but not transformed.

        Args:
            score: A function of some samples, which returns a number for each of them by name.
            dataset: The dataset, the same on every rank.
            model: The network whose statistics are averaged before, and which is in evaluation mode meanwhile; that of
                the training when not given.
            batch: The samples of one pass of one rank.
            workers: The processes of each rank that read samples, where these are not in memory.

        Raises:
            InputError: The metric is not among the scores; or as in ``hab.evaluate``.
        """
        chosen, cluster = self.training.model if model is None else model, self.training.cluster
        how = {"batch": batch, "workers": workers}
        collate = self.training.batches.collate
        scores = evaluate(score, dataset, model=chosen, cluster=cluster, **how, collate=collate)
        self.record(scores)
        return scores

    def record(self, scores: Mapping[str, float]) -> None:
        """Records scores that the script has found by itself, the same on every rank: ``{"loss": 0.3, "f1": 0.8}``.

        Raises:
            InputError: The metric is not among them.
        """
        with self.training.cluster.together():
            allowed = f"{', '.join(scores) or 'a score'}, which the script has"
            require(self._metric in scores, "metric", self._metric, allowed, f"metric={next(iter(scores), 'loss')!r}")
        self._life.evaluated(scores.get("loss"), scores[self._metric], scores)

    def __enter__(self) -> Run:
        self._block.enter_context(self.training.stop_flag.listening())
        self._is_entered = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            try:
                self._life.finish()
            except Exception as fault:
                error = fault
        self._block.close()
        if error is not None:
            self._end(error)
        self._folder.owner.release()

    def _end(self, error: BaseException) -> None:
        """Ends all ranks in the way that an exception asks for.

        Raises:
            SystemExit: All ranks have raised the same.
        """
        cluster = self.training.cluster
        self._folder.owner.release()
        if isinstance(error, Stopped | OneLineError):
            code = error.exit_code if isinstance(error, Stopped) else fail(error, cluster)
            leave(cluster, code)
            raise error if isinstance(error, Stopped) else SystemExit(code) from error
        if cluster.size > 1 or isinstance(error, KeyboardInterrupt):
            fail(error, cluster)
        raise error  # one process: Python tells of it


class ScriptIdentity:
    """The settings of a script's training, as what a run is.

    Args:
        folder: The folder of the run, whose name is the run's.
        training: The loop.
    """

    again = "the same command again"

    def __init__(self, folder: Path, training: AdaptiveTraining) -> None:
        self._settings = training.settings
        names = {name: self._settings[name] for name in ("policy", "optimizer")}
        script, model = Path(sys.argv[0]), type(training.model).__name__
        task = script.parent.name if script.stem == "__main__" else script.stem or "python"
        self.named = {"name": folder.resolve().name, "task": task, **names, "model": model}
        self.saved = {"settings": self._settings}

    def check_same(self, state: Mapping[str, Any]) -> None:
        """Sees that a checkpoint is one of this training."""
        check_same(state["settings"], self._settings)

    def planned(self, state: Mapping[str, Any]) -> float:
        """Returns the epochs that were planned when a checkpoint was written."""
        return float(state["epochs"])

    def changed(self, state: Mapping[str, Any]) -> Mapping[str, Any]:
        """Returns the settings that differ from a checkpoint."""
        return differences(state["settings"], self._settings)

    def told(self, state: Mapping[str, Any]) -> Iterator[str]:
        """Yields a line for each setting by which the run is another one from here on."""
        return rounded(state["settings"], self._settings)
