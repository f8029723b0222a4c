"""The optimizers that do not load torch's compiler, beside torch's own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from hpc_adabatch.optim.eager import SGD


def trained(kind: Callable[..., torch.optim.Optimizer], saved_at: int, **options: float | bool) -> list[torch.Tensor]:
    """Returns the weights and the state after 12 steps, with a rate that changes, and a new optimizer in between."""
    torch.manual_seed(0)
    model, inputs = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)), torch.randn(12, 8, 5)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = model(inputs[number]).square().mean()
        value.backward()
        return value

    groups = [{"params": list(model[0].parameters()), "weight_decay": 0.01}, {"params": list(model[2].parameters())}]
    optimizer = kind(groups, lr=0.1, **options)
    for number in range(12):
        optimizer.param_groups[0]["lr"] = 0.1 / (1 + number)
        if number == saved_at:
            state, optimizer = optimizer.state_dict(), kind(groups, lr=7.0)
            optimizer.load_state_dict(state)
        optimizer.step(loss)
    momenta = [optimizer.state[weight].get("momentum_buffer") for weight in model.parameters()]
    return [*model.parameters(), *(momentum for momentum in momenta if momentum is not None)]


@pytest.mark.parametrize(
    "options",
    [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}, {"maximize": True}, {"foreach": True}],
    ids=str,
)
def test_it_moves_weights_as_torch_does_to_the_bit(options: dict[str, float | bool]) -> None:
    ours, theirs = trained(SGD, 5, **options), trained(torch.optim.SGD, 5, **options)
    assert len(ours) == len(theirs) == (8 if "momentum" in options else 4)
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))


def test_steps_build_no_graph_and_say_what_they_are() -> None:
    model = nn.Linear(3, 2)
    optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    assert all(weight.grad_fn is None and weight.requires_grad for weight in model.parameters())
    assert torch.is_grad_enabled()
    assert repr(optimizer).startswith("SGD (")
    with pytest.raises(ValueError, match="Invalid learning rate"):
        SGD(model.parameters(), lr=-1.0)
