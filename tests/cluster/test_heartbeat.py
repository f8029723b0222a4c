"""How ranks hear that one is frozen, has died, or waits in a circle: threads of one process, and real sockets."""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from hpc_adabatch.cluster import heartbeat
from hpc_adabatch.cluster.heartbeat import Heartbeat
from hpc_adabatch.cluster.watchdog import Watchdog
from hpc_adabatch.processes import Process

pytestmark = pytest.mark.long

LIMIT_S = 0.6


class Ranks:
    """So many ranks, each of which is a heartbeat with its own watchdog; what would end one is kept instead."""

    def __init__(self, size: int) -> None:
        self.ended: dict[int, str] = {}
        self.dogs = [self._dog(rank) for rank in range(size)]
        self.hearts = [Heartbeat(rank, dog, LIMIT_S) for rank, dog in enumerate(self.dogs)]
        self.heard: list[bool] = []
        self._meet, self._items = threading.Barrier(size), [None] * size

    def _dog(self, rank: int) -> Watchdog:
        dog = Watchdog(rank, 60.0)
        dog.phase = f"step {rank}"

        def end(why: str) -> None:
            self.ended.setdefault(rank, why)
            self.hearts[rank]._over.set()

        dog.end = end  # type: ignore[method-assign]
        return dog

    def gather(self, rank: int) -> Callable[[Any], list[Any]]:
        def of(item: Any) -> list[Any]:
            self._items[rank] = item
            self._meet.wait(timeout=10)
            found = list(self._items)
            self._meet.wait(timeout=10)
            return found

        return of

    def start(self) -> None:
        def one(rank: int) -> None:
            self.heard.append(self.hearts[rank].start(self.gather(rank)))

        threads = [threading.Thread(target=one, args=(rank,)) for rank in range(len(self.hearts))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def stop(self) -> None:
        for heart in self.hearts:
            heart.stop()


@pytest.fixture
def ranks(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(heartbeat, "GRACE_S", 0.1)
    monkeypatch.setattr(heartbeat, "CONNECT_S", 1.0)
    made = Ranks(3)
    yield made
    made.stop()


def until(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def freeze(heart: Heartbeat) -> None:
    """As SIGSTOP does: the connections stay, and nothing is said."""
    heart._over.set()
    assert heart._thread is not None
    heart._thread.join()
    heart._over = threading.Event()


def test_ranks_that_live_hear_each_other_and_leave_one_by_one(ranks: Ranks) -> None:
    ranks.start()
    assert ranks.heard == [True] * 3
    time.sleep(2 * LIMIT_S)
    for heart in reversed(ranks.hearts):
        heart.stop()
        time.sleep(0.5)
    assert ranks.ended == {}


def test_a_frozen_rank_is_told_by_rank_0(ranks: Ranks) -> None:
    ranks.start()
    time.sleep(0.2)
    freeze(ranks.hearts[2])
    until(lambda: 0 in ranks.ended)
    assert "rank 2 on " in ranks.ended[0]
    assert "in step 2, has not been heard for" in ranks.ended[0]
    assert "this one is in step 0, at " in ranks.ended[0]


def test_a_frozen_rank_0_is_told_by_the_others(ranks: Ranks) -> None:
    ranks.start()
    time.sleep(0.2)
    freeze(ranks.hearts[0])
    until(lambda: {1, 2} <= ranks.ended.keys())
    assert all("rank 0 on " in ranks.ended[rank] and "has not been heard" in ranks.ended[rank] for rank in (1, 2))


def test_a_rank_that_has_died_is_told_at_once(ranks: Ranks) -> None:
    ranks.start()
    time.sleep(0.2)
    freeze(ranks.hearts[1])
    ranks.hearts[1]._close()
    until(lambda: 0 in ranks.ended)
    assert "rank 1 on " in ranks.ended[0]
    assert ", in step 1, is gone; " in ranks.ended[0]


def test_ranks_that_wait_for_each_other_are_told(ranks: Ranks) -> None:
    """One is at its end, the others in a step. Where one of them computes, nothing is said, however long."""
    ranks.start()
    for dog in ranks.dogs[:2]:
        dog.waits = True
    ranks.dogs[2].phase = "the end"
    time.sleep(3 * LIMIT_S)
    assert ranks.ended == {}
    ranks.dogs[2].waits = True
    until(lambda: 0 in ranks.ended)
    assert "all ranks wait for each other" in ranks.ended[0]


def test_ranks_that_wait_and_move_are_left_alone(ranks: Ranks) -> None:
    ranks.start()
    for dog in ranks.dogs:
        dog.waits = True
    for _ in range(30):
        ranks.dogs[1].beat()
        time.sleep(0.1)
    assert ranks.ended == {}


def test_there_are_no_heartbeats_where_rank_0_cannot_be_reached(ranks: Ranks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Heartbeat, "_connect", lambda self, *_: self._rank == 1)
    ranks.start()
    assert ranks.heard == [False] * 3
    time.sleep(2 * LIMIT_S)
    assert ranks.ended == {}


def test_whoever_else_connects_is_left_out(ranks: Ranks, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bug story: one that closed its connection without a word kept rank 0 reading for ever."""
    listens = socket.create_server
    strangers = []

    def create_server(*given: Any, **named: Any) -> socket.socket:
        made = listens(*given, **named)
        for words in (b"", b"GET / HTTP/1.1\n", b"\xff 1\n"):
            strangers.append(socket.create_connection(("127.0.0.1", made.getsockname()[1])))
            strangers[-1].sendall(words)
            strangers[-1].shutdown(socket.SHUT_WR)
        return made

    monkeypatch.setattr(socket, "create_server", create_server)
    ranks.start()
    for stranger in strangers:
        stranger.close()
    assert ranks.heard == [True] * 3
    time.sleep(2 * LIMIT_S)
    assert ranks.ended == {}


def test_a_network_that_is_gone_is_no_fault_of_the_thread() -> None:
    """Bug story: an error other than a reset, as of a host without a route, would have ended the thread."""

    class Unreachable:
        def setblocking(self, _: bool) -> None: ...

        def setsockopt(self, *_: int) -> None: ...

        def recv(self, _: int) -> bytes:
            raise OSError(errno.EHOSTUNREACH, "No route to host")

        send = recv

    peer = heartbeat.Peer(1, Process.this(), Unreachable())  # type: ignore[arg-type]
    peer.tell(b"0 0 step 1")
    assert not peer.hear()
    assert peer.closed
