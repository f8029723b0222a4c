"""What a script hands to AdaptiveTraining, checked before anything is built: each is the kind of thing it should be."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn

from ..batches import AdaptiveBatches
from ..errors import require
from ..learning_rate import LearningRate
from ..optim.armijo import Armijo
from ..policies import Policy
from .journal import Journal

CALL = "AdaptiveTraining(model, optimizer, batches, cluster=cluster)"


def check_kinds(
    model: object,
    optimizer: object,
    batches: object,
    policy: object,
    learning_rate: object,
    journal: object,
    step_size: object,
) -> None:
    """Checks the arguments' kinds; None stands for an argument that was not given.

    Raises:
        InputError: One of them is something else; the line says what to write.
    """
    _check("model", model, nn.Module, "a torch.nn.Module", CALL)
    _check("optimizer", optimizer, torch.optim.Optimizer, "a torch.optim.Optimizer", CALL)
    _check(
        "batches", batches, AdaptiveBatches, "AdaptiveBatches", "AdaptiveBatches(dataset, 64), of the dataset itself"
    )
    rules = "a rule, such as AdaBatch() or NoiseScale()"
    _check(
        "policy", policy, Policy | None, rules, f"policy={policy.__name__ if inspect.isclass(policy) else 'AdaBatch'}()"
    )
    rate = "LearningRate, the schedule over the optimizer's lr"
    example = 'learning_rate=LearningRate(decay="cosine", epochs=90)'
    _check("learning_rate", learning_rate, LearningRate | None, rate, example)
    _check("journal", journal, Journal | None, "a Journal", "journal=Journal(path) on rank 0, Journal(None) on others")
    _check("step_size", step_size, Armijo | None, "Armijo", "step_size=Armijo(alpha=1.0)")


def check_optimizer_of(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Checks that the optimizer is one that may be stepped here.

    Raises:
        InputError: It is Horovod's, or it has no parameter of the network.
    """
    sums = hasattr(optimizer, "synchronize") and hasattr(optimizer, "skip_synchronize")
    allowed = "the optimizer that hvd.DistributedOptimizer was made of: step.update() sums the gradients"
    require(not sums, "optimizer", "hvd.DistributedOptimizer", allowed, CALL)
    own = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    shared = any(id(parameter) in own for parameter in model.parameters())
    of = f"{type(optimizer).__name__} of other parameters"
    example = f"{type(optimizer).__name__}(model.parameters(), ...)"
    require(shared, "optimizer", of, "one that has parameters of the model", example)


def _check(name: str, given: object, kind: Any, allowed: str, example: str) -> None:
    what = f"the class {given.__name__}" if inspect.isclass(given) else f"{type(given).__name__}: {given!r:.60}"
    require(isinstance(given, kind), name, what, allowed, example)
