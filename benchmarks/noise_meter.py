"""Times DDP with the noise meter beside bare DDP, in turn in one run.

    torchrun --nproc-per-node 2 benchmarks/noise_meter.py [--rounds 15] [--seconds 2] [--networks digits,resnet20,wide]
        [--write FILE]

    arm                   what is added to DistributedDataParallel and torch's SGD
    bare                  nothing
    bare, once more       nothing: what the machine's scatter makes of equal loops
    one step in 10        NoiseMeter, as it is by default
    every step            NoiseMeter(every=1)
    a communication hook  that averages as DDP does, and measures nothing: what the meter would stand on as such a hook

All loops live in the same processes, with the same networks (engines.py), random data, batches and process group. Each
round runs all of them, from first to last or from last to first, for a number of steps that is a multiple of 10. A
ratio is taken within each round.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
from engines import NETWORKS, build, data_of
from machine import machine, versions
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

import hpc_adabatch as hab

BARE, HOOK = "bare", "a communication hook"
ARMS: dict[str, int | None] = {  # steps from one measurement to the next
    BARE: None,
    "bare, once more": None,
    "one step in 10": 10,
    "every step": 1,
    HOOK: None,
}
Loop = Callable[[], None]


def average(_, bucket):  # DDP wants its own annotations or none
    """Averages a bucket as DDP does by itself."""
    work = dist.all_reduce(bucket.buffer().mul_(1 / dist.get_world_size()), async_op=True)
    return work.get_future().then(lambda done: done.value()[0])


def loop(name: str, arm: str) -> Loop:
    """Returns a step of one arm."""
    data, samples = data_of(name), NETWORKS[name][2] // dist.get_world_size()
    model = DistributedDataParallel(build(name))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)
    every = ARMS[arm]
    meter = hab.NoiseMeter(model, every=every, population=len(data)) if every else None
    if arm == HOOK:
        model.register_comm_hook(None, average)

    def step() -> None:
        chosen = torch.randint(len(data), (samples,))
        if meter:
            meter.piece(samples)
        cross_entropy(model(data.tensors[0][chosen]), data.tensors[1][chosen]).backward()
        if meter:
            meter.step()
        optimizer.step()
        optimizer.zero_grad()

    return step


def timed(step: Loop, count: int) -> float:
    """Returns the milliseconds of a step, over so many."""
    dist.barrier()
    began_s = time.perf_counter()
    for _ in range(count):
        step()
    dist.barrier()
    return 1000 * (time.perf_counter() - began_s) / count


def compare(name: str, rounds: int, seconds: float) -> list[str]:
    """Returns the lines of the page on one network."""
    loops = {arm: loop(name, arm) for arm in ARMS}
    for step in loops.values():
        timed(step, 10)
    took = torch.tensor(timed(loops[BARE], 10))
    dist.broadcast(took, 0)  # all ranks take as many steps
    count = 10 * max(1, round(100 * seconds / float(took)))
    times: dict[str, list[float]] = {arm: [] for arm in loops}
    for number in range(rounds):
        for arm in list(loops)[:: 1 if number % 2 else -1]:
            times[arm].append(timed(loops[arm], count))
    weights = sum(parameter.numel() for parameter in build(name).parameters())
    title, _, batch = NETWORKS[name]
    lines = ["", f"## {title}: {weights:,} weights, global batch {batch}, {count} steps a turn", ""]
    lines += ["| arm | ms a step | of bare DDP, in its round | quartiles |", "|---|---|---|---|"]
    for arm, of in times.items():
        ratios = [own / bare for own, bare in zip(of, times[BARE], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        lines.append(f"| {arm} | {statistics.median(of):.2f} | {middle:.3f} | {low:.3f} to {high:.3f} |")
    return lines


def main() -> None:
    """Measures, and prints or writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=2, help="of a turn, about")
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--write", type=Path)
    flags = parser.parse_args()
    dist.init_process_group("gloo")
    leads, ranks = dist.get_rank() == 0, dist.get_world_size()
    lines = [
        "# What the noise meter costs",
        "",
        f"    torchrun --nproc-per-node {ranks} benchmarks/noise_meter.py --rounds {flags.rounds}"
        f" --seconds {flags.seconds:g}",
        "",
        f"{machine(ranks)}; {versions()}; {flags.rounds} rounds: medians (quartiles).",
    ]
    for network in flags.networks.split(","):
        found = compare(network, flags.rounds, flags.seconds)
        gc.collect()  # its loops make room for the next
        if leads:
            print("\n".join(found), flush=True)
        lines += found
    if leads and flags.write:
        flags.write.write_text("\n".join([*lines, ""]), encoding="utf-8")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
