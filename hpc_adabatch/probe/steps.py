"""How long the steps of a recipe take, with communication and without, for each micro-batch.

    pass          forward and backward of one micro-batch that is on the device already
    step alone    data, pass, optimizer, without communication; all ranks at the same time
    step          data, pass, gradients summed over the ranks, optimizer
    exposed       step - step alone, round by round: the communication that the backward pass does not hide

Steps are those of ``AdaptiveTraining``, with the recipe's network, data and optimizer and a fixed batch of one pass a
rank. The learning rate is next to 0, so that no network diverges, and no step size is searched.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Sized
from dataclasses import dataclass
from itertools import count
from typing import Any, cast

import numpy as np
import torch
from torch.utils.data import Dataset, Subset, TensorDataset

from ..batches import AdaptiveBatches
from ..cluster import Cluster, SingleProcess
from ..errors import InputError
from ..recipe import Recipe
from ..run.build import Forward, build_model, gradient_bytes, load_data, loss_scaler
from ..tasks import TaskData
from ..training import AdaptiveTraining, LoopOptions
from ..training.one_sample import OneSampleError
from .timing import LEAST_ROUNDS, WARM_ROUNDS, Timer, Times

STANDING_STILL = 1e-12  # learning rate; 0 would be divided by
MOST_ROUNDS = 100  # so that small micro-batches leave their time to large ones


@dataclass(frozen=True, kw_only=True)
class MicroBatchTimes:
    """The times of a step with one pass of a micro-batch on every rank."""

    micro_batch: int
    """Samples of the pass."""
    global_batch: int
    """Samples of the step over all ranks."""
    forward_backward: Times
    """Seconds of the pass."""
    step_alone: Times
    """Seconds of the step without communication."""
    step: Times
    """Seconds of the step."""
    exposed: Times | None
    """Seconds of communication that the pass does not hide; below 0 where times scatter, None with one rank."""
    samples_per_s_per_rank: float
    """Samples per second of ``step`` on one rank."""
    samples_per_s: float
    """Samples per second of ``step`` over all ranks."""


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A micro-batch that was not timed."""

    micro_batch: int
    """Samples of the pass."""
    reason: str
    """The reason in words, such as the error that the pass raised."""


@dataclass(frozen=True, kw_only=True)
class Steps:
    """The times of a recipe's steps."""

    parameters: int
    """The number of trained parameters."""
    gradient_bytes: int
    """Bytes that a step sums over the ranks."""
    steps: list[MicroBatchTimes]
    """Times by micro-batch, from small to large."""
    left_out: list[LeftOut]
    """The micro-batches that were not timed."""


