"""Slurm clusters for tests; skipped where nobody may start one, a failure where CI=true and packages are missing."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # tests/ has no packages
from cluster import SlurmCluster, missing_packages


def require() -> None:
    """What every cluster needs."""
    if os.geteuid() != 0:
        pytest.skip("a test cluster is started by root: Slurm's daemons and namespaces need it")
    missing = missing_packages()
    if missing:
        advice = f"a test cluster needs: apt-get install {' '.join(missing)}"
        pytest.fail(advice) if os.environ.get("CI") == "true" else pytest.skip(advice)


@pytest.fixture(scope="module")
def cluster() -> Iterator[SlurmCluster]:
    """Four nodes with two processors each."""
    require()
    with SlurmCluster(4, 2) as one:
        yield one


@pytest.fixture(scope="module")
def namespaced_cluster() -> Iterator[SlurmCluster]:
    """The same with a network: ssh between nodes, and `with namespaced_cluster.links(1000):` for slow links."""
    require()
    with SlurmCluster(4, 2, namespaces=True) as one:
        yield one


@pytest.fixture
def make_cluster() -> Iterator[Callable[..., SlurmCluster]]:
    """make_cluster(...): a cluster like no other, until the test ends."""
    require()
    made: list[SlurmCluster] = []

    def make(*arguments: int, **options: object) -> SlurmCluster:
        made.append(SlurmCluster(*arguments, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.close()
