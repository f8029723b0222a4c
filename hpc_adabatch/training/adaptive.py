"""The closed loop: plan -> passes -> sum over ranks -> update -> decision -> plan.

Every line of it is small enough to use from one's own script:

    for epoch in range(90):
        for step in training.epoch(epoch):
            for inputs, targets in step:
                step.backward(loss_fn(model(inputs), targets))
            step.update()

Not here: data and models (tasks/), files (checkpoint.py, journal.py), a whole run with evaluation (run.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from ..batches import AdaptiveBatches, GlobalBatch
from ..batches.micro_batch import passes_and_micro_batch, pieces
from ..cluster import Cluster
from ..learning_rate import Course, LearningRate, Rates
from ..optim.armijo import Armijo
from ..policies import Fixed, Policy, Progress
from .averaging import Averaging
from .coordinator import Coordinator, Decision
from .journal import Journal
from .lengthening import batch_to_cut
from .line_search import LineSearch
from .losses import Losses
from .measuring import Measuring, check_pieces
from .signals import StopFlag
from .step import Step
from .timing import StepTimes


class AdaptiveTraining:
    """Trains a model with a batch that its policy changes.

    Args:
        model: on ``cluster.device``; rank 0's weights and buffers are sent to all.
        optimizer: of the model's parameters; its groups' ``lr`` are the base learning rates.
        batches: the training set and the limits of its batch.
        cluster: the ranks.
        policy: the rule for the batch; fixed when not given.
        learning_rate: the schedule over the base learning rates; constant when not given.
        journal: where steps and decisions are written down.
        journal_every: steps between two records of statistics.
        measure_every: steps between two measurements of the gradient's noise, for policies that follow it; as many as
            keep the cost below ``statistics_budget`` when not given. A fixed number makes runs repeatable.
        statistics_budget: part of the time of a step that measuring may take.
        split_passes: on one rank, a measured step that would take one pass takes two: a variance needs two pieces.
        step_size: the rule that searches the step size on each batch; the learning rate is not used then.
        scaler: scales losses in float16; ``torch.amp.GradScaler``.
        clip_norm: the averaged gradient is shortened to this length, after it was measured.
        compression: of gradients on their way between ranks, ``none`` or ``fp16``.
        journal_trust_ratios: also records the trust ratio of each layer, with optimizers that have them.
        groups: parameters by the name of the group whose noise is told apart; the optimizer's when not given.
        stop_flag: what tells this rank to stop; signals within ``stop_flag.listening()`` when not given.

    Raises:
        InputError: nothing could be measured: one rank, one pass, not to be split; or the window is too short.

    Attributes:
        optimizer: the one to inspect and save: Horovod rebuilds what it is given.
        global_batch: samples per step from here on.
        skipped: steps that changed nothing, because a loss or a gradient was not finite on some rank.
        stopped: name of the signal on which all ranks left, else None.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        batches: AdaptiveBatches,
        *,
        cluster: Cluster,
        policy: Policy | None = None,
        learning_rate: LearningRate | None = None,
        journal: Journal | None = None,
        journal_every: int = 10,
        measure_every: int | None = None,
        statistics_budget: float = 0.01,
        split_passes: bool = True,
        step_size: Armijo | None = None,
        scaler: torch.amp.GradScaler | None = None,
        clip_norm: float | None = None,
        compression: str = "none",
        journal_trust_ratios: bool = False,
        groups: Mapping[str, Sequence[nn.Parameter]] | None = None,
        stop_flag: StopFlag | None = None,
    ) -> None:
        self.model = model
        self.batches = batches
        self.plan = batches.plan
        self.cluster = cluster
        self.device = cluster.device
        self.learning_rate = learning_rate or LearningRate()
        self.journal = journal or Journal(None)
        self.journal_every = journal_every
        self.loader = batches.loader(cluster.rank, cluster.size)
        self.global_batch = self.start_batch = batches.global_batch
        self.steps = self.skipped = 0
        self.stop_flag = stop_flag or StopFlag()
        self.stopped: str | None = None
        self._losses = Losses()
        self._times = StepTimes()
        self.course = Course(self.learning_rate, self.plan.n_samples, self.start_batch)
        self._journal_trust_ratios = journal_trust_ratios
        self.split_passes = split_passes
        self.averaging = Averaging(
            model, optimizer, cluster, scaler=scaler, clip_norm=clip_norm, compression=compression
        )
        self.scaler, self.optimizer = scaler, self.averaging.optimizer
        self.rates = Rates(self.optimizer, self.course)
        self.policy = policy or Fixed()
        self.line_search = LineSearch(step_size, self) if step_size is not None else None
        each_step = self.policy.extends or (step_size is not None and step_size.needs_variance)
        self.measuring: Measuring | None = None
        if self.policy.measures or (self.learning_rate.measures and not self.policy.brings_noise) or each_step:
            check_pieces(batches, cluster.size, max(self.policy.pieces, 1 + split_passes))
            named = groups or {str(n): group["params"] for n, group in enumerate(self.optimizer.param_groups)}
            inner = self.policy.inner_products
            self.measuring = Measuring(
                named,
                window_samples=self.policy.window_samples(self.plan.n_samples, self.start_batch),
                every=1 if each_step else measure_every,
                budget=statistics_budget,
                keep=(2 if cluster.size == 1 else 1) if inner else 0,
            )
        self.coordinator = Coordinator(cluster, self.policy)
        self.coordinator.start(self.progress)
        self.send_weights()

    @property
    def progress(self) -> Progress:
        """Where training stands, as policies see it."""
        return Progress(
            samples_seen=self.plan.samples_seen,
            samples_per_epoch=self.plan.n_samples,
            start_batch=self.start_batch,
            global_batch=self.global_batch,
            min_global_batch=self.batches.min_global_batch,
            max_global_batch=self.batches.max_global_batch,
            max_micro_batch=self.batches.max_micro_batch,
            n_ranks=self.cluster.size,
            learning_rate=self.last_rate,
            learning_rate_factor=self.rates.factor,
            epoch_loss=self._losses.last_epoch,
            step_seconds=self._times.medians(),
            measurements=self.measuring.measurements if self.measuring is not None else 0,
            estimate=self.measuring.estimate if self.measuring is not None else None,
        )

    @property
    def last_rate(self) -> float:
        """Learning rate of the first parameter group at the last step."""
        return float(self.optimizer.param_groups[0]["lr"])

    @property
    def next_epoch(self) -> int:
        """The epoch to go on with."""
        return self.plan.epoch + int(self.plan.epoch_finished)

    def epoch(self, epoch: int) -> Iterator[Step]:
        """The steps of one epoch that are not done yet: none for an epoch before the one a resumed run stands in.

        Raises:
            RuntimeError: a step was not updated, or an epoch was left out.
        """
        if epoch < self.plan.epoch or self.stopped:
            return
        if epoch == self.plan.epoch + 1 and self.plan.epoch_finished:
            self.plan.next_epoch()
        if epoch != self.plan.epoch:
            raise RuntimeError(f"epoch {epoch} asked for, epoch {self.plan.epoch} is not finished")
        if not self.plan.epoch_finished:
            self.loader.enter_epoch()
        while not self.plan.epoch_finished and not self.stopped:
            step = self._next_step()
            yield step
            if not step.updated:
                raise RuntimeError("step.update() was not called")

    def _next_step(self) -> Step:
        self._times.begin()
        if self.steps == 0:
            self._decide()
        batch = self.plan.cut(batch_to_cut(self))
        self.rates.apply(self.global_batch)
        self.averaging.begin_step()
        measured = self.measuring is not None and self.measuring.begin_step(self.steps)
        return Step(self, batch, self.passes(batch, measured=measured))

    def passes(self, batch: GlobalBatch, *, measured: bool) -> list[int]:
        """Samples of each of this rank's passes; Horovod is told how many to expect."""
        own = len(batch.share(self.cluster.rank, self.cluster.size))
        passes = pieces(own, self.batches.max_micro_batch)
        if measured and self.measuring is not None:
            alone = 2 if self.cluster.size == 1 and self.split_passes else 1  # a variance needs two pieces
            least = min(own, max(alone, self.policy.pieces))
            if len(passes) < least:
                passes = pieces(own, own // least)
            self.measuring.begin_passes(len(passes))
        self.averaging.expect(len(passes))
        return passes

    def finish_step(self, step: Step) -> None:
        """Sums, updates, advances and decides; called by ``Step.update``."""
        self.sum_over_ranks(step)
        samples, finite = len(step.batch), step.finite
        self._apply_gradients(finite=finite)
        if samples != len(self.plan.cut(self.global_batch)):  # for replay
            self.record("step", global_batch=samples, reason="lengthened, or what was left of the epoch")
        self.plan.advance(step.batch)
        self.course.advance(samples)
        self.steps += 1
        step.loss = step.loss_sum / samples
        whole = samples == self.global_batch
        self._count(step)
        measured = self.measuring is not None and self.measuring.end_step(samples, finite=finite)
        if measured and self.measuring is not None:
            self.record("noise", **self.measuring.fields())
        elif whole:
            self._times.end(samples)
        if self.steps % self.journal_every == 0 or self.plan.epoch_finished:
            loss = self._losses.take_recent()
            self.record("statistics", loss=loss, global_batch=samples, learning_rate=self.last_rate)
        if step.batch_after != self.global_batch:
            self._resize(step.batch_after)
            self.record("decision", **self.holding(), reason="the test failed: the batch in hand was lengthened")
        self._decide()

    def _apply_gradients(self, *, finite: bool) -> None:
        writes = self._journal_trust_ratios and finite and (self.steps + 1) % self.journal_every == 0
        if writes:
            self.optimizer.trust_ratios = {}
        self.averaging.finish(finite=finite)
        if writes:
            names = {parameter: name for name, parameter in self.model.named_parameters()}
            ratios = {names[parameter]: float(ratio) for parameter, ratio in self.optimizer.trust_ratios.items()}
            self.optimizer.trust_ratios = None
            self.record("trust_ratios", ratios=ratios)

    def _decide(self) -> None:
        """Asks for what holds from here on."""
        pace = self.measuring.affordable(self._times.latest()) if self.measuring is not None else 1
        decision = self.coordinator.decide(self.progress, pace=pace)
        if decision is not None:
            self._apply(decision)

    def _count(self, step: Step) -> None:
        if step.finite:
            self._losses.add(step.loss_sum, len(step.batch))
        else:
            self.skipped += 1
            self.record("skipped", reason="a loss or a gradient is not finite on some rank")
        if self.plan.epoch_finished:
            self._losses.end_epoch()

    def sum_over_ranks(self, step: Step) -> None:
        """Makes ``p.grad`` the mean over the step's batch on every rank; all learn whether one is to stop."""
        if not step.summed:
            flags = self.averaging.sum_over_ranks(step, self.measuring, self.stop_flag.numbers())
            self.stopped = self.stop_flag.agreed(flags) or self.stopped

    def _apply(self, decision: Decision) -> None:
        self._resize(decision.global_batch)
        self.rates.factor = decision.learning_rate_factor
        extra: dict[str, Any] = {}
        if self.measuring is not None:
            self.measuring.set_pace(decision.pace)
            extra = {"measure_every": decision.pace, "statistics_cost": self.measuring.cost}
        if self.learning_rate.measures:
            self.course.noise = decision.noise
            extra["noise"] = list(decision.noise) if decision.noise is not None else None
        self.record("decision", **self.holding(), reason=decision.reason, **extra)

    def holding(self) -> dict[str, Any]:
        """What holds from here on: batch, micro-batch, passes and rates, for the journal."""
        passes, micro_batch = passes_and_micro_batch(self.global_batch, self.cluster.size, self.batches.max_micro_batch)
        return {
            "global_batch": self.global_batch,
            "micro_batch": micro_batch,
            "passes": passes,
            **self.rates.holding(self.global_batch),
        }

    def record(self, kind: str, **fields: Any) -> None:
        """A line of the journal, stamped with step, cursor and epoch."""
        self.journal.record(kind, step=self.steps, cursor=self.plan.samples_seen, epoch=self.plan.epoch, **fields)

    def _resize(self, global_batch: int) -> None:
        self.course.resize(self.global_batch, global_batch)
        self.global_batch = global_batch

    def send_weights(self) -> None:
        """Rank 0's parameters and buffers, on every rank."""
        for name, tensor in self.model.state_dict().items():
            self.cluster.broadcast_(tensor, f"weights.{name}")

    def average_buffers(self) -> None:
        """Running statistics of normalisation layers, averaged over ranks: the model that is evaluated and saved."""
        for name, buffer in self.model.named_buffers():
            if buffer.is_floating_point():
                self.cluster.allreduce_(buffer, f"buffers.{name}").div_(self.cluster.size)

    def state_dict(self) -> dict[str, Any]:
        """Everything that decides the next step, at a step boundary."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "plan": self.plan.state_dict(),
            "coordinator": self.coordinator.state_dict(),
            "global_batch": self.global_batch,
            "start_batch": self.start_batch,
            "learning_rate_factor": self.rates.factor,
            "steps": self.steps,
            "skipped": self.skipped,
            "measuring": self.measuring.state_dict() if self.measuring is not None else None,
            "losses": self._losses.state_dict(),
            "course": self.course.state_dict(),
            "scaler": self.scaler.state_dict() if self.scaler is not None else None,
            "search": self.line_search.state_dict() if self.line_search is not None else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from ``state_dict``. The base learning rates stay those of the optimizer given to the constructor."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.plan.load_state_dict(state["plan"])
        self.coordinator.load_state_dict(state["coordinator"])
        self.global_batch = state["global_batch"]
        self.start_batch = state["start_batch"]
        self.rates.factor = state["learning_rate_factor"]
        self.steps, self.skipped = state["steps"], state["skipped"]
        if self.measuring is not None:
            self.measuring.load_state_dict(state["measuring"])
        self._losses.load_state_dict(state["losses"])
        self.course.load_state_dict(state["course"])
        if self.scaler is not None:
            self.scaler.load_state_dict(state["scaler"])
        if self.line_search is not None:
            self.line_search.load_state_dict(state["search"])