def micro_batches(max_micro_batch: int, max_global_batch: int, n_ranks: int) -> list[int]:
    """Returns the micro-batches to time: the powers of two below the largest one, and the largest one.

    Args:
        max_micro_batch: The most samples that a rank may pass at once.
        max_global_batch: The most samples of a step over all ranks.
        n_ranks: The number of ranks.
    """
    most = min(max_micro_batch, max(1, max_global_batch // n_ranks))
    powers = [2**power for power in range(most.bit_length())]
    return powers if powers[-1] == most else [*powers, most]


class RecipeSteps:
    """A clock for the steps of a recipe on these ranks.

    Args:
        recipe: The recipe whose steps are timed.
        cluster: The ranks.

    Attributes:
        data: The data of the recipe's task.
        sizes: The micro-batches to time.
        parameters: The number of trained parameters.
        gradient_bytes: Bytes that a step sums over the ranks.

    Raises:
        InputError: Data, model or sizes cannot be used; raised on every rank.
    """

    def __init__(self, recipe: Recipe, cluster: Cluster) -> None:
        self.recipe, self.cluster = recipe, cluster
        self.data = load_data(recipe, cluster)
        with cluster.together():
            batches = recipe.batches(self.data)
            batches.check_ranks(cluster.size)
            model = build_model(recipe, self.data, cluster.device)
            trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
            recipe.optimizer.build(model)  # a process's first optimizer loads torch's compiler, for seconds
        self.sizes = micro_batches(batches.max_micro_batch, batches.max_global_batch, cluster.size)
        self.parameters = sum(parameter.numel() for parameter in trained)
        self.gradient_bytes = gradient_bytes(recipe, model)

    def measure(self, timer: Timer) -> Steps:
        """Measures every micro-batch for which there is time and memory, from small to large; call it on every rank.

        Args:
            timer: The ranks' clock.
        """
        steps: list[MicroBatchTimes] = []
        left_out: list[LeftOut] = []
        for index, micro_batch in enumerate(self.sizes):
            # twice the samples take at most about twice as long
            if steps and not timer.allows(2 * (WARM_ROUNDS + LEAST_ROUNDS) * _round_s(steps[-1])):
                reason = f"no time left of {timer.seconds:g} seconds"
                left_out += [LeftOut(micro_batch=size, reason=reason) for size in self.sizes[index:]]
                break
            found = self._measure(micro_batch, timer, 1 / (len(self.sizes) - index))
            if isinstance(found, LeftOut):
                left_out.append(found)
            else:
                steps.append(found)
            gc.collect()  # Horovod's hooks and its optimizer refer to each other, and keep the weights in memory
        return Steps(parameters=self.parameters, gradient_bytes=self.gradient_bytes, steps=steps, left_out=left_out)

    def _measure(self, micro_batch: int, timer: Timer, share: float) -> MicroBatchTimes | LeftOut:
        cluster, seed = self.cluster, self.recipe.options.seed
        one_rank = SingleProcess(cluster.device)
        together = FixedSteps(self.recipe, self.data, micro_batch * cluster.size, micro_batch, cluster, seed)
        own_seed = seed + cluster.rank  # other samples on each rank
        alone = FixedSteps(self.recipe, self.data, micro_batch, micro_batch, one_rank, own_seed)
        reason = ""
        try:  # without communication: a rank that has no memory left keeps no other waiting
            alone.step()
        except OneSampleError as error:
            reason = f"allowed are {error.allowed}"
        except InputError:
            raise
        except (RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
        reasons = [f"rank {rank}: {reason}" for rank, reason in enumerate(cluster.gather(reason)) if reason]
        if reasons:
            return LeftOut(micro_batch=micro_batch, reason=reasons[0])
        works = {"pass": alone.forward_backward, "alone": alone.step}
        if cluster.size > 1:
            works["step"] = together.step
        seconds = timer.rounds(works, share=share, most=MOST_ROUNDS)
        step = Times.of(seconds.get("step", seconds["alone"]))
        exposed = None
        if cluster.size > 1:
            exposed = Times.of(np.subtract(seconds["step"], seconds["alone"]).tolist())
        return MicroBatchTimes(
            micro_batch=micro_batch,
            global_batch=micro_batch * cluster.size,
            forward_backward=Times.of(seconds["pass"]),
            step_alone=Times.of(seconds["alone"]),
            step=step,
            exposed=exposed,
            samples_per_s_per_rank=micro_batch / step.median_s,
            samples_per_s=micro_batch * cluster.size / step.median_s,
        )


class FixedSteps:
    """An endless series of optimizer steps with one fixed batch, made one at a time.

    Args:
        recipe: The recipe to train.
        data: The data of the recipe's task.
        global_batch: Samples of a step, over the ranks of ``cluster``.
        micro_batch: The most samples of a pass.
        cluster: The ranks that step together.
        seed: The seed of the order of samples.

    Attributes:
        waited_s: Seconds that each step has waited for its samples, in order.
    """

    def __init__(
        self, recipe: Recipe, data: TaskData, global_batch: int, micro_batch: int, cluster: Cluster, seed: int
    ) -> None:
        self._task = recipe.task
        self._model = build_model(recipe, data, cluster.device).train()
        self._forward = Forward(self._model, recipe, cluster.device)
        optimizer = recipe.optimizer.build(self._model)
        for group in optimizer.param_groups:
            group["lr"] = STANDING_STILL
        batches = AdaptiveBatches(
            _whole_batches(data.train, global_batch),
            global_batch,
            max_global_batch=global_batch,
            max_micro_batch=micro_batch,
            seed=seed,
            workers=recipe.options.workers,
            transform=data.augment,
        )
        options, scaler = recipe.options, loss_scaler(recipe, cluster.device)
        training = AdaptiveTraining(
            self._model,
            optimizer,
            batches,
            cluster=cluster,
            scaler=scaler,
            options=LoopOptions(clip_norm=options.clip_norm, compression=options.compression),
        )
        self._steps = (step for epoch in count() for step in training.epoch(epoch))
        self._held: tuple[torch.Tensor, torch.Tensor]
        self.waited_s: list[float] = []

    def step(self) -> None:
        """Makes one step: data, passes, sum over the ranks, optimizer."""
        step = next(self._steps)
        micro_batches, waited_s = iter(step), 0.0
        while True:
            began_s = time.perf_counter()
            found = next(micro_batches, None)
            waited_s += time.perf_counter() - began_s
            if found is None:
                break
            self._held = found[0], found[1]
            step.backward(self._loss(*self._held))
        step.update()
        self.waited_s.append(waited_s)

    def forward_backward(self) -> None:
        """Sends the samples of the last step forward and backward, and forgets the gradient."""
        self._loss(*self._held).backward()  # type: ignore[no-untyped-call]
        self._model.zero_grad()

    def _loss(self, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return self._task.loss(self._forward(inputs), targets)


def _whole_batches(dataset: Dataset[Any], global_batch: int) -> Dataset[Any]:
    """Returns the samples of whole global batches: a smaller one at an epoch's end would take less time than others."""
    n_samples = len(cast(Sized, dataset)) // global_batch * global_batch
    if isinstance(dataset, TensorDataset):  # it stays a TensorDataset, which is indexed without worker processes
        return TensorDataset(*(tensor[:n_samples] for tensor in dataset.tensors))
    return Subset(dataset, range(n_samples))


def _round_s(times: MicroBatchTimes) -> float:
    """Returns the seconds of a round: a pass, a step alone and, with several ranks, a step."""
    step_s = times.step.median_s if times.exposed is not None else 0.0
    return times.forward_backward.median_s + times.step_alone.median_s + step_s
