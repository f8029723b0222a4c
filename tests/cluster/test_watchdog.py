"""The thread that ends a rank: when, and with which words."""

from __future__ import annotations

import math
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from hpc_adabatch.cluster import SingleProcess, Watchdog
from hpc_adabatch.cluster.watchdog import LEAST_S, LOOKS, PREPARING_S, TIMES

pytestmark = pytest.mark.long

FROZEN = """
import sys, time
from pathlib import Path
from hpc_adabatch.cluster.watchdog import Watchdog
def waits_for_a_peer():
    time.sleep(60)
dog = Watchdog(3, 0.3, note=Path(sys.argv[1]))
dog.enter("step 12")
waits_for_a_peer()
"""


def test_a_rank_that_does_not_move_says_where_and_ends(tmp_path: Path) -> None:
    line = [sys.executable, "-c", FROZEN, str(tmp_path / "stop")]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 75
    assert (tmp_path / "stop").exists()
    assert "rank 3: nothing has moved for 0.3" in done.stderr
    assert "in step 12, at waits_for_a_peer" in done.stderr
    assert "to go on: the same command again" in done.stderr


class Ended(BaseException):
    """Stands for the end of the process."""


def watched(limit_s: float | None, *between_looks: Callable[[Watchdog], None] | None) -> tuple[Watchdog, float | None]:
    """A watchdog that looks once after each action; None stands for a rank that does not move. And when it bit."""
    dog = Watchdog(0, limit_s)
    actions = iter(between_looks)

    class Looks(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            for action in actions:
                if action is not None:
                    action(dog)
                return False
            return True

    def end(quiet_s: float) -> None:
        raise Ended(quiet_s)

    dog._over, dog._end = Looks(), end  # type: ignore[method-assign]
    dog._thread = threading.current_thread()  # none is started
    dog.enter("step 1")
    try:
        dog._watch()
    except Ended as ended:
        return dog, ended.args[0]
    return dog, None


def test_a_limit_that_was_given_holds_and_a_beat_begins_it_again() -> None:
    quiet = [None] * LOOKS
    assert watched(5.0, *quiet, Watchdog.beat, *quiet)[1] is None
    assert watched(5.0, *quiet, Watchdog.beat, *quiet, None, None)[1] == pytest.approx(5.0, abs=5.0 / LOOKS + 1e-9)


def test_the_limit_is_learnt_from_the_longest_pause_so_far() -> None:
    """20 times a pause of 10 looks; a rank that has never paused has 10 minutes."""
    ten = [None] * 10
    dog, bitten_s = watched(None, *ten, Watchdog.beat, *[None] * (10 * int(TIMES)))
    assert (dog.limit_s, bitten_s) == (TIMES * 10 * LEAST_S / LOOKS, None)
    assert watched(None, *ten, Watchdog.beat, *[None] * (10 * int(TIMES) + 1))[1] is not None
    assert watched(None, *[None] * LOOKS)[1] is None
    assert watched(None, *[None] * (LOOKS + 1))[1] is not None


@pytest.mark.parametrize("limit_s", [None, 5.0])
def test_ranks_that_still_read_the_data_have_an_hour_and_teach_nothing(limit_s: float | None) -> None:
    """Story: a limit of 600 s, above every step, ended ranks that were listing a million files, each time anew."""

    def read(dog: Watchdog) -> None:
        dog.enter("reading the data", prepares=True)

    def step(dog: Watchdog) -> None:
        dog.enter("step 1")

    looks = int(PREPARING_S / ((limit_s or LEAST_S) / LOOKS))
    dog, bitten_s = watched(limit_s, read, *[None] * (looks - 1), step)
    assert bitten_s is None
    assert dog.limit_s == (limit_s or LEAST_S)
    assert watched(limit_s, read, *[None] * (looks + 2))[1] is not None


def test_nothing_is_watched_between_joining_and_the_first_phase() -> None:
    """A script may read its data there, for as long as it likes, and other ranks need not be in anything with it."""
    looks = [None] * int(PREPARING_S / (5.0 / LOOKS) + 2)
    dog, bitten_s = watched(5.0, Watchdog.rest, *looks)
    assert (bitten_s, dog._slowest_s) == (None, 0.0)
    step = [lambda dog: dog.enter("step 1")]
    assert watched(5.0, Watchdog.rest, *looks, *step, *[None] * (LOOKS + 2))[1] is not None


def watchdogs() -> int:
    return sum(thread.name == "watchdog" for thread in threading.enumerate())


@pytest.mark.parametrize(("text", "threads"), [("", 0), ("off", 0), ("600", 1)])
def test_one_process_is_watched_where_that_was_asked_for_and_leaves_no_thread(
    text: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADABATCH_STALL_S", text)
    cluster = SingleProcess()
    cluster.watchdog.enter("step 1")
    assert watchdogs() == threads
    cluster.stop()
    assert watchdogs() == 0
    cluster.watchdog.enter("what a script does afterwards")
    assert watchdogs() == 0


def test_a_watchdog_that_is_off_starts_no_thread_and_one_that_learns_begins_with_an_hour() -> None:
    Watchdog(0, math.inf).enter("step 1")
    assert watchdogs() == 0
    assert Watchdog(0).limit_s == PREPARING_S
