"""Working on all ranks of a launch: they join, work and leave together, and a fault on one ends them all.

    InputError, known to all ranks       one line from rank 0, exit code 2
    InputError of one rank               one line from that rank, all are ended with 2
    Ctrl-C                               all are ended with 130
    anything else                        its traceback, each line with the rank, all are ended with 1

Not here: the ranks (cluster/), what they work at (cli.py).
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
    """Joins the other ranks, works and leaves. Faults on one rank end all."""
    from .cluster import Cluster

    cluster = Cluster.start()
    try:
        code = work(cluster)
    except InputError as error:
        if not error.shared:  # the other ranks know nothing of it
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
    print(f"adabatch: error{where}: {error}", file=sys.stderr, flush=True)


def _report_fault(error: BaseException, rank: int) -> None:
    """The traceback of the rank that failed; one line from ranks that only lost a peer."""
    if type(error).__name__ == "HorovodInternalError":
        print(f"adabatch: rank {rank} ends because another rank did", file=sys.stderr, flush=True)
        return
    text = "".join(traceback.format_exception(error)).rstrip()
    print("\n".join(f"adabatch: rank {rank}: {line}" for line in text.splitlines()), file=sys.stderr, flush=True)
