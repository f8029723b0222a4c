"""What measuring the gradient's noise costs a step: off, every 10th step, every step, interleaved in one run.

    mpirun -np 2 python benchmarks/statistics_cost.py [--rounds 15] [--steps 10] [--network resnet20|wide]

resnet20 is the CIFAR network (0.27 million parameters) at a global batch of 64; wide is a fully connected network of 25
million parameters at a global batch of 32, where the gradients are large and the work on them is not. Inputs are
random, because only time is measured. Each round runs every variant for the same number of steps, in turn; ratios are
taken by round.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset

from hpc_adabatch import AdaptiveBatches, AdaptiveTraining, Cluster, Fixed, NormTest
from hpc_adabatch.tasks.models import build_model

VARIANTS = {"off": 0, "every 10th step": 10, "every step": 1}


def network(name: str) -> torch.nn.Module:
    if name == "resnet20":
        return build_model("resnet20", 10, (3, 32, 32))
    width = 4096
    layers = [torch.nn.Flatten(), torch.nn.Linear(3072, 3072), torch.nn.ReLU(), torch.nn.Linear(3072, width)]
    return torch.nn.Sequential(*layers, torch.nn.ReLU(), torch.nn.Linear(width, 768), torch.nn.Linear(768, 10))


def stepper(tag: str, every: int, name: str, batch: int, cluster: Cluster) -> Callable[[], None]:
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
        policy=NormTest() if every else Fixed(),
        measure_every=every or 1,
    )
    steps = (step for epoch in range(10**6) for step in training.epoch(epoch))

    def one() -> None:
        step = next(steps)
        for inputs, targets in step:
            step.backward(cross_entropy(model(inputs), targets))
        step.update()

    return one


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=10, help="of each variant in a round; a multiple of 10")
    parser.add_argument("--network", default="resnet20", choices=["resnet20", "wide"])
    flags = parser.parse_args()
    cluster = Cluster.start()
    batch = 64 if flags.network == "resnet20" else 32
    loops = {name: stepper(name, every, flags.network, batch, cluster) for name, every in VARIANTS.items()}
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    for round_number in range(flags.rounds + 1):
        order = list(loops)[round_number % 3 :] + list(loops)[: round_number % 3]
        for name in order:
            cluster.barrier()
            began_s = time.perf_counter()
            for _ in range(flags.steps):
                loops[name]()
            if round_number:  # the first round warms up
                seconds[name].append((time.perf_counter() - began_s) / flags.steps)
    if cluster.leads:
        parameters = sum(parameter.numel() for parameter in network(flags.network).parameters())
        ranks = f"{cluster.size} rank(s) x {torch.get_num_threads()} thread(s)"
        print(f"{flags.network}, {parameters:,} parameters, global batch {batch}, {ranks}")
        for name, values in seconds.items():
            ratios = sorted(value / off for value, off in zip(values, seconds["off"], strict=True))
            quarter = len(ratios) // 4
            spread = f"{ratios[quarter]:.3f} to {ratios[-1 - quarter]:.3f} between quartiles"
            middle = f"{1000 * statistics.median(values):7.1f} ms   {statistics.median(ratios):.3f} of off"
            print(f"{name:16} {middle} ({spread})")
    cluster.stop()


if __name__ == "__main__":
    main()
