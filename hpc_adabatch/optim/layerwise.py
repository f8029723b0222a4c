"""What LARS and LAMB share: each layer has its own rate, from the lengths of its weights and of their direction.

    rate of a layer = lr * trust ratio
    trust ratio     = a formula of |w| and |d|; 1 where one of them is 0
    d               = what the layer moves against: the gradient (LARS), Adam's direction with decay (LAMB)

    on a CPU      a layer at a time, while the cache has it, and no copy is as large as the model; ratios are numbers
    elsewhere     all layers together; ratios stay on the device, and the host never waits for them

Groups that do not adapt have one rate and move together everywhere. State is in float32 or better, whatever the
parameters are; parameters in half precision move as float32 copies, which are rounded back once.

Not here: the formulas (lars.py, lamb.py), which parameters adapt (parameter_groups.py).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch.optim.optimizer import Optimizer

from .kernels import Tensors
from .norms import norm, norms, on_host

Group = dict[str, Any]


class Layerwise(Optimizer, ABC):
    """An optimizer with trust ratios. Wrap it in Horovod's optimizer, never the other way round.

    Every option lives in the parameter groups and has a default, and the state exists from the start: Horovod rebuilds
    an optimizer from its groups alone, and takes a step with zero gradients on one whose state is empty.

    Attributes:
        trust_ratios: None; where it is set to a dict, each step fills it anew with the trust ratios of the adapted
            parameters that had a gradient: floats on CPUs, elsewhere tensors of shape () on the parameter's device.

    Raises:
        InputError: an option is out of range.
        RuntimeError: a gradient is sparse or complex.
    """

    trust_ratios: dict[torch.Tensor, Any] | None = None
    state_names: ClassVar[tuple[str, ...]]

    @abstractmethod
    def check(self, group: Group) -> None:
        """Raises InputError where an option is out of range."""

    @abstractmethod
    def ratio(self, weight_norm: Any, direction_norm: Any, group: Group) -> Any:
        """The trust ratio of lengths: of two floats above 0, or of two tensors, shape (layers,)."""

    @abstractmethod
    def directions(self, layers: Tensors, weights: Tensors, gradients: Tensors, group: Group) -> Tensors:
        """What layers move against, by the gradients; takes them into the state.

        Args:
            layers: parameters, whose state it is.
            weights: their values, in float32 or better.
            gradients: alike; only to be read.
            group: of the parameters.
        """

    @abstractmethod
    def move(self, layers: Tensors, weights: Tensors, directions: Tensors, rate: Any, group: Group) -> None:
        """Moves the weights in place.

        Args:
            layers: parameters, whose state it is.
            weights: their values, in float32 or better.
            directions: alike; only to be read.
            rate: learning rate times trust ratio: a float for all layers, or a tensor of shape (layers,).
            group: of the parameters.
        """

    def add_param_group(self, param_group: Group) -> None:
        self.check({**self.defaults, **param_group})
        super().add_param_group(param_group)
        for parameter in self.param_groups[-1]["params"]:
            for name in self.state_names:
                if name not in self.state[parameter]:
                    self.state[parameter][name] = torch.zeros_like(parameter, dtype=wide(parameter))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        numbers = [number for group in state_dict["param_groups"] for number in group["params"]]
        parameters = [parameter for group in self.param_groups for parameter in group["params"]]
        for number, parameter in zip(numbers, parameters, strict=True):
            if parameter.dtype != wide(parameter):  # torch has rounded its state to the parameter's precision
                for name, value in state_dict["state"][number].items():
                    self.state[parameter][name] = value.to(parameter.device, wide(parameter), copy=True)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if self.trust_ratios is not None:
            self.trust_ratios.clear()
        for group in self.param_groups:
            self.step_group(group)
        return loss

    def step_group(self, group: Group) -> None:
        """Steps the parameters of a group that have a gradient."""
        for layers in self._alike(group):
            if group["adapt"] and on_host(layers[0]):
                for layer in layers:
                    self._step_layers([layer], group)
            else:
                self._step_layers(layers, group)

    def _alike(self, group: Group) -> list[Tensors]:
        """The parameters that have a gradient, by device and precision."""
        alike: dict[Any, Tensors] = {}
        for index, parameter in enumerate(group["params"]):
            gradient = parameter.grad
            if gradient is None:
                continue
            if gradient.layout is not torch.strided or gradient.is_complex():
                raise RuntimeError(
                    f"{type(self).__name__} takes dense real gradients; "
                    f"parameter {index}, shape {tuple(parameter.shape)}, has not"
                )
            alike.setdefault((parameter.device, parameter.dtype), []).append(parameter)
        return list(alike.values())

    def _step_layers(self, layers: Tensors, group: Group) -> None:
        half = layers[0].dtype != wide(layers[0])
        weights, gradients = layers, [layer.grad for layer in layers if layer.grad is not None]
        if half:
            weights, gradients = [weight.float() for weight in weights], [gradient.float() for gradient in gradients]
        directions = self.directions(layers, weights, gradients, group)
        rate: Any = float(group["lr"])
        if group["adapt"]:
            rate = rate * self._ratios(layers, weights, directions, group)
        self.move(layers, weights, directions, rate, group)
        if half:
            torch._foreach_copy_(layers, weights)

    def _ratios(self, layers: Tensors, weights: Tensors, directions: Tensors, group: Group) -> Any:
        """A float for the one layer on a CPU, elsewhere a tensor of shape (layers,)."""
        ratios: Any
        if on_host(layers[0]):
            weight_norm, direction_norm = norm(weights[0]), norm(directions[0])
            ratios = self.ratio(weight_norm, direction_norm, group) if weight_norm > 0 and direction_norm > 0 else 1.0
        else:
            weight_norms, direction_norms = norms(weights), norms(directions)  # (layers,)
            both = (weight_norms > 0) & (direction_norms > 0)
            ratios = torch.where(both, self.ratio(weight_norms, direction_norms, group), 1.0)
        if self.trust_ratios is not None:
            self.trust_ratios.update(zip(layers, [ratios] if isinstance(ratios, float) else ratios, strict=True))
        return ratios


def wide(tensor: torch.Tensor) -> torch.dtype:
    """Of what a parameter's state and step are computed in."""
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32
