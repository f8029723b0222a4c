"""All ranks of a launch join, work and leave together, and a fault on one of them ends all.

OneLineError that all ranks raise    one line from rank 0, and its exit code (errors.py)
OneLineError of one rank             one line from that rank, all are ended with its exit code
Ctrl-C                               all are ended with 130
any other exception                  its traceback, each line with the rank, all are ended with 1
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING

from .errors import OneLineError, complain

if TYPE_CHECKING:
    from .cluster import Cluster


def on_all_ranks(work: Callable[[Cluster], int]) -> int:
    """Joins the other ranks, works and leaves; a fault on one rank ends all. Returns the exit code.

    Args:
        work: Takes the ranks and returns the exit code; called on every rank.
    """
    from .cluster import start

    cluster = start()
    try:
        code = work(cluster)
    except OneLineError as error:
        if not error.shared:  # the other ranks do not raise it, and would wait for this one
            where = f" (rank {cluster.rank})" if cluster.size > 1 else ""
            complain(f"adabatch: error{where}: {error}")
            cluster.abort(error.exit_code)
        if cluster.leads:
            complain(f"adabatch: error: {error}")
        code = error.exit_code
    except BaseException as error:
        _report_fault(error, cluster.rank)
        cluster.abort(130 if isinstance(error, KeyboardInterrupt) else 1)
        raise
    cluster.stop()
    return code


def _report_fault(error: BaseException, rank: int) -> None:
    """Prints the traceback of a rank that failed, and one line on a rank that only lost another one."""
    if type(error).__name__ == "HorovodInternalError":
        complain(f"adabatch: rank {rank} ends because another rank did")
        return
    text = "".join(traceback.format_exception(error)).rstrip()
    complain("\n".join(f"adabatch: rank {rank}: {line}" for line in text.splitlines()))
