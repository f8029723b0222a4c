"""Where the ranks meet that torch.distributed joins: an address and a port, which rank 0 listens at.

torchrun                  MASTER_ADDR, MASTER_PORT: its own store is there already, or rank 0 opens it; ranks that
                          --max-restarts has started again agree on a part of it that is new
MPI between the ranks     rank 0 takes a free port, and tells it by MPI
the user or the site      MASTER_ADDR, MASTER_PORT, as torch's own programs read them
srun                      the step's first node, and a port that follows from job and step; a second one where the
                          first is taken, told apart by a word that rank 0 leaves in the store
"""

from __future__ import annotations

import secrets
import socket
import time
from datetime import timedelta

import torch.distributed as dist

from ..environment import Launch, keeps_store, master, slurm_step
from ..errors import InputError
from .mpi import Road

PORTS = (15_000, 32_000)  # below those that Linux gives to programs that ask for none
TRIES = 4
PATIENCE_S, LONGEST_S = 20.0, 600.0
ASKED_EVERY_S = 0.01


def meet(launch: Launch, road: Road | None) -> dist.Store:
    """Returns the store through which all ranks find each other.

    Args:
        launch: This process's place among the ranks.
        road: MPI between all ranks; None without it.

    Raises:
        InputError: Nothing tells where to meet, or rank 0 was not there.
    """
    first, n_ranks, limit = launch.rank == 0, launch.n_ranks, timedelta(seconds=LONGEST_S)
    known = master()
    if known is not None:
        host, port = known
        listens = first and not (launch.launcher == "torchrun" and keeps_store())
        try:
            store = dist.TCPStore(host, port, n_ranks, is_master=listens, timeout=limit, wait_for_workers=False)
            return _anew(store, launch) if launch.launcher == "torchrun" else store
        except (dist.DistNetworkError, dist.DistStoreError) as error:
            given = f"{host}:{port} ({str(error).splitlines()[0]})"
            example = f"export MASTER_ADDR={socket.gethostname()} MASTER_PORT=29500"
            raise InputError("MASTER_ADDR", given, "a free port of rank 0's node, which all reach", example) from error
    if road is not None:
        own = dist.TCPStore("0.0.0.0", 0, n_ranks, is_master=True, wait_for_workers=False) if first else None
        host, port = road.tell((socket.gethostname(), own.port) if own is not None else None)
        host = "localhost" if host == socket.gethostname() else host
        return own or dist.TCPStore(host, port, n_ranks, is_master=False, timeout=limit, wait_for_workers=False)
    step = slurm_step()
    if step is None:
        example = "export MASTER_ADDR=FIRST_NODE MASTER_PORT=29500; or torchrun, mpirun or srun"
        raise InputError("MASTER_ADDR", "nothing", f"the node of rank 0, where {launch.launcher} tells none", example)
    return _listen(step, n_ranks) if first else _find(step, n_ranks)


def _anew(store: dist.Store, launch: Launch) -> dist.Store:
    """Returns a part of the store in which no ranks have met before.

    Torchrun starts lost ranks again and keeps its store, in which the addresses of the lost ones still stand; its count
    of restarts is each node's own. So each rank asks under a word of its own, and rank 0 answers with one for all.
    """
    word = secrets.token_hex(8)
    if launch.rank > 0:
        store.set(f"asks {launch.rank}", word)
        word = store.get(f"answer to {word}").decode()
        store.set(f"{word} heard by {launch.rank}", "")
    asking, until = set(range(1, launch.n_ranks)) if launch.rank == 0 else set(), time.monotonic() + LONGEST_S
    while asking:
        for rank in [rank for rank in asking if store.check([f"asks {rank}"])]:
            store.set(f"answer to {store.get(f'asks {rank}').decode()}", word)  # perhaps to one that is gone
        asking -= {rank for rank in asking if store.check([f"{word} heard by {rank}"])}
        if time.monotonic() > until:
            raise InputError("ranks", f"{sorted(asking)} not met in {LONGEST_S:g} s", "all that torchrun started")
        time.sleep(ASKED_EVERY_S)
    return dist.PrefixStore(word, store)


def ports(word: str) -> list[int]:
    """Returns the ports to try, in order, which follow from a word that only these ranks share."""
    low, high = PORTS
    digits = int.from_bytes(word.encode(), "big")
    return [low + (digits + 7919 * number) % (high - low) for number in range(TRIES)]


def _listen(step: tuple[str, str], n_ranks: int) -> dist.Store:
    word, refused = step[0], ""
    for port in ports(word):
        try:
            store = dist.TCPStore("0.0.0.0", port, n_ranks, is_master=True, wait_for_workers=False)
        except dist.DistNetworkError as error:  # another program listens there
            refused = str(error).splitlines()[0]
            continue
        store.set("word", word)
        return store
    raise InputError(
        "ports", f"{ports(word)}, all taken ({refused})", "a free one", "export MASTER_ADDR=... MASTER_PORT=..."
    )


def _find(step: tuple[str, str], n_ranks: int) -> dist.Store:
    (word, host), until = step, time.monotonic() + LONGEST_S
    while time.monotonic() < until:
        for port in ports(word):
            try:
                patience = timedelta(seconds=PATIENCE_S)
                store = dist.TCPStore(host, port, n_ranks, is_master=False, timeout=patience, wait_for_workers=False)
                if store.get("word").decode() == word:
                    store.set_timeout(timedelta(seconds=LONGEST_S))
                    return store
            except (dist.DistNetworkError, dist.DistStoreError, RuntimeError):
                continue
    raise InputError(
        "ranks", f"rank 0 not met at {host} in {LONGEST_S:g} s", "a node that all reach", "export MASTER_ADDR=..."
    )
