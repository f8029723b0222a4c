"""The common part of LARS and LAMB: each layer has its own rate, from the lengths of its weights and its direction.

    rate of a layer = lr * trust ratio
    trust ratio     = a formula of |w| and |d|; 1 if one of them is 0
    d               = the direction that a step goes against: the gradient (LARS), Adam's direction with decay (LAMB)

    on a CPU      one layer after another, so that it stays in the cache and no copy is as large as the model
    elsewhere     all layers together; ratios stay on the device, and the host never waits for them

Groups that do not adapt have one rate and move together everywhere. State is in float32 or better, whatever the
parameters are; parameters in half precision move as float32 copies, which are rounded back once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch

from ..errors import require
from .eager import Eager
from .kernels import Tensors
from .norms import norm, norms, on_host

Group = dict[str, Any]


def check_flags(group: Group, *names: str) -> None:
    """Raises InputError if one of these options is not True or False."""
    for name in names:
        require(isinstance(group[name], bool), f"optimizer.{name}", group[name], "True or False", f"{name}=True")


class Layerwise(Eager, ABC):
    """An optimizer with a trust ratio for each layer.

    With Horovod, pass this optimizer to ``DistributedOptimizer``, not the reverse. Horovod rebuilds an optimizer from
    its groups alone, and takes a step with zero gradients on one whose state is empty; so every option stands in the
    parameter groups and has a default, and the state exists from the start.

    Attributes:
        trust_ratios: None; if it is set to a dict, each step fills it anew with the trust ratios of the adapted
            parameters that had a gradient: floats on CPUs, elsewhere tensors of shape () on the parameter's device.

    Raises:
        InputError: An option is out of range.
        RuntimeError: A gradient is sparse or complex (in ``step``).
    """

    trust_ratios: dict[torch.Tensor, Any] | None = None
    state_names: ClassVar[tuple[str, ...]]

    @abstractmethod
    def check(self, group: Group) -> None:
        """Raises InputError if an option of the group is out of range."""

    @abstractmethod
    def ratio(self, weight_norm: Any, direction_norm: Any, group: Group) -> Any:
        """Returns the trust ratio of lengths above 0: floats, or tensors of shape (layers,).

        Args:
            weight_norm: Length of the weights.
            direction_norm: Length of the direction.
            group: The layers' parameter group.
        """

    @abstractmethod
    def directions(self, layers: Tensors, weights: Tensors, gradients: Tensors, group: Group) -> Tensors:
        """Takes the gradients into the state, and returns the directions that the layers' steps go against.

        Args:
            layers: Parameters, under which the state is kept.
            weights: Values of the parameters, in float32 or better.
            gradients: Gradients of the same shapes and type; only to be read.
            group: The layers' parameter group.
        """

    @abstractmethod
    def move(self, layers: Tensors, weights: Tensors, directions: Tensors, rate: Any, group: Group) -> None:
        """Moves the weights in place.

        Args:
            layers: Parameters, under which the state is kept.
            weights: Values of the parameters, in float32 or better.
            directions: Directions of the same shapes and type; only to be read.
            rate: Learning rate times trust ratio: a float for all layers, or a tensor of shape (layers,).
            group: The layers' parameter group.
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
        """Moves the parameters of a group that have a gradient."""
        for layers in self._alike(group):
            if group["adapt"] and on_host(layers[0]):
                for layer in layers:
                    self._step_layers([layer], group)
            else:
                self._step_layers(layers, group)

    def _alike(self, group: Group) -> list[Tensors]:
        """Returns the parameters that have a gradient, in one list for each device and precision."""
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
        """Returns the trust ratios: a float for the one layer on a CPU, elsewhere a tensor of shape (layers,)."""
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
    """Returns the precision in which the state and step of a parameter are computed."""
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32
