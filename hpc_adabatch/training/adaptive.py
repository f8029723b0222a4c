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

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from ..batches import AdaptiveBatches
from ..batches.micro_batch import passes_and_micro_batch, pieces
from ..cluster import Cluster
from ..coordinator import Coordinator, Decision
from ..learning_rate import LearningRate
from ..policies import Fixed, Policy, Progress
from ..policies.measured import Measured
from .journal import Journal
from .measuring import Measuring
from .signals import StopFlag
from .step import Step


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
        measure_every: steps between two measurements of the gradient's noise, for policies that follow it.

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
        measure_every: int = 10,
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
        self.learning_rate_factor = 1.0
        self.steps = self.skipped = 0
        self.stop_flag = StopFlag()
        self.stopped: str | None = None
        self._loss_sum, self._loss_samples = 0.0, 0
        self._reducer = cluster.distributed_optimizer(optimizer, model.named_parameters())
        self.optimizer = self._reducer.optimizer
        self._base_rates = [float(group["lr"]) for group in self.optimizer.param_groups]
        self.policy = policy or Fixed()
        self.measuring: Measuring | None = None
        if isinstance(self.policy, Measured):
            self.measuring = Measuring(
                [parameter for parameter in model.parameters() if parameter.requires_grad],
                window_samples=self.policy.window_samples(self.plan.n_samples, self.start_batch),
                every=measure_every,
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
            max_global_batch=self.batches.max_global_batch,
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
        batch = self.plan.cut(self.global_batch)
        multiplier = self._multiplier()
        for group, base in zip(self.optimizer.param_groups, self._base_rates, strict=True):
            group["lr"] = base * multiplier
        own = len(batch.share(self.cluster.rank, self.cluster.size))
        passes = pieces(own, self.batches.max_micro_batch)
        measured = self.measuring is not None and self.measuring.begin_step(self.steps)
        if measured and self.cluster.size == 1 and len(passes) == 1 and own >= 2:
            passes = pieces(own, -(-own // 2))  # a variance needs two pieces
        self._reducer.expect(max(1, len(passes)))
        return Step(self, batch, passes)

    def finish_step(self, step: Step, loss_sum: torch.Tensor) -> float:
        """Sums, updates, advances and decides; called by ``Step.update``. Returns the mean loss of the global batch."""
        samples = len(step.batch)
        measured = self.measuring is not None and self.measuring.active
        loss, finite = self._sum_and_update(loss_sum, samples)
        self.plan.advance(step.batch)
        self.steps += 1
        if finite:
            self._loss_sum += loss
            self._loss_samples += samples
        else:
            self.skipped += 1
            self.record("skipped", reason="a loss or a gradient is not finite on some rank")
        if measured and finite and self.measuring is not None:
            self.record("noise", **self.measuring.fields())
        if self.steps % self.journal_every == 0 or self.plan.epoch_finished:
            mean = self._loss_sum / self._loss_samples if self._loss_samples else math.nan  # all steps were skipped
            self.record("statistics", loss=mean, global_batch=samples, learning_rate=self.last_rate)
            self._loss_sum, self._loss_samples = 0.0, 0
        decision = self.coordinator.decide(self.progress)
        if decision is not None:
            self._apply(decision)
        return loss / samples

    def _sum_and_update(self, loss_sum: torch.Tensor, samples: int) -> tuple[float, bool]:
        """Sums gradients and message over ranks and applies the optimizer. Returns the loss summed over the samples,
        and whether everything is finite; where it is not, no rank's weights change."""
        flags = self.stop_flag.numbers()
        noise = self.measuring.message() if self.measuring is not None else []
        message = torch.cat([loss_sum.view(1), loss_sum.new_tensor(flags), *noise])
        summed = self.cluster.allreduce_async_(message, "step.measured" if noise else "step")  # beside the gradients
        self._reducer.reduce()
        loss, *numbers = summed().tolist()
        self.stopped = self.stop_flag.agreed(numbers[: len(flags)])
        finite = math.isfinite(loss)
        if self.measuring is not None:
            finite = self.measuring.end_step(numbers[len(flags) :], samples) and finite
        if finite:
            self._reducer.step()
        self._reducer.zero_grad()
        return loss, finite

    def _apply(self, decision: Decision) -> None:
        self.global_batch = decision.global_batch
        self.learning_rate_factor = decision.learning_rate_factor
        self.record("decision", **self.holding(), reason=decision.reason)

    def holding(self) -> dict[str, Any]:
        """What holds from here on: batch, micro-batch, passes and learning rate, for the journal."""
        passes, micro_batch = passes_and_micro_batch(self.global_batch, self.cluster.size, self.batches.max_micro_batch)
        return {
            "global_batch": self.global_batch,
            "micro_batch": micro_batch,
            "passes": passes,
            "learning_rate": self._base_rates[0] * self._multiplier(),
            "learning_rate_factor": self.learning_rate_factor,
        }

    def record(self, kind: str, **fields: Any) -> None:
        """A line of the journal, stamped with step, cursor and epoch."""
        self.journal.record(kind, step=self.steps, cursor=self.plan.samples_seen, epoch=self.plan.epoch, **fields)

    def _multiplier(self) -> float:
        scheduled = self.learning_rate.multiplier(
            self.plan.samples_seen, self.plan.n_samples, self.start_batch, self.global_batch
        )
        return scheduled * self.learning_rate_factor

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
            "learning_rate_factor": self.learning_rate_factor,
            "steps": self.steps,
            "skipped": self.skipped,
            "measuring": self.measuring.state_dict() if self.measuring is not None else None,
            "loss": [self._loss_sum, self._loss_samples],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from ``state_dict``. The base learning rates stay those of the optimizer given to the constructor."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.plan.load_state_dict(state["plan"])
        self.coordinator.load_state_dict(state["coordinator"])
        self.global_batch = state["global_batch"]
        self.start_batch = state["start_batch"]
        self.learning_rate_factor = state["learning_rate_factor"]
        self.steps, self.skipped = state["steps"], state["skipped"]
        if self.measuring is not None:
            self.measuring.load_state_dict(state["measuring"])
        self._loss_sum, self._loss_samples = state["loss"]
