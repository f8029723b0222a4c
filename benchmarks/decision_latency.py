"""Times how long a decision takes to reach all ranks, by MPI on a communicator of its own and by Horovod's broadcast.

    for n in 2 4 8; do mpirun -np $n --oversubscribe python benchmarks/decision_latency.py; done
    horovodrun -np 2 --gloo python benchmarks/decision_latency.py

Under Gloo there is no MPI, so both rows are Horovod's. Each message holds the six numbers of a decision, and ranks meet
at a barrier before each. Printed is the median over the repeats on the slowest rank, with quartiles.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from hpc_adabatch import Cluster


def microseconds(send: Callable[[], object], cluster: Cluster, repeats: int) -> list[float]:
    """Returns the microseconds of each message, sorted, without the first ten."""
    found = []
    for number in range(repeats + 10):
        cluster.barrier()
        began_s = time.perf_counter()
        send()
        if number >= 10:
            found.append(1e6 * (time.perf_counter() - began_s))
    return sorted(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=500)
    flags = parser.parse_args()
    cluster = Cluster.start()
    numbers, message = [0.0] * 6, torch.zeros(6, dtype=torch.float64)
    roads: dict[str, Callable[[], object]] = {
        "announced": lambda: cluster.announce(numbers),
        "Horovod's broadcast": lambda: cluster.broadcast_(message, "decision"),
    }
    for name, send in roads.items():
        found = max(cluster.gather(microseconds(send, cluster, flags.repeats)), key=statistics.median)
        if cluster.leads:
            quarter = len(found) // 4
            spread = f"{found[quarter]:.0f} to {found[-1 - quarter]:.0f} between quartiles"
            middle = f"{statistics.median(found):8.0f} us"
            print(f"{cluster.size} ranks, {cluster.launcher:18} {name:20} {middle} ({spread})", flush=True)
    cluster.stop()


if __name__ == "__main__":
    main()
