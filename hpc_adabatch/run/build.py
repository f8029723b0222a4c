"""What a recipe is trained with: data on every rank, a network with its weights, and its forward pass."""

from __future__ import annotations

import torch
from torch import nn
from torch.func import functional_call

from ..cluster import Cluster
from ..errors import InputError
from ..recipe import UNFIT, Recipe
from ..tasks import Task, TaskData
from ..tasks.classification import Classification

_REDUCED = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def load_data(recipe: Recipe, cluster: Cluster) -> TaskData:
    """Returns the task's data, fetched by rank 0, then by one rank of each other node, and read by all.

    Raises:
        InputError: The data is missing or damaged; every rank raises the same error.
    """
    for turn in (cluster.leads, cluster.local_rank == 0 and not cluster.leads):  # who sees rank 0's need not fetch
        with cluster.together():
            if turn:
                recipe.task.fetch()
    with cluster.together():
        data = recipe.task.load(cluster)
    return data  # noqa: RET504 (leaving the block is what tells the other ranks)


def build_model(recipe: Recipe, data: TaskData, device: torch.device) -> nn.Module:
    """Returns the recipe's network with fresh weights, after a look at how it takes a sample.

    Raises:
        InputError: There is no such network, or it does not take samples of the task's shape.
    """
    torch.manual_seed(recipe.options.seed)
    model = recipe.network(data).to(device)
    try:
        _look(model, recipe.task, data, device)
    except InputError:
        raise
    except UNFIT as error:
        raise recipe.unfit(data, error) from error
    return model


@torch.no_grad()
def _look(model: nn.Module, task: Task, data: TaskData, device: torch.device) -> None:
    """Passes a sample through the network as in evaluation, then twice the sample as in training."""
    for samples, trains in ((1, False), (2, True)):  # batch normalisation cannot be trained with one
        inputs, targets = (field.to(device) for field in data.example(samples))
        buffers = {
            name: buffer.clone() for name, buffer in model.named_buffers()
        }  # running statistics stay as they are
        outputs = functional_call(model.train(trains), buffers, (inputs,))
        fits = isinstance(outputs, torch.Tensor) and len(outputs) == samples
        if isinstance(task, Classification):
            fits = fits and outputs.shape == (samples, data.n_classes)
        if not fits:
            raise ValueError(f"returns {_form(outputs)} for {samples} sample(s) of {data.n_classes} classes")
        task.loss(outputs, targets)
    model.eval()


def _form(outputs: object) -> str:
    return f"a tensor {tuple(outputs.shape)}" if isinstance(outputs, torch.Tensor) else f"a {type(outputs).__name__}"


def loss_scaler(recipe: Recipe, device: torch.device) -> torch.amp.GradScaler | None:
    """Returns the scaler of losses in float16, where small gradients would vanish; None in other precisions."""
    return torch.amp.GradScaler(device.type) if recipe.options.precision == "float16" else None


def gradient_bytes(recipe: Recipe, model: nn.Module) -> int:
    """Returns the bytes that a step sums over the ranks: of the trained parameters, two each with compression fp16."""
    compressed = recipe.options.compression == "fp16"
    return sum(p.numel() * (2 if compressed else p.element_size()) for p in model.parameters() if p.requires_grad)


class Forward:
    """A forward pass in the precision and memory layout of a recipe, whose outputs are float32 at least.

    Args:
        model: The network.
        recipe: The recipe, whose options give precision and memory layout.
        device: The device of the network.
    """

    def __init__(self, model: nn.Module, recipe: Recipe, device: torch.device) -> None:
        self._model, self._device = model, device
        self._channels_last = recipe.options.channels_last
        self._reduced = _REDUCED.get(recipe.options.precision)

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        if self._channels_last and inputs.ndim == 4:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self._device.type, dtype=self._reduced, enabled=self._reduced is not None):
            outputs: torch.Tensor = self._model(inputs)
        return outputs if outputs.dtype == torch.float64 else outputs.float()
