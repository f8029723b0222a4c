"""All ranks of a launch join, work and leave together, and a fault on one of them ends all (cluster/ends.py)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .cluster import Cluster


def on_all_ranks(work: Callable[[Cluster], int], engine: str | None = None) -> int:
    """Joins the other ranks, works and leaves; a fault on one rank ends all. Returns the exit code.

    Args:
        work: Takes the ranks and returns the exit code; called on every rank.
        engine: The library that sums over ranks; ADABATCH_ENGINE, or the one that fits, when not given.
    """
    from .cluster import start
    from .cluster.ends import fail, leave

    cluster = start(engine)
    try:
        code = work(cluster)
    except BaseException as error:
        code = fail(error, cluster)
    leave(cluster, code)
    return code
