"""Rehearsals of recipes: what they say, what they find, and that nothing of them stays."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hpc_adabatch.cli import main
from hpc_adabatch.command_line import parse_recipe
from hpc_adabatch.policies import POLICIES
from hpc_adabatch.run.rehearsal import at_largest

pytestmark = pytest.mark.long
MORE = {  # what these rules want besides their name
    "smith": ["--policy.milestones=[2]"],
    "seesaw": ["--policy.milestones=[2]"],
    "schedule": ["--policy.text=0:16 2ep:64"],
}


def rehearsed(out: Path, *flags: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["rehearse", "quickstart", f"--out={out}", *flags])
    return int(ended.value.code or 0)


def test_a_recipe_is_gone_through_and_nothing_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert rehearsed(tmp_path / "runs", "--max_micro_batch=100") == 0
    expected = [
        r"quickstart: data read in \d+\.\d s",
        r"first batch 16: 3 step\(s\) of 1 x 16 a rank in \d+\.\d s, with the checkpoint",
        r"test set: loss \d\.\d+, evaluated in \d+\.\d s",
        rf"checkpoint: \d\.\d+ MB in {tmp_path}/runs, gone on from in \d+\.\d s",
        r"largest batch 256: 3 step\(s\) of 3 x 86 a rank in \d+\.\d s, with the checkpoint",
    ]
    said = capsys.readouterr()
    for line, pattern in zip(said.out.splitlines(), expected, strict=True):
        assert re.fullmatch(pattern, line), line
    assert said.err == ""
    assert list((tmp_path / "runs").iterdir()) == []


@pytest.mark.parametrize("rule", [name for name in POLICIES if name != "big_batch"])
def test_every_rule_has_its_largest_batch_rehearsed(
    rule: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [f"--policy={rule}", *MORE.get(rule, [])]
    flags += ["--global_batch=null"] if rule == "schedule" else []
    assert rehearsed(tmp_path, *flags) == 0, capsys.readouterr().err
    wanted = {"fixed": None, "schedule": 64}.get(rule, 256)  # smith and seesaw do not say theirs
    said = capsys.readouterr().out
    assert f"largest batch {wanted}: 3 step(s)" in said if wanted else "largest batch" not in said


def test_big_batch_is_rehearsed_with_its_search(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert rehearsed(tmp_path, "--policy=big_batch", "--optimizer=barzilai_borwein") == 0, capsys.readouterr().err
    assert "largest batch 256" in capsys.readouterr().out


def test_what_is_not_finite_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert rehearsed(tmp_path, "--optimizer.lr=1e30") == 0
    assert "skipped, for losses or gradients that were not finite" in capsys.readouterr().out


def test_a_disk_that_cannot_be_written_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert rehearsed(tmp_path / "file") == 2
    said = capsys.readouterr().err
    assert said.startswith(f"adabatch: error: out: given {tmp_path}/file")
    assert len(said.splitlines()) == 1


def test_a_rehearsal_that_is_ended_leaves_nothing(tmp_path: Path) -> None:
    words = ["rehearse", "quickstart", f"--out={tmp_path}", "--policy=big_batch", "--optimizer=armijo"]
    process = subprocess.Popen([sys.executable, "-m", "hpc_adabatch", *words, "--model=resnet110"])
    give_up = time.monotonic() + 60
    while not list(tmp_path.glob(".rehearsal-*/first/journal.jsonl")):
        assert process.poll() is None
        assert time.monotonic() < give_up
        time.sleep(0.01)
    process.terminate()
    assert process.wait(60) == -signal.SIGTERM
    assert list(tmp_path.iterdir()) == []


def test_the_largest_batch_is_never_above_the_data() -> None:
    recipe, _, _ = parse_recipe("train", ["quickstart", "--max_global_batch=1000000"])
    largest = at_largest(recipe, recipe.task.load())
    assert largest.global_batch <= 1437
