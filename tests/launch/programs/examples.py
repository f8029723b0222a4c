"""Trains pairs of examples/ in turn, and prints how far their weights differ at most, and the updates of a grown batch.

examples.py NAME ...

Both scripts of a pair see the same samples in the same order: the samplers of the plain one are given the order of
AdaptiveBatches.
"""

import contextlib
import importlib.util
import io
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import horovod.torch as hvd
import torch
from torch.utils import data

from hpc_adabatch.batches.draws import Draws
from hpc_adabatch.batches.plan import permutation

FOLDER = Path(__file__).parents[3] / "examples"
FLAGS = {
    "compiled": ["--backend", "aot_eager"],
    "imagenet": ["--milestones", "2"],
}
epochs: Counter[int] = Counter()  # that a sampler of weighted draws has begun


def order_of_positions(sampler: data.DistributedSampler) -> Iterator[int]:
    order = permutation(sampler.seed, sampler.epoch, len(sampler.dataset))
    return iter(order[sampler.rank :: sampler.num_replicas].tolist())


def order_of_draws(sampler: data.WeightedRandomSampler) -> Iterator[int]:
    weights, epoch = sampler.weights, epochs[id(sampler)]
    epochs[id(sampler)] += 1
    draws = Draws(weights, len(weights), sampler.num_samples * hvd.size(), seed=0)
    return iter(draws.of(epoch)[hvd.rank() :: hvd.size()].tolist())


def trained(kind: str, name: str, *flags: str) -> tuple[dict[str, torch.Tensor], list[int]]:
    """Returns the weights that a script has trained, and the updates of each epoch."""
    spec = importlib.util.spec_from_file_location(f"{kind}_{name}", FOLDER / kind / f"{name}.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        model = script.main([*FLAGS.get(name, []), *flags])
    weights = {key: tensor.detach().clone() for key, tensor in model.state_dict().items()}
    return weights, [int(updates) for updates in re.findall(r": (\d+) updates", printed.getvalue())]


def resumed(kind: str, name: str) -> tuple[dict[str, torch.Tensor], list[int]]:
    """Returns the same of a script on one rank that was started twice."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = ["--checkpoint", f"{folder}/checkpoint.pt"]
        _, before = trained(kind, name, *checkpoint, "--epochs", "1")
        weights, after = trained(kind, name, *checkpoint)
    return weights, before + after


data.DistributedSampler.__iter__ = order_of_positions
data.WeightedRandomSampler.__iter__ = order_of_draws
for name in sys.argv[1:]:
    adaptive, updates = resumed("adaptive", name) if name == "imagenet" else trained("adaptive", name)
    plain, updates_of_plain = resumed("plain", name) if name == "imagenet" else trained("plain", name)
    _, grown = trained("adaptive", name, "--grow")
    assert updates == updates_of_plain
    assert list(adaptive) == list(plain)
    most = max(float((adaptive[key].double() - plain[key].double()).abs().max()) for key in plain)
    if hvd.rank() == 0:
        print(f"{name}: {most} apart, updates {updates}, grown {grown}", flush=True)
