"""Ranks that hear from each other while they work: a frozen one, or a lost node, is known within a minute.

    rank 1, 2, ...   a thread: "3 beats, waits, step 12" every few seconds  ->  rank 0
    rank 0           a thread: hears them all, and answers

    not heard for a while           the process is frozen, or its node or network is gone
    closed without a farewell       it has died, and its launcher ends nobody
    all wait, and nothing moves     they wait for different things: one has taken fewer steps than another

The first rank to find one of these says which rank it is, on which host and in which phase, and ends with 75: the
launcher then ends the others. torchrun would wait 30 s for a frozen one, which takes no SIGTERM: on its own host that
rank is killed first. Other launchers kill by themselves, and would end with the code of the killed rank.

The watchdog (watchdog.py) knows no more than that nothing moves here, and so must wait much longer: an evaluation moves
nothing either. Where the ranks cannot reach a port of rank 0 there are no heartbeats.

Silence is counted in a thread's own looks, not by a clock: a job that was suspended as a whole has not been silent.
"""

from __future__ import annotations

import atexit
import contextlib
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..processes import Process
from .watchdog import Watchdog

LOOKS = 15  # within the limit
SILENT_S = 40.0  # and horovodrun takes another 10 s to end: within a minute, all told
CONNECT_S = 5.0
GRACE_S = 5.0  # for a rank that ends well to leave, and for one that failed to say why
NOTICED_S = SILENT_S / LOOKS + GRACE_S + 2.0  # until a rank that has died has ended the others
FAREWELL = b"bye"


@dataclass
class Peer:
    """A rank as another one hears it."""

    rank: int
    """Its number."""
    process: Process
    """The process that it is."""
    connection: socket.socket
    """The connection to it, which never blocks."""
    silent_s: float = 0.0
    """The seconds since it was heard."""
    closed: bool = False
    """True once the connection is closed."""
    left: bool = False
    """True once it has come to its end, and said so."""
    beats: int = -1
    """The times that its main thread has moved."""
    waits: bool = False
    """True while its main thread waits for other ranks."""
    phase: str = ""
    """The words for what it does."""
    unheard: bytes = b""
    """The beginning of a line whose end has not come yet."""

    def __post_init__(self) -> None:
        self.connection.setblocking(False)
        # else a farewell could wait for the answer to the line before it, and be dropped when the connection is closed
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __str__(self) -> str:
        return f"rank {self.rank} on {self.process.host}" + (f", in {self.phase}," if self.phase else "")

    def hear(self) -> bool:
        """Takes in what has come. Reports whether anything has."""
        came = False
        with contextlib.suppress(BlockingIOError):
            try:
                while piece := self.connection.recv(65536):
                    self.unheard, came = self.unheard + piece, True
                self.closed = True
            except BlockingIOError:
                raise
            except OSError:  # reset; or no road to its node any more
                self.closed = True
        *lines, self.unheard = self.unheard.split(b"\n")
        for line in lines:
            if line == FAREWELL:
                self.left = True
            else:
                beats, waits, phase = line.decode().split(" ", 2)
                self.beats, self.waits, self.phase = int(beats), waits == "1", phase
        return came

    def tell(self, line: bytes) -> None:
        """Sends a line; one that does not fit into a full buffer is lost, and another one follows."""
        with contextlib.suppress(OSError):  # hear() tells what is wrong
            self.connection.send(line + b"\n")


