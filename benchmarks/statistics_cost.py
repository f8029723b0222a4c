"""Times what measuring the gradient's noise costs a step: here, in fairscale and in adaptdl, interleaved in one run.

    mpirun -np 2 python benchmarks/statistics_cost.py [--rounds 15] [--steps 10] [--network resnet20|wide]

resnet20 is the CIFAR network (0.27 million parameters) at a global batch of 64; wide is a fully connected network of 25
million parameters at a global batch of 32, which has large gradients and little computing. Inputs are random, because
only time is measured. Each round runs every loop in turn for the same number of steps. In each round a loop's time is
divided by that of the same loop without statistics; for fairscale and adaptdl that is bare DDP (rivals.py).
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import torch
from rivals import BARE, Loop, rivals
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset

from hpc_adabatch import AdaptiveBatches, AdaptiveTraining, Cluster, Fixed, LoopOptions, NormTest
from hpc_adabatch.tasks.models import build_model

OFF = "off"
VARIANTS: dict[str, dict[str, Any]] = {  # what AdaptiveTraining is given; a rule that measures, but where off
    OFF: {},
    "budget of 1 %": {"measure_every": None},  # the default: rank 0's clock chooses
    "every 10th step": {"measure_every": 10},
    "every step": {"measure_every": 1},
}
pace: dict[str, int] = {}  # steps between measurements, as they are now


def network(name: str) -> torch.nn.Module:
    if name == "resnet20":
        return build_model("resnet20", 10, (3, 32, 32))
    width = 4096
    layers = [torch.nn.Flatten(), torch.nn.Linear(3072, 3072), torch.nn.ReLU(), torch.nn.Linear(3072, width)]
    return torch.nn.Sequential(*layers, torch.nn.ReLU(), torch.nn.Linear(width, 768), torch.nn.Linear(768, 10))


def stepper(tag: str, how: dict[str, Any], name: str, batch: int, cluster: Cluster) -> Loop:
    torch.manual_seed(0)
    model = torch.nn.Sequential()
    model.add_module(tag.replace(" ", "_"), network(name))  # Horovod tells tensors by their names
    model.to(cluster.device)
    data = TensorDataset(torch.randn(64 * batch, 3, 32, 32), torch.randint(0, 10, (64 * batch,)))
    training = AdaptiveTraining(
        model,
        torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9),
        AdaptiveBatches(data, batch, max_global_batch=batch),
        cluster=cluster,
        policy=NormTest() if how else Fixed(),
        options=LoopOptions(**how),
    )
    steps = (step for epoch in range(10**6) for step in training.epoch(epoch))

    def one() -> None:
        step = next(steps)
        for inputs, targets in step:
            step.backward(cross_entropy(model(inputs), targets))
        step.update()
        pace[tag] = training.measuring.pace

    return one


def timed(loops: dict[str, Loop], cluster: Cluster, rounds: int, steps: int) -> dict[str, list[float]]:
    """Returns the seconds per step of each loop in each round; rounds begin with different loops."""
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    names = list(loops)
    for number in range(rounds + 1):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            cluster.barrier()
            began_s = time.perf_counter()
            for _ in range(steps):
                loops[name]()
            if number:  # the first round warms up
                seconds[name].append((time.perf_counter() - began_s) / steps)
    return seconds


def ratio(values: list[float], off: list[float]) -> str:
    """Returns median and quartiles of the ratio over the rounds, as a text."""
    ratios = sorted(value / without for value, without in zip(values, off, strict=True))
    quarter = len(ratios) // 4
    return f"{statistics.median(ratios):.3f} ({ratios[quarter]:.3f} to {ratios[-1 - quarter]:.3f} between quartiles)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=10, help="steps of each loop in a round; a multiple of 10")
    parser.add_argument("--network", default="resnet20", choices=["resnet20", "wide"])
    flags = parser.parse_args()
    cluster = Cluster.start()
    batch = 64 if flags.network == "resnet20" else 32
    loops = {name: stepper(name, how, flags.network, batch, cluster) for name, how in VARIANTS.items()}
    theirs, remarks = rivals(lambda: network(flags.network), batch, cluster)
    offs = dict.fromkeys(loops, OFF) | dict.fromkeys(theirs, BARE)
    seconds = timed(loops | theirs, cluster, flags.rounds, flags.steps)
    if cluster.leads:
        parameters = sum(parameter.numel() for parameter in network(flags.network).parameters())
        ranks = f"{cluster.size} rank(s) x {torch.get_num_threads()} thread(s)"
        print(f"{flags.network}, {parameters:,} parameters, global batch {batch}, {ranks}, {flags.rounds} rounds")
        for name, values in seconds.items():
            off, remark = offs[name], remarks.pop(name, "")
            against = "" if name == off else f"{ratio(values, seconds[off])} of {off}"
            print(f"{name:16} {1000 * statistics.median(values):7.1f} ms   {against}  {remark}".rstrip())
        for name, remark in remarks.items():
            print(f"{name:16} not timed: {remark}")
        print(f"the budget of 1 % measured one step in {pace['budget of 1 %']}")
    if theirs:
        torch.distributed.destroy_process_group()
    cluster.stop()


if __name__ == "__main__":
    main()
