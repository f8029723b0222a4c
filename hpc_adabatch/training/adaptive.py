"""The closed loop: how a gradient becomes weights, and how a measurement becomes the next batch.

    1 passes     this rank's micro-batches are handed out; the caller calls backward on each
    2 sum        p.grad becomes the mean over the global batch, on every rank
    3 lengthen   while the rule wants more samples of this batch: those alone, as in 1 and 2
    4 search     where the step size is searched: the same micro-batches once more
    5 update     the optimizer's step, which all ranks skip where something is not finite
    6 record     cursor, losses, measurement, journal
    7 decide     rank 0's rule says which batch holds from the next step on

1 to 3 are made again, of the same samples, where some rank ran out of memory in a pass (micro_batch.py).

Every step runs through ``AdaptiveTraining._phases``, from top to bottom. A step that is skipped takes its samples, each
of which an epoch has once, and stands for no progress:

    moves on    the cursor, and what reads the samples seen: rules that count epochs, the clock ``samples``; ``steps``
    stands      weights, momentum, LAMB's t, AdaScale's clock, the averages of the noise and their age, mean losses
    backs off   the loss scale, whose count of steps until it grows begins again, as after torch's own skipped step
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from functools import partial
from numbers import Integral
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..batches import AdaptiveBatches, GlobalBatch
from ..batches.micro_batch import passes_and_micro_batch
from ..batches.plan import rated
from ..cluster import Cluster
from ..cluster.horovod import check_ranks
from ..errors import complain, require
from ..learning_rate import Course, LearningRate, Rates
from ..optim.armijo import Armijo
from ..policies import Fixed, Policy, Progress
from .alike import check_alike
from .arguments import check_also, check_kinds, check_layers, check_model, check_optimizer_of
from .bookmark import Bookmark
from .checkpoint_clock import CheckpointClock
from .coordinator import Coordinator, Decision
from .evaluation import average_buffers
from .feed import Feed, Micro
from .gradient import Gradient, Summed
from .journal import Journal
from .line_search import LineSearch, NoSearch, Start
from .losses import Losses
from .micro_batch import MicroBatch
from .needs import measuring_for
from .one_sample import OneSampleWatch
from .options import LoopOptions, check_rates
from .pass_loss import LossOf
from .passes import Passes
from .settings import settings
from .signals import StopFlag
from .skips import WHY, Skips
from .state import Stateful, load, save
from .step import MicroBatches, Step
from .sums import FLAGS, Sums
from .timing import StepTimes


class AdaptiveTraining:
    """A training loop with a global batch that its policy changes.

        for epoch in training.epochs(90):
            for step in training.epoch(epoch):
                for inputs, targets in step:
                    step.backward(loss_fn(model(inputs), targets))
                step.update()

    ``range(90)`` instead ends after 90 passes over the data, whatever the clock of the schedule.

    Args:
        model: The network, on ``cluster.device``; rank 0's weights and buffers are sent to all ranks.
        optimizer: The optimizer of its parameters; the ``lr`` of its groups are the base learning rates.
        batches: The training set, and the limits of the global batch.
        cluster: The ranks.
        policy: The rule for the global batch; fixed when not given.
        learning_rate: The schedule over the base learning rates; constant when not given.
        journal: The journal in which steps and decisions are recorded; none when not given.
        step_size: The rule that searches the step size on each batch; the learning rate is not used then.
        scaler: The ``torch.amp.GradScaler`` of losses in float16.
        groups: The parameters by group name, where noise is estimated for each group; else the optimizer's groups.
        stop_flag: The flag that tells this rank to stop, with ``with stop_flag.listening():`` around the loop; signals
            are not caught when not given.
        also: Further objects of the script by name, with ``state_dict`` and ``load_state_dict``, such as an average of
            the weights: ``save`` keeps them, and ``load`` takes them up.
        options: Clipping, compression, and how often to measure and to record.

    Raises:
        InputError: An argument is of another kind, belongs to another model or training, or differs between ranks; the
            options do not fit the
            optimizer; two of policy, schedule and search set the learning rate; or the gradient's noise cannot be
            measured, because one rank takes one pass that may not be split, or because the rule's window is shorter
            than a batch.

    Attributes:
        model: The network.
        optimizer: The optimizer.
        batches: The training set, and the limits of the global batch.
        plan: The cursor over the samples of the epoch.
        steps: The optimizer steps so far, skipped ones included.
        checkpoints: The clock that says after which step a checkpoint is due.
        measuring: The measurements of the gradient's noise.
        line_search: The search for the step size.
        micro_batch: The most samples of a pass.
        scaler: The scaler of losses.
        cluster: The ranks.
        policy: The rule for the global batch.
        learning_rate: The schedule.
        also: Further objects of the script, by name.
        settings: The settings in words, which a checkpoint keeps.
        journal: The journal.
        stop_flag: The flag that tells this rank to stop.
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
        step_size: Armijo | None = None,
        scaler: torch.amp.GradScaler | None = None,
        groups: Mapping[str, Sequence[nn.Parameter]] | None = None,
        stop_flag: StopFlag | None = None,
        also: Mapping[str, Stateful] | None = None,
        options: LoopOptions | None = None,
    ) -> None:
        check_kinds(cluster=cluster)
        others = {"policy": policy, "learning_rate": learning_rate, "options": options, "step_size": step_size}
        with cluster.together():  # before any other message: a rank that refuses leaves none waiting
            check_ranks(cluster.size)
            check_kinds(model=model, optimizer=optimizer, batches=batches, **others)
            check_kinds(journal=journal, scaler=scaler, groups=groups, stop_flag=stop_flag, also=also)
            check_also(also)
            check_model(model)
            check_layers(model, cluster.size)
            check_optimizer_of(model, optimizer)
            batches.belong(self)
        self.policy, self.learning_rate = policy or Fixed(), learning_rate or LearningRate()
        self._options = options or LoopOptions()
        others = {"policy": self.policy, "learning_rate": self.learning_rate, "step_size": step_size}
        self.settings = settings(optimizer, batches, self._options, others)
        check_alike(cluster, self.settings, model)
        self.model, self.batches, self.plan = model, batches, batches.plan
        self._global_batch = self._start_batch = batches.global_batch
        self.steps = 0
        self._begun = False  # a step was begun and not updated
        self._resumed_at = 0  # the epoch that a state which was loaded goes on with: those before are done
        self._end: float | None = None  # epochs on the clock after which training ends; None for any number of passes
        self.cluster, self.also = cluster, dict(also or {})
        self.journal, self.stop_flag = journal or Journal(None), stop_flag or StopFlag()
        self._losses, self._times = Losses(), StepTimes()
        minutes, steps = self._options.checkpoint_minutes, self._options.checkpoint_steps
        self.checkpoints = CheckpointClock(minutes, steps, leads=cluster.leads)
        cluster.watchdog.enter("the start of training", prepares=True)
        with cluster.together():
            self._options.check_optimizer(
                type(optimizer).__name__,
                searches=step_size is not None,
                has_trust_ratios=hasattr(optimizer, "trust_ratios"),
            )
            check_rates(self.policy, self.learning_rate, step_size)
            self.measuring = measuring_for(
                self.policy,
                self.learning_rate,
                groups or {str(n): group["params"] for n, group in enumerate(optimizer.param_groups)},
                batches,
                cluster.size,
                self._options,
                optimizer,
                each_step=step_size is not None and step_size.needs_variance,
            )
        self._gradient = Gradient(
            model,
            optimizer,
            cluster,
            scaler=scaler,
            clip_norm=self._options.clip_norm,
            compression=self._options.compression,
            beside=FLAGS + self.measuring.numbers,
        )
        self.scaler, self.optimizer = self._gradient.scaler, self._gradient.optimizer
        self._skips = Skips(self._options.max_skipped, tells=cluster.leads and not self.scaler.is_enabled())
        couples = self.policy.couples_rate
        self._course = Course(self.learning_rate, self.plan.n_samples, self._start_batch, couples=couples)
        self._rates = Rates(self.optimizer, self._course, searched=step_size is not None)
        self.line_search: LineSearch | NoSearch = NoSearch()
        if step_size is not None:
            self.line_search = LineSearch(
                step_size,
                model,
                self.optimizer,
                cluster,
                start_batch=self._start_batch,
                samples_per_epoch=self.plan.n_samples,
                draws=batches.population is None,
            )
        feed = Feed(batches, cluster, keeps=self.line_search.searches)
        self.micro_batch = MicroBatch(batches, self.policy, cluster)
        bookmark = Bookmark(model, cluster.device)
        self._passes = Passes(feed, self._gradient, self.measuring, cluster, self.micro_batch, bookmark)
        self._sums = Sums(cluster, self._gradient, self._passes, self.measuring, self.checkpoints, self.stop_flag)
        self._one_sample = OneSampleWatch(
            model, batches, cluster, self.micro_batch, lambda: self._passes.samples_in_hand
        )
        self._coordinator = Coordinator(cluster, self.policy)
        self._coordinator.start(self.progress)
        for name, tensor in model.state_dict().items():
            cluster.broadcast_(tensor, f"weights.{name}")
        if not cluster.leads:  # or one seed on all ranks would drop the same units on all of them
            torch.manual_seed((torch.initial_seed() + cluster.rank) % 2**63)

    def epochs(self, epochs: float) -> Iterator[int]:
        """Yields the numbers of the passes over the data that remain, until the schedule's clock ends training.

        With the clock ``samples`` these are 0 to ``epochs`` - 1. With ``scale_invariant`` there are more, and the last
        one ends at the first step at which the clock is full, perhaps before all its samples were trained on.

        Args:
            epochs: The epochs on the clock (``LearningRate.clock``), counted from the start of training.

        Raises:
            RuntimeError: The number that was yielded last was not passed to ``epoch``.
        """
        self._end = epochs
        while not self.is_over(epochs) and not self.stopped:
            steps = self.steps
            yield self.next_epoch
            if self.steps == steps:
                raise RuntimeError(f"epoch {self.next_epoch} was not trained on")

    def is_over(self, epochs: float) -> bool:
        """Reports whether the schedule's clock has reached so many epochs."""
        return self._course.reached(epochs)

    def epoch(self, epoch: int) -> Iterator[Step]:
        """Yields the steps of this epoch that remain.

        An epoch that a resumed run has finished yields none; nor does any epoch after a stop, or after the end that
        ``epochs`` was given.

        Args:
            epoch: The number of the epoch, from 0 on.

        Raises:
            InputError: The number is negative or no integer; or the model has other parameters than at the start.
            RuntimeError: A step was not updated, or an epoch was left out or asked for again.
        """
        counts = isinstance(epoch, Integral) and epoch >= 0
        require(counts, "epoch", epoch, "0 or more: epochs count from 0", "training.epoch(0)")
        if epoch < self._resumed_at or self.stopped or self._ended:
            return
        if epoch < self.next_epoch:
            raise RuntimeError(f"epoch {epoch} was trained already; the next one is {self.next_epoch}")
        self._see_updated()
        if epoch == self.plan.epoch + 1 and self.plan.epoch_finished:
            self.plan.next_epoch()
        if epoch != self.plan.epoch:
            unfinished = f"epoch {self.plan.epoch} is not finished (epochs count from 0)"
            raise RuntimeError(f"epoch {epoch} asked for, {unfinished}")
        self._gradient.check_parameters()
        if not self.plan.epoch_finished:
            self._passes.enter_epoch()
            self._one_sample.foresee(self.global_batch)
        while not (self.plan.epoch_finished or self.stopped or self._ended):
            self._times.begin()
            self.cluster.watchdog.enter(f"step {self.steps + 1}")
            if self.steps == 0:
                self._tell_of_the_clock()
                self._decide()
            batch = self.plan.cut(self.global_batch)
            self._rates.apply(rated(len(batch), self.global_batch))
            step = Step(batch, self._phases, self._passes, self._find_micro_batch)
            with self._gradient.guard.in_step():
                yield step
            if not step.updated:
                raise RuntimeError("step.update() was not called")

    def _tell_of_the_clock(self) -> None:
        """Says how a script is to count its epochs, if its schedule has a clock of its own."""
        if self._end is None and self.learning_rate.scale_invariant and self.cluster.leads:
            better = "for epoch in training.epochs(90), which ends when AdaScale's clock has made them"
            complain(f"adabatch: warning: after so many passes a larger batch has learnt less; write {better}")

    def _find_micro_batch(self, loss_of: LossOf) -> None:
        """Finds the most samples of a pass, where it is to be found, is not known yet, and every rank has a sample."""
        if self.micro_batch.is_known or self.plan.n_samples - self.plan.cursor < self.cluster.size:
            return
        self.cluster.watchdog.enter("finding how many samples a pass may have", prepares=True)
        share = -(-self.global_batch // self.cluster.size)
        self._take_micro_batch(self._passes.find(loss_of, share))
        self.cluster.watchdog.enter(f"step {self.steps + 1}")
        self._times.begin()

    def _take_micro_batch(self, told: Mapping[str, Any]) -> None:
        """Makes another most of samples of a pass hold, and tells of it."""
        self._one_sample.foresee(self.global_batch)
        self.record("micro_batch", **told, **self.holding())
        if self.cluster.leads:
            complain(f"adabatch: max_micro_batch {told['max_micro_batch']}: {told['reason']}")

    def _phases(self, step: Step) -> MicroBatches:
        """Yields the micro-batches of a step, then None; going on after that updates weights and batch."""
        self._begun = True
        # 1 to 3, from the beginning again while some rank runs out of memory
        self._gradient.begin_step()
        self.measuring.begin_step(self.steps)
        self._passes.begin_step()
        first = step.batch
        summed, batch_after = yield from self._mean(step)
        while summed.void:
            share = -(-len(step.batch) // self.cluster.size)
            self._take_micro_batch(self.micro_batch.halve(share, summed.void))
            self._passes.begin_again()
            step.batch = first
            summed, batch_after = yield from self._mean(step)
        lengthened = step.batch is not first
        samples, finite = len(step.batch), summed.finite
        step.loss = summed.loss / summed.weight if summed.weight else math.nan
        rate_of = samples if lengthened else rated(samples, self.global_batch)
        if lengthened:
            self._rates.apply(rate_of)
        # 4 search
        if finite:
            start = Start(
                samples=samples,
                loss=step.loss,
                variance=self.measuring.last.variance if self.measuring.last is not None else 0.0,
                is_whole=lengthened or rate_of == self.global_batch,
                batch_after=batch_after,
            )
            yield from self.line_search.find(start, partial(self._passes.again, samples))
        yield None  # the caller's loop ends, and p.grad can be looked at
        # 5 update
        self._apply_gradient(finite=finite)
        step.applied = finite
        # 6 record
        if lengthened:  # for replay
            self.record("step", global_batch=samples, reason="lengthened")
        elif samples != self.global_batch:
            self.record("rest", global_batch=samples, reason="the last steps of an epoch share what is left of it")
        self.plan.advance(step.batch)
        self._course.advance(samples, rate_of, updated=finite, loss=step.loss)
        self.steps += 1
        self._count(summed, samples)
        # 7 decide
        if batch_after != self.global_batch:
            self._adopt(self._coordinator.lengthened(self.progress, batch_after))
        self._decide()
        self._begun = False
        self.cluster.watchdog.enter(f"what follows step {self.steps}")
        if self._skips.has_diverged:  # on all ranks: each has counted the same steps
            self.record("end", reason=f"diverged: {self._skips.row}")
            raise self._skips.error(self.steps)

    def _mean(self, step: Step) -> Generator[Micro, None, tuple[Summed, int]]:
        """Yields the micro-batches of a step. Returns the sum of them, and the batch from the next step on."""
        # 1 passes
        yield from self._passes.hand_out(step.batch)
        self._times.summing()
        # 2 sum
        summed = self._sums.over_ranks(self.steps + 1, len(step.batch))
        # 3 lengthen: the sum so far is kept, only what is added is computed
        batch_after = self.global_batch
        while summed.finite and self.policy.extends and not self._course.holds:
            wanted = self._coordinator.extend(self.measuring.last, self.progress, len(step.batch))
            if wanted == 0:
                break
            batch_after = max(batch_after, wanted)
            longer = self.plan.lengthen(step.batch, wanted)
            added = GlobalBatch(longer.epoch, step.batch.stop, longer.stop)
            if len(added) < 2 * self.cluster.size:  # the epoch or the largest batch ends it
                break
            self._gradient.set_aside()
            step.batch = longer
            yield from self._passes.hand_out(added)
            summed = self._sums.over_ranks(self.steps + 1, len(longer), added=len(added))
        return summed, batch_after

    def _apply_gradient(self, *, finite: bool) -> None:
        """Takes the optimizer's step, and records its trust ratios where they are wanted."""
        every, wanted = self._options.journal_every, self._options.journal_trust_ratios
        records = wanted and finite and (self.steps + 1) % every == 0
        if records:
            self.optimizer.trust_ratios = {}
        self._gradient.apply(finite=finite)
        if records:
            names = {parameter: name for name, parameter in self.model.named_parameters()}
            ratios = {names[parameter]: float(ratio) for parameter, ratio in self.optimizer.trust_ratios.items()}
            self.optimizer.trust_ratios = None
            self.record("trust_ratios", ratios=ratios)

    def _count(self, summed: Summed, samples: int) -> None:
        """Takes the step into losses, measurements and times, and records what is due."""
        if summed.finite:
            self._losses.add(summed.loss, summed.weight)
            self._skips.end_row()
        else:
            self._skips.add(self.steps)
            self.record("skipped", reason=WHY)
        if self.plan.epoch_finished:
            self._losses.end_epoch()
        measured = self.measuring.end_step(samples, finite=summed.finite)
        if measured:
            self.record("noise", **self.measuring.fields())
        if (not measured or self.measuring.pace == 1) and samples == self.global_batch:  # 1: none is left that does not
            self._times.end(samples)
        if self.steps % self._options.journal_every == 0 or self.plan.epoch_finished or self._ended:
            loss = self._losses.take_recent()
            self.record("statistics", loss=loss, global_batch=samples, learning_rate=self.last_rate)

    def _decide(self) -> None:
        """Asks rank 0's rule, and adopts its decision where there is one."""
        pace, course = self.measuring.affordable(self._times.latest()), self._course
        look = course.look if course.looks(epoch_finished=self.plan.epoch_finished) else None
        decision = self._coordinator.decide(self.progress, pace=pace, holds=course.holds, look=look)
        if decision is not None:
            self._adopt(decision)
            if decision.height is not None:  # the batch is free from here on
                self._decide()

    def _adopt(self, decision: Decision) -> None:
        """Makes a decision hold from the next step on: the only place where the global batch changes in training."""
        if decision.height is not None:
            self._course.end_warmup(decision.height)
        self._course.resize(self.global_batch, decision.global_batch)
        self._one_sample.foresee(decision.global_batch)
        self._global_batch = decision.global_batch
        self._rates.factor = decision.learning_rate_factor
        told: dict[str, Any] = {}
        if decision.pace is not None:
            told |= self.measuring.adopt(decision.pace)
            if self.learning_rate.measures:
                self._course.noise = decision.noise
                told["noise"] = list(decision.noise) if decision.noise is not None else None
        if decision.look is not None:
            told["warmup"] = decision.look.fields()
        self.record("decision", **self.holding(), reason=decision.reason, **told)

    @property
    def progress(self) -> Progress:
        """Returns where training stands, as policies see it."""
        return Progress(
            samples_seen=self.plan.samples_seen,
            samples_per_epoch=self.plan.n_samples,
            start_batch=self._start_batch,
            global_batch=self.global_batch,
            min_global_batch=self.batches.min_global_batch,
            max_global_batch=self.batches.max_global_batch,
            max_micro_batch=self.micro_batch.largest,
            n_ranks=self.cluster.size,
            learning_rate=self.last_rate,
            learning_rate_factor=self._rates.factor,
            epoch_loss=self._losses.last_epoch,
            step_seconds=self._times.medians(),
            pass_seconds=self._times.pass_medians(),
            measurements=self.measuring.measurements,
            estimate=self.measuring.estimate,
        )

    @property
    def global_batch(self) -> int:
        """Returns the samples of a step, over all ranks, from here on; the policy's decisions alone change it."""
        return self._global_batch

    @property
    def skipped(self) -> int:
        """Returns the steps that changed nothing, because a loss or a gradient was not finite on some rank."""
        return self._skips.total

    @property
    def stopped(self) -> str | None:
        """Returns the name of the signal on which all ranks left; None while they go on."""
        return self._sums.stopped

    @property
    def reference_batch(self) -> int:
        """Returns the batch to which updates are compared: that of AdaScale's clock, else the one at the start."""
        reference = self.learning_rate.reference_batch if self.learning_rate.scale_invariant else None
        return reference or self._start_batch

    @property
    def clock(self) -> float:
        """Returns the epochs on the clock of the schedule; with ``samples`` the passes over the data."""
        return self._course.clock / self.plan.n_samples

    @property
    def _ended(self) -> bool:
        """Reports whether the clock has reached the end that ``epochs`` was given."""
        return self._end is not None and self.is_over(self._end)

    @property
    def last_rate(self) -> float:
        """Returns the learning rate of the first parameter group at the last step."""
        return float(self.optimizer.param_groups[0]["lr"])

    @property
    def next_epoch(self) -> int:
        """Returns the epoch to go on with."""
        return self.plan.epoch + int(self.plan.epoch_finished)

    def holding(self) -> dict[str, Any]:
        """Returns the batch, micro-batch, passes and rates of the next step, as journal fields."""
        largest = self.micro_batch.largest
        passes, micro_batch = passes_and_micro_batch(self.global_batch, self.cluster.size, largest)
        return {
            "global_batch": self.global_batch,
            "micro_batch": micro_batch,
            "passes": passes,
            **self._rates.holding(self.global_batch),
        }

    def record(self, kind: str, **fields: Any) -> None:
        """Writes a line of the journal, stamped with step, cursor and epoch, and with the clock if it is another."""
        if self.learning_rate.scale_invariant:
            fields = {"clock": self.clock, **fields}
        self.journal.record(kind, step=self.steps, cursor=self.plan.samples_seen, epoch=self.plan.epoch, **fields)

    def average_buffers(self) -> None:
        """Averages the running statistics of normalisation layers over ranks, as ``evaluate`` does by itself."""
        average_buffers(self.model, self.cluster)

    def save(self, folder: str | Path) -> None:
        """Writes the state of all ranks between two steps, whole or not at all; all ranks call it.

        The folder holds last.pt and, as it was before, previous.pt. ``Run`` saves by itself.

        Args:
            folder: The folder, which is made where it is missing.

        Raises:
            StorageError: It cannot be written; all ranks raise it.
            RuntimeError: A step was begun and not updated.
        """
        self._see_updated()
        with self.checkpoints.saving(self.steps):
            save(self, Path(folder))

    def load(self, folder: str | Path) -> bool:
        """Goes on from what ``save`` has written, exactly on as many ranks; all ranks call it before the first step.

        Where last.pt is damaged, previous.pt is taken.

        Args:
            folder: The folder.

        Returns:
            False where the folder holds no checkpoint: training begins.

        Raises:
            InputError: The checkpoints are damaged, or of a training with other settings; all ranks raise it.
        """
        return load(self, Path(folder))

    def _see_updated(self) -> None:
        if self._begun:  # its gradients are half summed, and on other ranks perhaps not at all
            raise RuntimeError("the last step was left without update()")

    def state_dict(self) -> dict[str, Any]:
        """Returns everything that all ranks share and that decides the next step; ``save`` keeps each rank's own, too.

        That is, between two steps.
        """
        also = {name: other.state_dict() for name, other in self.also.items()}
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "plan": self.plan.state_dict(),
            "coordinator": self._coordinator.state_dict(),
            "global_batch": self.global_batch,
            "start_batch": self._start_batch,
            "learning_rate_factor": self._rates.factor,
            "steps": self.steps,
            **self._skips.state_dict(),
            "measuring": self.measuring.state_dict(),
            "losses": self._losses.state_dict(),
            "course": self._course.state_dict(),
            "scaler": self.scaler.state_dict(),
            "search": self.line_search.state_dict(),
            "micro_batch": self.micro_batch.state_dict(),
            **({"also": also} if also else {}),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what ``state_dict`` returned; the base learning rates stay those given to the constructor.

        Raises:
            InputError: It is the state of another rule, or has nothing of an object in ``also``.
        """
        for name in self.also:
            saved = state.get("also", {})
            require(name in saved, f"also.{name}", "an object without saved state", ", ".join(saved) or "none")
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.plan.load_state_dict(state["plan"])
        self._coordinator.load_state_dict(state["coordinator"])
        self._global_batch = state["global_batch"]
        self._start_batch = state["start_batch"]
        self._rates.factor = state["learning_rate_factor"]
        self.steps = state["steps"]
        self._skips.load_state_dict(state)
        self.measuring.load_state_dict(state["measuring"])
        self._losses.load_state_dict(state["losses"])
        self._course.load_state_dict(state["course"])
        self.scaler.load_state_dict(state["scaler"])
        self.line_search.load_state_dict(state["search"])
        if "micro_batch" in state:  # earlier releases had a number
            self.micro_batch.load_state_dict(state["micro_batch"])
        for name, other in self.also.items():
            other.load_state_dict(state["also"][name])
        self.checkpoints.start(self.steps)
        self._rates.forget()
        self._resumed_at = self.next_epoch
