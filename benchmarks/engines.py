"""Times a step of both engines, and of the plain loops that people write for them, in turn in one run.

    python benchmarks/engines.py [--rounds 15] [--launches 5] [--seconds 1.5] [--networks digits,resnet20,wide]
                                 [--write FILE]

    arm                 sums over ranks                       settings
    Horovod, plain      hvd.DistributedOptimizer              its own: fusion of 128 MB, a cycle of 1 ms
    Horovod, ours       AdaptiveTraining, engine horovod      ours: buckets of 25 MB, no fusion, a cycle of 0.5 ms
    DDP, plain          DistributedDataParallel over Gloo     its own: buckets of 25 MB
    torch, ours         AdaptiveTraining, engine torch        ours: buckets of 25 MB

and each setting that matters at other values; buckets only where a network fills more than one.

Each arm is a launch of two ranks of its own (mpirun), with its own settings, and one thread a rank. All of them stay
alive, and take turns: those whose turn it is not are stopped (SIGSTOP), so that no thread of theirs runs. All loops
train the same network on the same random data with the same batch and torch's SGD; ours have the rule ``fixed``, which
measures nothing. A turn begins with a tenth more steps that are not timed. A ratio is taken within each round. All are
launched anew several times: where threads share cores, a launch keeps what the scheduler has once made of it.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from machine import machine, versions
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset

RANKS = 2
HOROVOD, TORCH = {"ADABATCH_ENGINE": "horovod"}, {"ADABATCH_ENGINE": "torch"}
ARMS: dict[str, dict[str, str]] = {  # and the environment of their launches
    "Horovod, plain": {},
    "Horovod, plain, cycle of 0.5 ms": {"HOROVOD_CYCLE_TIME": "0.5"},
    "Horovod, ours": HOROVOD,
    "Horovod, ours, cycle of 1 ms": HOROVOD | {"HOROVOD_CYCLE_TIME": "1"},
    "Horovod, ours, cycle of 0.1 ms": HOROVOD | {"HOROVOD_CYCLE_TIME": "0.1"},
    "Horovod, ours, fusion of 128 MB": HOROVOD | {"HOROVOD_FUSION_THRESHOLD": str(2**27)},
    "DDP, plain": {},
    "torch, ours": TORCH,
    "Horovod, ours, buckets of 5 MB": HOROVOD | {"BENCH_BUCKET_MB": "5"},
    "Horovod, ours, buckets of 100 MB": HOROVOD | {"BENCH_BUCKET_MB": "100"},
    "torch, ours, buckets of 5 MB": TORCH | {"BENCH_BUCKET_MB": "5"},
    "torch, ours, buckets of 100 MB": TORCH | {"BENCH_BUCKET_MB": "100"},
}
RATIOS = [
    ("Horovod, ours", "Horovod, plain"),
    ("Horovod, ours", "Horovod, plain, cycle of 0.5 ms"),
    ("torch, ours", "DDP, plain"),
    ("Horovod, ours", "torch, ours"),
    ("Horovod, ours, cycle of 1 ms", "Horovod, ours"),
    ("Horovod, ours, cycle of 0.1 ms", "Horovod, ours"),
    ("Horovod, ours, fusion of 128 MB", "Horovod, ours"),
    ("Horovod, ours, buckets of 5 MB", "Horovod, ours"),
    ("Horovod, ours, buckets of 100 MB", "Horovod, ours"),
    ("torch, ours, buckets of 5 MB", "torch, ours"),
    ("torch, ours, buckets of 100 MB", "torch, ours"),
]
NETWORKS: dict[str, tuple[str, tuple[int, ...], int]] = {  # name for people, shape of a sample, global batch
    "digits": ("the digits' network", (1, 8, 8), 64),
    "resnet20": ("ResNet-20", (3, 32, 32), 64),
    "wide": ("25 million weights", (3, 32, 32), 64),
}
Loop = Callable[[], None]


def build(name: str) -> nn.Module:
    """Returns the network of a name, with the same weights in each arm."""
    from hpc_adabatch.tasks.models import build_model

    torch.manual_seed(0)
    if name == "wide":
        hidden = nn.Sequential(nn.Linear(3072, 4096), nn.ReLU(), nn.Linear(4096, 2900), nn.ReLU())
        return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(2900, 10))
    return build_model("resnet20" if name == "resnet20" else "small_cnn", 10, NETWORKS[name][1])


def data_of(name: str) -> TensorDataset:
    """Returns 4,096 random samples of a network."""
    torch.manual_seed(1)
    return TensorDataset(torch.randn(4096, *NETWORKS[name][1]), torch.randint(10, (4096,)))


def plain(name: str, horovod: bool) -> tuple[Loop, Callable[[Any], Any], bool]:
    """Returns a step of the textbook's loop, what tells all ranks what rank 0 knows, and whether this is rank 0."""
    model, data, batch = build(name), data_of(name), NETWORKS[name][2]
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)
    forward: nn.Module = model
    if horovod:
        import horovod.torch as hvd

        hvd.init()
        rank = hvd.rank()
        optimizer = hvd.DistributedOptimizer(optimizer, named_parameters=model.named_parameters())
        hvd.broadcast_parameters(model.state_dict(), root_rank=0)

        def tell(value: Any) -> Any:
            return hvd.broadcast_object(value, 0)
    else:
        from mpi4py import MPI

        world = MPI.COMM_WORLD
        rank = world.rank
        leading = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True) if rank == 0 else None
        port = world.bcast(leading.port if leading else None)
        store = leading or torch.distributed.TCPStore("127.0.0.1", port, is_master=False)
        torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=world.size)
        forward = nn.parallel.DistributedDataParallel(model)
        tell = world.bcast

    def step() -> None:
        chosen = torch.randint(len(data), (batch // RANKS,))
        inputs, targets = data.tensors[0][chosen], data.tensors[1][chosen]
        optimizer.zero_grad()
        cross_entropy(forward(inputs), targets).backward()
        optimizer.step()

    return step, tell, rank == 0


def ours(name: str) -> tuple[Loop, Callable[[Any], Any], bool]:
    """Returns the same of this package."""
    import hpc_adabatch as hab
    from hpc_adabatch.training import buckets

    buckets.BYTES = 2**20 * int(os.environ.get("BENCH_BUCKET_MB", buckets.BYTES // 2**20))
    cluster, model = hab.Cluster.start(), build(name)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)
    batches = hab.AdaptiveBatches(data_of(name), NETWORKS[name][2])
    training = hab.AdaptiveTraining(model, optimizer, batches, cluster=cluster)
    steps = (step for epoch in range(10**6) for step in training.epoch(epoch))

    def one() -> None:
        step = next(steps)
        for inputs, targets in step:
            step.backward(cross_entropy(model(inputs), targets))
        step.update()

    return one, cluster.tell, cluster.leads


def serve(arm: str, name: str) -> None:
    """Takes as many steps as each line of stdin says, and prints the seconds that they took; on rank 0."""
    step, tell, leads = ours(name) if "ours" in arm else plain(name, arm.startswith("Horovod"))
    if leads:
        print("ready", flush=True)
    while count := int(tell(int(sys.stdin.readline() or 0) if leads else 0)):
        for number in range(count + count // 10):
            if number == count // 10:
                began_s = time.perf_counter()
            step()
        if leads:
            print(time.perf_counter() - began_s, flush=True)


class Arm:
    """A launch that takes steps when it is told to, and stands still between.

    Args:
        arm: The arm's name.
        network: The network's name.
    """

    def __init__(self, arm: str, network: str) -> None:
        root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        own = {"OMP_NUM_THREADS": "1", "OMPI_MCA_mpi_yield_when_idle": "1"} | ARMS[arm] | root
        line = ["mpirun", "-np", str(RANKS), "--oversubscribe", "--bind-to", "none", sys.executable, __file__]
        self._launcher = subprocess.Popen(
            [*line, "--arm", arm, "--networks", network],
            env=os.environ | own,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._answer() == "ready"
        listed = subprocess.run(["pgrep", "-P", str(self._launcher.pid)], capture_output=True, text=True, check=True)
        self._ranks = list(map(int, listed.stdout.split()))
        self._send(signal.SIGSTOP)

    def steps(self, count: int) -> float:
        """Returns the seconds that so many steps take."""
        self._send(signal.SIGCONT)
        self._say(count)
        seconds = float(self._answer())
        self._send(signal.SIGSTOP)
        return seconds

    def close(self) -> None:
        """Ends the launch."""
        self._send(signal.SIGCONT)
        self._say(0)
        self._launcher.wait()

    def _say(self, count: int) -> None:
        assert self._launcher.stdin
        self._launcher.stdin.write(f"{count}\n")
        self._launcher.stdin.flush()

    def _answer(self) -> str:
        assert self._launcher.stdout
        line = self._launcher.stdout.readline().strip()
        if not line:
            raise RuntimeError("a launch has ended; it has said why")
        return line

    def _send(self, number: int) -> None:
        for pid in self._ranks:
            os.kill(pid, number)


def compare(network: str, rounds: int, launches: int, seconds: float) -> list[str]:
    """Returns the lines of the page on one network."""
    names = [name for name in ARMS if network == "wide" or "buckets" not in name]
    times: dict[str, list[float]] = {name: [] for name in names}
    count = 0
    for launch in range(launches):
        arms = {name: Arm(name, network) for name in names}
        for arm in arms.values():
            arm.steps(5)
        count = count or max(4, round(seconds / (arms["DDP, plain"].steps(10) / 10)))
        for number in range(launch, rounds, launches):
            for name in names[:: 1 if number % 2 else -1]:
                times[name].append(1000 * arms[name].steps(count) / count)
        for arm in arms.values():
            arm.close()
    weights = sum(parameter.numel() for parameter in build(network).parameters())
    title, _, batch = NETWORKS[network]
    lines = ["", f"## {title}: {weights:,} weights, global batch {batch}, {count} steps a turn", ""]
    lines += ["| arm | ms a step | quartiles |", "|---|---|---|"]
    for name, of in times.items():
        low, middle, high = statistics.quantiles(of, n=4)
        lines.append(f"| {name} | {middle:.2f} | {low:.2f} to {high:.2f} |")
    lines += ["", "| ratio of a round | median | quartiles |", "|---|---|---|"]
    for a, b in [pair for pair in RATIOS if pair[0] in times]:
        low, middle, high = statistics.quantiles([x / y for x, y in zip(times[a], times[b], strict=True)], n=4)
        lines.append(f"| {a} / {b} | {middle:.3f} | {low:.3f} to {high:.3f} |")
    return lines


def main() -> None:
    """Measures, and prints or writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--launches", type=int, default=5, help="that share the rounds")
    parser.add_argument("--seconds", type=float, default=1.5, help="of a turn")
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--write", type=Path)
    parser.add_argument("--arm", help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.arm:
        serve(flags.arm, flags.networks)
        return
    lines = [
        "# A step under each engine",
        "",
        f"    python benchmarks/engines.py --rounds {flags.rounds} --launches {flags.launches}"
        f" --seconds {flags.seconds:g}",
        "",
        f"{machine(RANKS)}; {versions()}; {flags.rounds} rounds of {flags.launches} launches: medians (quartiles).",
    ]
    for network in flags.networks.split(","):
        found = compare(network, flags.rounds, flags.launches, flags.seconds)
        print("\n".join(found), flush=True)
        lines += found
    if flags.write:
        flags.write.write_text("\n".join([*lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
