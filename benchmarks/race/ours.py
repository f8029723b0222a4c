"""The arms that this package runs: a script with ``AdaptiveTraining``, and the rule of each arm.

None is tuned: rules have their defaults, and the learning rate is that of the small batch. Only `ramp`, which is not
ours, has the rate of the large batch.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rank import Watch
from setting import GAMMA, LR_FACTOR, MOMENTUM, STAGES, WEIGHT_DECAY, Run, augment, network, prepare, stored
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset

import hpc_adabatch as hab

Rules = dict[str, Any]  # arguments of AdaptiveTraining


def adascale(run: Run) -> hab.LearningRate:
    """Returns the step decay by AdaScale's clock, and its gain."""
    return hab.LearningRate(scaling="adascale", decay="step", milestones=run.milestones, gamma=GAMMA)


def goodput(run: Run) -> Rules:
    """`goodput` with AdaScale: its own clock, step decay on it; torch.distributed."""
    return {"policy": hab.Goodput(), "learning_rate": adascale(run)}


def goodput_fp16(run: Run) -> Rules:
    """The same with `compression: fp16`: as recommended where the sum over ranks is most of a step."""
    return goodput(run) | {"options": hab.LoopOptions(compression="fp16")}


def goodput_horovod(run: Run) -> Rules:
    """`goodput` with AdaScale; Horovod."""
    return goodput(run)


def noise_scale(run: Run) -> Rules:
    """`noise_scale` with AdaScale; torch.distributed."""
    return {"policy": hab.NoiseScale(), "learning_rate": adascale(run)}


def adabatch(run: Run) -> Rules:
    """`adabatch`: the batch doubles after each fifth of the epochs, the rate x0.75; torch.distributed."""
    return {"policy": hab.AdaBatch(interval=run.epochs / STAGES, lr_factor=LR_FACTOR)}


def smith(run: Run) -> Rules:
    """`smith`: the batch grows x5 where the step decay would divide the rate by it; torch.distributed."""
    return {"policy": hab.Smith(milestones=run.milestones, decay=GAMMA)}


def ramp(run: Run) -> Rules:
    """Megatron-LM's ramp to the large batch over a fifth of the samples, as `schedule`; rate and warm-up of `large`."""
    climb = round(run.epochs / STAGES * run.samples)
    text = f"0:{run.batch} +{run.batch} {climb}sa:{run.largest}"
    warmup = {"warmup": "fixed", "warmup_epochs": run.epochs / 10}
    schedule = hab.LearningRate(**warmup, decay="step", milestones=run.milestones, gamma=GAMMA)
    return {"policy": hab.Schedule(text=text), "learning_rate": schedule}


ARMS: dict[str, Callable[[Run], Rules]] = {
    arm.__name__: arm for arm in (goodput, goodput_fp16, goodput_horovod, noise_scale, adabatch, smith, ramp)
}


def train(run: Run, folder: Path, result: Path) -> None:
    """Trains once, on all ranks; rank 0 writes the result."""
    cluster = hab.Cluster.start()
    model = network(run.network, run.seed)
    rate = run.rate * run.factor
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
    images = TensorDataset(*stored(folder, "train", run.samples))
    batches = hab.AdaptiveBatches(images, run.batch, max_global_batch=run.largest, seed=run.seed, transform=augment)
    training = hab.AdaptiveTraining(model, optimizer, batches, cluster=cluster, **ARMS[run.arm](run))
    test = TensorDataset(*stored(folder, "test"))

    def score(pixels: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"accuracy": model(prepare(pixels)).argmax(1) == labels}

    def accuracy() -> float:
        return hab.evaluate(score, test, model=model, cluster=cluster)["accuracy"]

    watch = Watch(run.samples, accuracy, result if cluster.leads else None)
    watch.begin()
    for epoch in training.epochs(run.epochs):
        for step in training.epoch(epoch):
            for inputs, labels in step:
                step.backward(cross_entropy(model(inputs), labels))
            batch = training.global_batch
            step.update()
            watch.update(len(step.batch), batch)
    watch.end()
    cluster.stop()
