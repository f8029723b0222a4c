"""torch's optimizers without what torch wraps around them for its compiler.

torch marks methods of its optimizers as not to be compiled, and on the first call of one it loads all of its compiler,
``torch._dynamo``, which takes each rank as long as ``import torch`` itself. Here only models are compiled, so the
methods are called without the marks. An optimizer of torch that a script makes is left as it is.
"""

from __future__ import annotations

import inspect

import torch
from torch.optim.optimizer import Optimizer


class Eager(Optimizer):
    """An optimizer whose methods do not load torch's compiler; its ``step`` is its own."""

    add_param_group = inspect.unwrap(Optimizer.add_param_group)
    load_state_dict = inspect.unwrap(Optimizer.load_state_dict)
    state_dict = inspect.unwrap(Optimizer.state_dict)
    zero_grad = inspect.unwrap(Optimizer.zero_grad)


class SGD(Eager, torch.optim.SGD):
    """``torch.optim.SGD``, to the bit."""

    step = torch.no_grad()(inspect.unwrap(torch.optim.SGD.step))
