"""All ranks of a launch join, work and leave together, and a fault on one of them ends all.

InputError that all ranks raise      one line from rank 0, exit code 2
InputError of one rank               one line from that rank, all are ended with 2
Ctrl-C                               all are ended with 130
any other exception                  its traceback, each line with the rank, all are ended with 1
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING

from .errors import InputError

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
    except InputError as error:
        if not error.shared:  # the other ranks do not raise it, and would wait for this one
            complain(error, f" (rank {cluster.rank})" if cluster.size > 1 else "")
            cluster.abort(2)
        if cluster.leads:
            complain(error)
        code = 2
    except BaseException as error:
        _report_fault(error, cluster.rank)
        cluster.abort(130 if isinstance(error, KeyboardInterrupt) else 1)
        raise
    cluster.stop()
    return code


def complain(error: InputError, where: str = "") -> None:
    """Prints the error's line to standard error.

    Args:
        error: The error.
        where: Words behind "error", such as the rank that raised it.
    """
    print(f"adabatch: error{where}: {error}", file=sys.stderr, flush=True)


def _report_fault(error: BaseException, rank: int) -> None:
    """Prints the traceback of a rank that failed, and one line on a rank that only lost another one."""
    if type(error).__name__ == "HorovodInternalError":
        print(f"adabatch: rank {rank} ends because another rank did", file=sys.stderr, flush=True)
        return
    text = "".join(traceback.format_exception(error)).rstrip()
    print("\n".join(f"adabatch: rank {rank}: {line}" for line in text.splitlines()), file=sys.stderr, flush=True)
