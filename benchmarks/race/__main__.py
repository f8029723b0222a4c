"""Trains the same networks by this package and by its peers over slow links, and writes who is first to an accuracy.

    python benchmarks/race --images DIR --peers PYTHON [--links 1000,250] [--networks cnn,resnet20]
                           [--arms small,adaptdl] [--seeds 0,1,2] [--out DIR] [--write docs/results/race.md]

    ranks      four, each in a network namespace of its own, behind a link of so many Mbit/s both ways: tests/slurm/
    DIR        train/CLASS/FILE and test/CLASS/FILE: CIFAR-10 (https://www.cs.toronto.edu/~kriz/cifar.html) as images
    PYTHON     of an environment with the packages of peers.txt
    needs      root and Debian's Slurm

Runs are trained one after another, seed by seed. Within a seed all arms take turns on each link and network, in one
direction, and in the other one with the next seed. The rate of the large batch is the best of FACTORS times that of the
small one, by the accuracy of the first seed on the fastest link. Finished runs are kept in OUT, so the command can be
stopped at any time, and the next start goes on with those that are missing; failed ones are repeated with --retry only.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[1:1] = [str(HERE.parent), str(HERE.parents[1] / "tests" / "slurm")]  # neither is a package
from cluster import SlurmCluster  # noqa: E402 (after the path is set)
from kept import RANKS, Kept  # noqa: E402
from page import ARMS, document  # noqa: E402
from setting import RATES, STAGES, Run, store, stored  # noqa: E402

FACTORS = (2.0, 4.0, 8.0, 16.0)  # of the rate, for 16 times the batch: 4 is the root of it, 16 linear
TUNED = ("large", "ramp")  # arms that have the large batch's rate
PROBED = 20  # updates
STEADY = "SlurmdTimeout=300\n"  # a node is not given up while the machine is busy


def planned(flags: argparse.Namespace, factors: dict[str, float]) -> Iterator[Run]:
    """Yields all runs, in order; factors of the large batch's rate, by network."""
    of_all = {"epochs": flags.epochs, "samples": flags.samples, "batch": flags.batch}
    for number, seed in enumerate(flags.seeds):
        for link in flags.links:
            for network in flags.networks:
                for arm in flags.arms[:: -1 if number % 2 else 1]:
                    factor = factors.get(network, 1.0) if arm in TUNED else 1.0
                    yield Run(arm=arm, network=network, link_mbit=link, seed=seed, factor=factor, **of_all)


def tune(kept: Kept, some: Run) -> float:
    """Returns the best factor of the large batch's rate, with the network, link and seed of a run."""
    found = {factor: kept.train(replace(some, arm="large", factor=factor)) for factor in FACTORS}
    return max(FACTORS, key=lambda factor: found[factor].get("curve", [{"accuracy": 0.0}])[-1]["accuracy"])


def expected_s(kept: Kept, run: Run) -> float:
    """Returns about how long a run takes, from two short ones of DDP on its link with its network.

    An update of b samples takes s + t b seconds. An arm that chooses its batch itself is taken for AdaBatch.
    """
    short = replace(run, arm="small", seed=0, epochs=1.0, factor=1.0)
    sizes = (run.batch, run.largest)
    found = [kept.train(replace(short, batch=size, samples=min(run.samples, PROBED * size))) for size in sizes]
    if any("failure" in record for record in found):
        return float("nan")
    steps = [record["curve"][-1]["seconds"] / record["curve"][-1]["updates"] for record in found]
    t = max(0.0, (steps[1] - steps[0]) / (run.largest - run.batch))
    s = max(0.0, steps[0] - t * run.batch)
    evaluation_s = found[0]["evaluating_s"] / len(found[0]["curve"])
    start_s = found[0]["job_s"] - found[0]["evaluating_s"] - found[0]["curve"][-1]["seconds"]
    batches = {"small": [run.batch], "large": [run.largest]}.get(run.arm, [run.batch * 2**n for n in range(STAGES)])
    training_s = sum(run.epochs * run.samples / len(batches) * (s / batch + t) for batch in batches)
    return start_s + training_s + 2 * run.epochs * evaluation_s


def read_flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder that holds train/ and test/")
    parser.add_argument(
        "--peers", type=Path, default=Path(sys.executable), help="Python with the packages of peers.txt"
    )
    parser.add_argument("--links", default="1000,250", help="Mbit/s")
    parser.add_argument("--networks", default=",".join(RATES))
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--epochs", type=float, default=20.0, help="passes of the small batch over the images")
    parser.add_argument("--batch", type=int, default=128, help="the small one; the largest is 16 times as large")
    parser.add_argument("--samples", type=int, default=50_000, help="images to train on")
    parser.add_argument("--out", type=Path, default=Path("runs/race"), help="folder of the runs")
    parser.add_argument("--write", type=Path, help="the page's file; printed when not given")
    parser.add_argument("--limit_minutes", type=float, default=120.0, help="minutes after which a run has failed")
    parser.add_argument("--retry", action="store_true", help="repeat failed runs")
    flags = parser.parse_args()
    if not (flags.images / "train").is_dir():
        parser.error(f"--images: given {flags.images}; wanted: a folder that holds train/ and test/")
    if flags.batch % RANKS:
        parser.error(f"--batch: given {flags.batch}; wanted: a multiple of {RANKS}, the ranks")
    flags.out = flags.out.resolve()
    flags.peers = Path.cwd() / flags.peers  # not resolved: by this name Python knows its environment
    flags.links, flags.seeds = ([int(word) for word in text.split(",")] for text in (flags.links, flags.seeds))
    flags.networks, flags.arms = flags.networks.split(","), flags.arms.split(",")
    for name, known in (("networks", RATES), ("arms", ARMS)):
        if unknown := set(getattr(flags, name)) - set(known):
            parser.error(f"--{name}: given {', '.join(unknown)}; allowed: {', '.join(known)}")
    return flags


def main() -> None:
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(143)
    )  # leaves through the cluster, which ends all that it started
    flags = read_flags()
    images = flags.out / "images"
    store(flags.images, images)
    flags.samples = min(flags.samples, len(stored(images, "train")[1])) // RANKS * RANKS
    factors: dict[str, float] = {}
    stopped = False
    with SlurmCluster(RANKS, 1, namespaces=True, extra=STEADY) as cluster:
        kept = Kept(flags.out, cluster, flags.peers, flags.limit_minutes, flags.retry)
        try:
            missing = [run for run in planned(flags, {}) if not kept.record(run)]
            hours = sum(expected_s(kept, run) for run in missing) / 3600
            tunes = bool(set(flags.arms) & set(TUNED))
            grid = f", and {len(FACTORS)} of the large batch with each network for its rate" if tunes else ""
            print(f"{len(missing)} runs are missing, about {hours:.1f} hours{grid}", flush=True)
            if tunes:
                some = {run.network: run for run in planned(flags, {}) if run.link_mbit == max(flags.links)}
                factors = {network: tune(kept, replace(run, seed=flags.seeds[0])) for network, run in some.items()}
            for run in planned(flags, factors):
                kept.train(run)
        except KeyboardInterrupt:
            stopped = True
            print("stopped; the same command goes on from here")
        found = [(run, kept.record(run)) for run in planned(flags, factors)]
    text = document(found, flags, factors)
    if flags.write:
        flags.write.write_text(text, encoding="utf-8")
        print(f"written to {flags.write}")
    else:
        print(text)
    sys.exit(130 if stopped else 0)


if __name__ == "__main__":
    main()
