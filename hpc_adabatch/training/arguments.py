"""What a script hands to AdaptiveTraining, checked before anything is built: each is the kind of thing it should be."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ..batches import AdaptiveBatches
from ..batches.dataset import instead_of
from ..cluster import Cluster
from ..errors import require
from ..learning_rate import LearningRate
from ..optim.armijo import Armijo
from ..policies import Policy
from .journal import Journal
from .options import LoopOptions
from .signals import StopFlag
from .state import Stateful

CALL = "AdaptiveTraining(model, optimizer, batches, cluster=cluster)"


KINDS: dict[str, tuple[Any, str, str]] = {  # of each argument: its kind, in words, and what to write
    "model": (nn.Module, "a torch.nn.Module", CALL),
    "optimizer": (torch.optim.Optimizer, "a torch.optim.Optimizer", CALL),
    "batches": (AdaptiveBatches, "AdaptiveBatches", ""),  # instead_of says what to write
    "cluster": (Cluster, "the ranks", "cluster=hab.Cluster.start()"),
    "policy": (Policy | None, "a rule, such as AdaBatch() or NoiseScale()", "policy=AdaBatch()"),
    "learning_rate": (
        LearningRate | None,
        "LearningRate, the schedule over the optimizer's lr",
        'learning_rate=LearningRate(decay="cosine", epochs=90)',
    ),
    "journal": (Journal | None, "a Journal", "journal=Journal(path) on rank 0, Journal(None) on others"),
    "step_size": (Armijo | None, "Armijo", "step_size=Armijo(alpha=1.0)"),
    "scaler": (torch.amp.GradScaler | None, "a GradScaler", 'scaler=torch.amp.GradScaler("cuda")'),
    "groups": (Mapping | None, "parameters by the name of their group", 'groups={"head": model.head.parameters()}'),
    "stop_flag": (StopFlag | None, "a StopFlag", "stop_flag=StopFlag()"),
    "also": (Mapping | None, "a dictionary of objects by name", 'also={"ema": ema}'),
    "options": (LoopOptions | None, "LoopOptions", "options=LoopOptions(clip_norm=1.0)"),
}


def check_kinds(**given: object) -> None:
    """Checks the arguments' kinds; None stands for an argument that was not given.

    Raises:
        InputError: One of them is something else; the line says what to write.
    """
    for name, argument in given.items():
        kind, allowed, example = KINDS[name]
        example = example or instead_of(argument)
        what = f"{type(argument).__name__}: {argument!r:.60}"
        if isinstance(argument, type):
            what = f"the class {argument.__name__}"
            example = f"policy={argument.__name__}()" if issubclass(argument, Policy) else example
        require(isinstance(argument, kind), name, what, allowed, example)


def check_also(also: Mapping[str, object] | None) -> None:
    """Checks what else is to be kept in checkpoints.

    Raises:
        InputError: An object has no state.
    """
    for name, other in (also or {}).items():
        allowed = "an object with state_dict and load_state_dict"
        require(isinstance(other, Stateful), f"also.{name}", f"{type(other).__name__}: {other!r:.60}", allowed)


def check_model(model: nn.Module) -> None:
    """Checks that the network's gradients are its own, and may be summed.

    Raises:
        InputError: Something else sums its gradients over ranks already, or a layer's are sparse.
    """
    wrapped = isinstance(model, nn.parallel.DistributedDataParallel)
    allowed = "the network that it wraps: step.update() sums the gradients"
    require(not wrapped, "model", "DistributedDataParallel", allowed, "AdaptiveTraining(model.module, ...)")
    sparse = next((name for name, layer in model.named_modules() if getattr(layer, "sparse", False) is True), None)
    allowed = "layers whose gradients are dense, as they travel between ranks"
    require(sparse is None, "model", f"{sparse}, a layer with sparse gradients", allowed, "sparse=False")


def check_layers(model: nn.Module, n_ranks: int) -> None:
    """Checks that no layer sums over ranks by itself.

    Raises:
        InputError: A layer does: ranks may take different numbers of passes, and would wait for each other in it.
    """
    for name, module in model.named_modules():
        allowed = "BatchNorm, whose statistics are those of a rank's micro-batch, or GroupNorm"
        example = "the network as it was before convert_sync_batchnorm"
        sums = n_ranks > 1 and type(module).__name__ == "SyncBatchNorm"  # torch's or Horovod's
        require(not sums, f"model.{name}".rstrip("."), f"SyncBatchNorm on {n_ranks} ranks", allowed, example)


def check_optimizer_of(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Checks that the optimizer is one that may be stepped here.

    Raises:
        InputError: It is Horovod's, computes losses by itself, or has no parameter of the network.
    """
    sums = hasattr(optimizer, "synchronize") and hasattr(optimizer, "skip_synchronize")
    allowed = "the optimizer that hvd.DistributedOptimizer was made of: step.update() sums the gradients"
    require(not sums, "optimizer", "hvd.DistributedOptimizer", allowed, CALL)
    closes = inspect.signature(type(optimizer).step).parameters.get("closure")
    again = closes is not None and closes.default is inspect.Parameter.empty
    allowed = "one that takes its step along the gradient there is: this one asks for the loss again"
    require(not again, "optimizer", type(optimizer).__name__, allowed, "hab.LARS(...) or torch.optim.SGD(...)")
    own = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    shared = any(id(parameter) in own for parameter in model.parameters())
    of = f"{type(optimizer).__name__} of other parameters"
    example = f"{type(optimizer).__name__}(model.parameters(), ...)"
    require(shared, "optimizer", of, "one that has parameters of the model", example)
