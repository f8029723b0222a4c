"""Training loops with the noise statistics of fairscale and adaptdl, and the same loop without (DDP and SGD over gloo).

    bare DDP     torch's DistributedDataParallel and SGD, nothing measured
    fairscale    the same with the optimizer in fairscale.optim.AdaScale
    adaptdl      the same with adaptdl's GradientNoiseScale on it, without what AdaptiveDataParallel adds

Both always measure every step. They are extras of the benchmark (``pip install fairscale adaptdl``); where one is
missing or fails, the table shows its exception. ``adaptdl.torch`` needs packages of Kubernetes and pkg_resources: where
it cannot be imported, its module gradient_noise_scale is loaded alone, with its arithmetic unchanged, and the row says
so.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from torch import nn
from torch.distributed import TCPStore  # type: ignore[attr-defined]
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from hpc_adabatch import Cluster

BARE = "bare DDP"
Loop = Callable[[], None]


def join(cluster: Cluster) -> None:
    """Starts a gloo process group of the cluster's ranks, on one node."""
    leading = TCPStore("127.0.0.1", 0, is_master=True) if cluster.leads else None
    port = cluster.tell(leading.port if leading is not None else None)
    store = leading or TCPStore("127.0.0.1", port, is_master=False)
    torch.distributed.init_process_group("gloo", store=store, rank=cluster.rank, world_size=cluster.size)


def loop(model: nn.Module, batch: int, cluster: Cluster, measured: Callable[[Any, Any], tuple[Loop, Loop]]) -> Loop:
    """Returns a function that takes one step of DDP.

    Args:
        model: a fresh network.
        batch: the global batch.
        cluster: the ranks.
        measured: takes DDP and its optimizer, returns what zeroes the gradients and what updates.
    """
    inputs, targets = torch.randn(64 * batch, 3, 32, 32), torch.randint(0, 10, (64 * batch,))
    wrapped = DistributedDataParallel(model)
    zero, update = measured(wrapped, torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9))

    def one() -> None:
        chosen = torch.randint(len(inputs), (batch // cluster.size,))
        zero()
        cross_entropy(wrapped(inputs[chosen]), targets[chosen]).backward()  # type: ignore[no-untyped-call]
        update()

    return one


def bare(_: Any, optimizer: Any) -> tuple[Loop, Loop]:
    return optimizer.zero_grad, optimizer.step


def fairscale(_: Any, optimizer: Any) -> tuple[Loop, Loop]:
    scaled = importlib.import_module("fairscale.optim.adascale").AdaScale(optimizer)
    return scaled.zero_grad, scaled.step


def adaptdl(ddp: Any, optimizer: Any) -> tuple[Loop, Loop]:
    noise = adaptdl_module()[0].GradientNoiseScale(ddp, optimizer)

    def update() -> None:
        optimizer.step()
        noise.gain(noise.accum_scale * noise.accum_count)  # its progress

    return noise.reset_accumulation, update


def adaptdl_module() -> tuple[Any, str]:
    """Returns adaptdl's module gradient_noise_scale, and the reason if it was loaded alone.

    Raises:
        ImportError: there is no adaptdl.
    """
    handlers = list(logging.root.handlers)
    try:
        return importlib.import_module("adaptdl.torch.gradient_noise_scale"), ""
    except Exception as error:
        package = importlib.import_module("adaptdl")
        path = Path(str(package.__file__)).parent / "torch" / "gradient_noise_scale.py"
        spec = importlib.util.spec_from_file_location("gradient_noise_scale", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module, f"module alone: {said(error)}"
    finally:
        logging.root.handlers[:] = handlers  # adaptdl configures logging when it is imported


def said(error: Exception) -> str:
    """Returns an exception as one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def rivals(build: Callable[[], nn.Module], batch: int, cluster: Cluster) -> tuple[dict[str, Loop], dict[str, str]]:
    """Returns the loops that can be timed, the bare one first, and a remark on each of the others.

    Args:
        build: makes the network.
        batch: the global batch.
        cluster: the ranks.
    """
    if cluster.size < 2 or cluster.device.type != "cpu":
        return {}, dict.fromkeys(("fairscale", "adaptdl"), "timed on two ranks or more, on CPUs")
    join(cluster)
    loops, remarks = {BARE: loop(build(), batch, cluster, bare)}, {}
    for name, measured in (("fairscale", fairscale), ("adaptdl", adaptdl)):
        try:
            step = loop(build(), batch, cluster, measured)
            step()
            loops[name] = step
            remarks[name] = adaptdl_module()[1] if name == "adaptdl" else ""
        except Exception as error:  # whatever it is, it is the same on every rank
            remarks[name] = said(error)
    return loops, remarks