class Heartbeat:
    """The thread of this rank that hears the others.

    Args:
        rank: The number of this rank.
        watchdog: The watchdog of this rank, which knows whether it moves, and ends it.
        limit_s: The seconds of silence after which a rank counts as lost.
        kills: True where this rank kills a frozen one of its host before it ends.
    """

    def __init__(self, rank: int, watchdog: Watchdog, limit_s: float = SILENT_S, kills: bool = False) -> None:
        self._rank, self._watchdog, self._limit_s, self._kills = rank, watchdog, limit_s, kills
        self._peers: list[Peer] = []
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._still_s, self._seen = 0.0, ""

    def start(self, gather: Callable[[Any], list[Any]]) -> bool:
        """Connects the ranks, all of which call it, and starts. Returns whether all of them are heard.

        Args:
            gather: Returns the items of all ranks, as ``Cluster.gather`` does.
        """
        with contextlib.ExitStack() as stack:
            listener = None
            if self._rank == 0:
                with contextlib.suppress(OSError):
                    listener = stack.enter_context(socket.create_server(("", 0), backlog=4096))
            word = secrets.token_hex(16)  # rank 0's tells its ranks from whoever else connects
            own = Process.this()
            places = gather((own, word, listener.getsockname()[1] if listener is not None else None))
            first, word, port = places[0]
            reached = port is not None
            if self._rank > 0 and reached:
                reached = self._connect("127.0.0.1" if own.host == first.host else first.host, places[0])
            reached = all(gather(reached))  # else rank 0 would wait for those whose nodes do not know its name
            if reached and listener is not None:
                reached = self._accept(listener, word, [process for process, *_ in places])
            if not all(gather(reached)):
                self._close()
                return False
        self._thread = threading.Thread(target=self._listen, name="heartbeat", daemon=True)
        self._thread.start()
        atexit.register(self.stop)  # of a script that leaves without a word
        return True

    def stop(self) -> None:
        """Says farewell and ends the thread."""
        self._over.set()
        if self._thread is not None:
            atexit.unregister(self.stop)
            self._thread.join()
        for peer in self._peers:
            peer.tell(FAREWELL)
            peer.hear()  # what is unread when a connection is closed resets it
        self._close()

    def _connect(self, address: str, place: tuple[Process, str, int]) -> bool:
        process, word, port = place
        try:
            connection = socket.create_connection((address, port), timeout=CONNECT_S)
            connection.sendall(f"{word} {self._rank}\n".encode())
        except OSError:
            return False
        self._peers = [Peer(0, process, connection)]
        return True

    def _accept(self, listener: socket.socket, word: str, processes: list[Process]) -> bool:
        """Waits for the other ranks. Returns whether all have come."""
        until_s = time.monotonic() + 2 * CONNECT_S
        while len(self._peers) < len(processes) - 1 and (left_s := until_s - time.monotonic()) > 0:
            listener.settimeout(left_s)
            with contextlib.suppress(OSError, ValueError):  # somebody else, who says nothing or something else
                connection, _ = listener.accept()
                connection.settimeout(CONNECT_S)
                with connection.makefile("rb") as lines:
                    told, _, number = lines.readline(100).decode("ascii").partition(" ")
                if told == word:
                    self._peers.append(Peer(int(number), processes[int(number)], connection))
                else:
                    connection.close()
        return len(self._peers) == len(processes) - 1

    def _close(self) -> None:
        for peer in self._peers:
            peer.connection.close()
        self._peers = []

    def _listen(self) -> None:
        look_s = self._limit_s / LOOKS
        while not self._over.wait(look_s):
            own = self._watchdog
            for peer in [peer for peer in self._peers if not peer.left]:
                peer.tell(f"{own.beats} {int(own.waits)} {own.phase}".encode())
                peer.silent_s = 0.0 if peer.hear() else peer.silent_s + look_s
                if peer.left:
                    continue
                if peer.closed:
                    self._end(f"{peer} is gone")
                elif peer.silent_s > self._limit_s:
                    self._end(f"{peer} has not been heard for {peer.silent_s:.0f} s: frozen, or cut off", frozen=peer)
            if self._rank == 0:
                self._look_for_a_circle(look_s)

    def _look_for_a_circle(self, look_s: float) -> None:
        """Ends this rank where each one waits for another and none moves."""
        own = self._watchdog
        seen = f"{own.beats} {[peer.beats for peer in self._peers]}"
        if seen == self._seen and own.waits and all(peer.waits or peer.left for peer in self._peers):
            self._still_s += look_s
        else:
            self._still_s, self._seen = 0.0, seen
        if self._still_s > self._limit_s:
            other = next((peer for peer in self._peers if peer.left or peer.phase != own.phase), self._peers[0])
            does = "has left" if other.left else "waits too"
            self._end(f"all ranks wait for each other for {self._still_s:.0f} s: {other} {does}")

    def _end(self, what: str, frozen: Peer | None = None) -> None:
        if not self._over.wait(GRACE_S):  # else the ranks have just left together
            own = self._watchdog
            if frozen is not None and self._kills:
                frozen.process.kill()
            own.end(f"{what}; this one is in {own.phase}, at {own.where()}")
