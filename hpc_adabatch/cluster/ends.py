"""How a rank ends: in good order with the others, or at once, taking them along.

OneLineError that all ranks raise    one line from rank 0, and its exit code (errors.py)
OneLineError of one rank             one line from that rank, all are ended with its exit code
Ctrl-C                               all are ended with 130
any other exception                  its traceback, each line with the rank, all are ended with 1

Launchers pass exit codes on in different ways: the rank that knows the code leaves it in a file for launch/run.
"""

from __future__ import annotations

import traceback

from ..environment import leave_code
from ..errors import OneLineError, complain
from .cluster import Cluster


def fail(error: BaseException, cluster: Cluster) -> int:
    """Tells of an exception. Returns the exit code where all ranks have raised it; else ends them at once."""
    if isinstance(error, OneLineError):
        if error.shared:
            if cluster.leads:
                complain(f"adabatch: error: {error}")
            return error.exit_code
        where = f" (rank {cluster.rank})" if cluster.size > 1 else ""
        complain(f"adabatch: error{where}: {error}")  # the other ranks do not raise it, and would wait for this one
        leave_code(error.exit_code)
        cluster.abort(error.exit_code)
        return error.exit_code
    code = 130 if isinstance(error, KeyboardInterrupt) else 1
    if _report_fault(error, cluster):
        leave_code(code)
    cluster.abort(code)
    raise error


def leave(cluster: Cluster, code: int) -> None:
    """Leaves the ranks in good order, all of which call this with one exit code."""
    if cluster.leads and code != 0:
        leave_code(code)  # before any other rank ends: torchrun then ends this one, too
    cluster.stop()


def _report_fault(error: BaseException, cluster: Cluster) -> bool:
    """Prints the traceback of a rank that failed, or a line of one that lost another. Reports whether it failed."""
    if cluster.lost_a_rank(error):
        complain(f"adabatch: rank {cluster.rank} ends because another rank did")
        return False
    text = "".join(traceback.format_exception(error)).rstrip()
    complain("\n".join(f"adabatch: rank {cluster.rank}: {line}" for line in text.splitlines()))
    return True
