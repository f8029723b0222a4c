"""Being told to stop: by signals, by a file, by another rank."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from hpc_adabatch.training.signals import EXIT_CODES, StopFlag


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGUSR2"])
def test_a_signal_sets_the_flag_and_leaves_the_process_alone(name: str) -> None:
    flag = StopFlag()
    with flag.listening():
        os.kill(os.getpid(), signal.Signals[name])
        assert flag.agreed(flag.numbers()) == name


def test_one_rank_that_was_told_is_enough() -> None:
    told, other = StopFlag(), StopFlag()
    with told.listening():
        os.kill(os.getpid(), signal.SIGUSR2)
    summed = [a + b for a, b in zip(told.numbers(), other.numbers(), strict=True)]
    assert other.agreed(summed) == told.agreed(summed) == "SIGUSR2"
    assert EXIT_CODES["SIGUSR2"] == 75


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGUSR2)
    with StopFlag().listening():
        pass
    assert signal.getsignal(signal.SIGUSR2) == before


def test_asked_twice_by_the_user_means_now_and_twice_by_slurm_does_not() -> None:
    flag = StopFlag()
    with flag.listening():
        for _ in range(2):  # Slurm signals a job's steps and its batch script, and srun passes its own on
            os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_file_stands_for_a_signal_that_does_not_reach_the_rank(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 0.0, 0.5, 2.0, 2.0])
    monkeypatch.setattr("hpc_adabatch.training.signals.time.monotonic", lambda: next(clock))
    flag = StopFlag(tmp_path / "stop")
    assert flag.agreed(flag.numbers()) is None
    (tmp_path / "stop").touch()
    assert flag.agreed(flag.numbers()) is None  # looked for half a second ago
    assert flag.agreed(flag.numbers()) == "stop file"
    assert EXIT_CODES["stop file"] == 75
