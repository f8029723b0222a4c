"""How a rank ends: in good order with the others, or at once, taking them along.

OneLineError that all ranks raise    one line from rank 0, and its exit code (errors.py)
OneLineError of one rank             one line from that rank, all are ended with its exit code
Ctrl-C                               all are ended with 130
another rank is lost                 the launcher ends this one, or the heartbeat: both know which one is lost
any other exception                  its traceback, each line with the rank, all are ended with 1

Launchers pass exit codes on in different ways: the rank that knows the code leaves it in a file for launch/run.
"""

from __future__ import annotations

import signal
import time
import traceback

from ..environment import leave_code
from ..errors import OneLineError, complain
from .cluster import Cluster
from .heartbeat import NOTICED_S


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
    if cluster.lost_a_rank(error):
        _wait_to_be_ended()
        complain(f"adabatch: rank {cluster.rank} ends because another rank did")
    else:
        _report_fault(error, cluster)
        leave_code(code)
    cluster.abort(code)
    raise error


def leave(cluster: Cluster, code: int) -> None:
    """Leaves the ranks in good order, all of which call this with one exit code."""
    if cluster.leads and code != 0:
        leave_code(code)  # before any other rank ends: torchrun then ends this one, too
    cluster.stop()


def _wait_to_be_ended() -> None:
    """Waits for those who know which rank is lost; a code of this rank's own would come before the launcher's."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # with which a launcher ends this rank
    time.sleep(NOTICED_S)


def _report_fault(error: BaseException, cluster: Cluster) -> None:
    """Prints the traceback, each line with the rank."""
    text = "".join(traceback.format_exception(error)).rstrip()
    complain("\n".join(f"adabatch: rank {cluster.rank}: {line}" for line in text.splitlines()))
