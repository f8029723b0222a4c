"""All ranks of a launch join, work and leave together, and a fault on one of them ends all.

OneLineError that all ranks raise    one line from rank 0, and its exit code (errors.py)
OneLineError of one rank             one line from that rank, all are ended with its exit code
Ctrl-C                               all are ended with 130
any other exception                  its traceback, each line with the rank, all are ended with 1

Launchers pass exit codes on in different ways: the rank that knows the code leaves it in a file for launch/run.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from .environment import code_file
from .errors import OneLineError, complain

if TYPE_CHECKING:
    from .cluster import Cluster


def on_all_ranks(work: Callable[[Cluster], int], engine: str | None = None) -> int:
    """Joins the other ranks, works and leaves; a fault on one rank ends all. Returns the exit code.

    Args:
        work: Takes the ranks and returns the exit code; called on every rank.
        engine: The library that sums over ranks; ADABATCH_ENGINE, or the one that fits, when not given.
    """
    from .cluster import start

    cluster = start(engine)
    try:
        code = work(cluster)
    except OneLineError as error:
        if not error.shared:  # the other ranks do not raise it, and would wait for this one
            where = f" (rank {cluster.rank})" if cluster.size > 1 else ""
            complain(f"adabatch: error{where}: {error}")
            leave_code(error.exit_code)
            cluster.abort(error.exit_code)
        if cluster.leads:
            complain(f"adabatch: error: {error}")
        code = error.exit_code
    except BaseException as error:
        code = 130 if isinstance(error, KeyboardInterrupt) else 1
        if _report_fault(error, cluster):
            leave_code(code)
        cluster.abort(code)
        raise
    if cluster.leads and code != 0:
        leave_code(code)  # before any other rank ends: torchrun then ends this one, too
    cluster.stop()
    return code


def leave_code(code: int) -> None:
    """Leaves the exit code for launch/run, where it was called by that, and no rank has left one.

    0 takes back what these ranks have left before torchrun started them again.
    """
    file = code_file()
    if file is None:
        return
    with suppress(OSError):
        if code == 0:
            file.unlink()
        else:
            with file.open("x", encoding="ascii") as written:
                written.write(str(code))


def _report_fault(error: BaseException, cluster: Cluster) -> bool:
    """Prints the traceback of a rank that failed, or a line of one that lost another. Reports whether it failed."""
    if cluster.lost_a_rank(error):
        complain(f"adabatch: rank {cluster.rank} ends because another rank did")
        return False
    text = "".join(traceback.format_exception(error)).rstrip()
    complain("\n".join(f"adabatch: rank {cluster.rank}: {line}" for line in text.splitlines()))
    return True
