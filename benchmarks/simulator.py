"""Compares closed forms of sums over up to 4,096 ranks with a simulation, and predictions of studies with new jobs.

    python benchmarks/simulator.py [--bytes 102e6] [--studies 10] [--seed 0]

    closed forms    ranks by powers of two, none late; in the last columns with lognormal lateness
    studies         1, 2 and 4 nodes of made-up machines whose costs are known (synthetic.py), with three repeats;
                    the interval is right where it holds the time of a new job on 8 nodes

All numbers are computed, and the same on any machine, except the seconds that the simulation takes.

The closed forms and the model are in hpc_adabatch/study/scaling/, the simulation in allreduce.py.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator

import numpy as np
from allreduce import double_tree, hierarchical, lognormal, on_time, ring, tree
from synthetic import any_machine, layout_of

from hpc_adabatch.study.scaling.model import ScalingModel
from hpc_adabatch.study.scaling.network import double_tree_s, hierarchical_s, preset, ring_s, tree_s

RANKS = [1 << power for power in range(1, 13)]
LATE_S, SIGMA = 2e-3, 1.0  # median lateness, and the standard deviation of its logarithm
NETWORK = preset("v100")
Case = tuple[str, Callable[[int, float], float], Callable[[np.ndarray, float], np.ndarray]]

CASES: list[Case] = [
    ("ring", lambda n, size: ring_s(n, size, NETWORK.between), lambda start, size: ring(start, size, NETWORK.between)),
    ("tree", lambda n, size: tree_s(n, size, NETWORK.between), lambda start, size: tree(start, size, NETWORK.between)),
    (
        "double tree",
        lambda n, size: double_tree_s(n, size, NETWORK.between),
        lambda start, size: double_tree(start, size, NETWORK.between),
    ),
    (
        "hierarchical",
        lambda n, size: hierarchical_s(NETWORK, n // 4, size),
        lambda start, size: hierarchical(start.reshape(-1, 4), size, NETWORK),
    ),
]


def closed_forms(message_bytes: float, seed: int) -> Iterator[str]:
    """Yields a line for each number of ranks and algorithm."""
    draw, began_s, worst = np.random.default_rng(seed), time.perf_counter(), 0.0
    yield f"{message_bytes / 1e6:.4g} MB over IB EDR, nominal; hierarchical: 4 ranks a node by NVLink 2 as well"
    yield f"late: lognormal, median {1000 * LATE_S:g} ms, sigma {SIGMA:g}; delay beyond the latest start, in sums"
    yield ""
    yield "| ranks | algorithm | closed form, ms | simulated, ms | error | seconds | late ones, ms | after the latest |"
    yield "|--:|---|--:|--:|--:|--:|--:|--:|"
    for ranks in RANKS:
        for name, formula, simulate in CASES:
            if name == "hierarchical" and ranks < 8:
                continue
            expected, start_s = formula(ranks, message_bytes), time.perf_counter()
            found = float(simulate(on_time(ranks), message_bytes).max())
            seconds, error = time.perf_counter() - start_s, found / expected - 1
            worst = max(worst, abs(error))
            start = lognormal(ranks, LATE_S, SIGMA, draw)
            late = float(simulate(start, message_bytes).max())
            after = f"{(late - start.max()) / expected:.3f}"
            numbers = f"{1000 * expected:.3f} | {1000 * found:.3f} | {100 * error:+.4f} % | {seconds:.3f}"
            yield f"| {ranks} | {name} | {numbers} | {1000 * late:.3f} | {after} |"
    yield ""
    yield f"largest error {100 * worst:.4f} %, {time.perf_counter() - began_s:.1f} s in all, late ranks included"


def studies(count: int, seed: int) -> Iterator[str]:
    """Yields a line for each synthetic study."""
    for mode in ("strong", "weak"):
        for hides in (False, True):
            draw, right = np.random.default_rng(seed), 0
            yield ""
            yield f"{mode} scaling, communication {'partly hidden by computing' if hides else 'all exposed'}"
            yield ""
            yield "| study | predicted on 8 nodes, ms | 95 % interval | a new job, ms | right |"
            yield "|--:|--:|--:|--:|---|"
            for study in range(1, count + 1):
                machine = any_machine(draw, hides=hides)
                found = ScalingModel(machine.study(mode, (1, 2, 4), 3, draw)).predict(layout_of(mode, 8))
                truth = machine.job(layout_of(mode, 8), draw).step_s
                low, high = found.low or 0.0, found.high or 0.0
                right += low <= truth <= high
                interval = f"{1000 * low:.1f} to {1000 * high:.1f}"
                good = "yes" if low <= truth <= high else "no"
                yield f"| {study} | {1000 * found.value:.1f} | {interval} | {1000 * truth:.1f} | {good} |"
            yield ""
            yield f"right in {right} of {count}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--bytes", type=float, default=102e6, help="bytes of the message; those of ResNet-50's gradient when not given"
    )
    parser.add_argument("--studies", type=int, default=10, help="number of studies of each kind")
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args()
    for line in closed_forms(flags.bytes, flags.seed):
        print(line, flush=True)
    for line in studies(flags.studies, flags.seed):
        print(line, flush=True)


if __name__ == "__main__":
    main()
