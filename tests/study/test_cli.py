"""``adabatch study`` as it is typed: exit codes, one line for each mistake, and a study on this machine."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from hpc_adabatch.study import cli, submissions
from hpc_adabatch.study.folder import StudyFolder
from hpc_adabatch.study.results import from_csv

sys.path.insert(0, str(Path(__file__).parent / "fakes"))
from fake_slurm import FakeSlurm
from planned import RECIPE, ROOT, fake_slurm, finish, study_command, template

pytestmark = pytest.mark.long


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    monkeypatch.chdir(tmp_path)
    template(tmp_path)
    return fake_slurm(tmp_path, monkeypatch)


def plan(*more: str, name: str = "scaling") -> int:
    grid = ["--nodes", "1,2", "--repeats", "2", "--template", "own.sbatch"]
    return cli.main(["plan", name, *grid, *more, "--", RECIPE])


def test_from_plan_to_collect(tmp_path: Path, fake: FakeSlurm, capsys: pytest.CaptureFixture[str]) -> None:
    assert plan("--mode", "strong,adaptive", "--sbatch", "--time=00:20:00") == 0
    said = capsys.readouterr().out
    assert "8 jobs, at most 4.00 node-hours" in said
    assert "strong: global batch 16 divides over 1..2 ranks: ok" in said
    assert cli.main(["status", "scaling"]) == 3
    assert cli.main(["submit", "scaling", "--cells", "mode=strong"]) == 0
    said = capsys.readouterr().out
    assert "4 submitted, at most 2.00 node-hours" in said
    assert len(fake.jobs()) == 4
    fake.change(81001, state="OUT_OF_MEMORY", reason="OutOfMemory")
    assert cli.main(["status", "scaling", "--json"]) == 4
    told = json.loads(capsys.readouterr().out)
    assert told["counts"] == {"OOM": 1, "PENDING": 3, "PLANNED": 4}
    assert told["cells"][0]["job_ids"] == ["81001"]
    assert cli.main(["submit", "scaling", "--cells", "mode=strong"]) == 0
    assert capsys.readouterr().out == "nothing to submit; 1 ended without a result: --retry oom\n"
    assert cli.main(["submit", "scaling", "--retry", "oom"]) == 0
    assert len(fake.jobs()) == 9
    folder = StudyFolder(tmp_path / "studies", "scaling")
    for cell in folder.load().cells:
        finish(folder, cell.name)
    assert cli.main(["status", "scaling", "--watch", "60"]) == 0
    assert cli.main(["collect", "scaling"]) == 0
    results = from_csv(folder.results.read_text())
    assert {result.state for result in results} == {"OK"}
    assert results[0].attempts == 2
    assert cli.main(["cancel", "scaling"]) == 0
    assert fake.calls("scancel") == []


def test_a_dry_run_touches_nothing(tmp_path: Path, fake: FakeSlurm, capsys: pytest.CaptureFixture[str]) -> None:
    assert plan() == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "studies").rglob("*")}
    capsys.readouterr()
    assert cli.main(["submit", "scaling", "--dry-run"]) == 0
    assert capsys.readouterr().out.count("sbatch --parsable --nodes=") == 4
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "studies").rglob("*")} == before
    assert fake.calls("sbatch") == []


def test_test_only_asks_and_submits_nothing(
    tmp_path: Path, fake: FakeSlurm, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plan() == 0
    assert cli.main(["submit", "scaling", "--test-only"]) == 0
    assert "strong_n002_r1: Job 81001 to start at" in capsys.readouterr().out
    assert fake.jobs() == []
    assert submissions.read(StudyFolder(tmp_path / "studies", "scaling")) == {}
    assert all("--test-only" in call["arguments"] for call in fake.calls("sbatch"))
    fake.rule("sbatch", refuse_at=7)
    assert cli.main(["submit", "scaling", "--test-only"]) == 1
    assert "strong_n001_r2: sbatch ended with 1" in capsys.readouterr().out


def test_overrides_in_the_environment_are_printed(
    fake: FakeSlurm, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SBATCH_PARTITION", "debug")
    assert plan() == 0
    assert cli.main(["submit", "scaling"]) == 0
    assert (
        "taken out of sbatch's environment, for they win over the script: SBATCH_PARTITION" in capsys.readouterr().out
    )
    assert {str(call["variables"]) for call in fake.calls("sbatch")} == {"{}"}


def test_a_study_in_an_allocation_says_in_few_words_what_it_leaves_behind(
    fake: FakeSlurm, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("SLURM_JOB_ID", "SLURM_CPU_BIND", "SLURM_MEM_PER_CPU"):
        monkeypatch.setenv(name, "1")
    assert plan() == 0
    assert cli.main(["submit", "scaling", "--dry_run"]) == 0
    assert "unset SLURM_CPU_BIND SLURM_JOB_ID SLURM_MEM_PER_CPU\n" in capsys.readouterr().out
    assert cli.main(["submit", "scaling"]) == 0
    assert "for they win over the script: what Slurm tells the job that this shell is in" in capsys.readouterr().out
    assert {str(call["variables"]) for call in fake.calls("sbatch")} == {"{}"}


@pytest.mark.parametrize("name", ["two words", 'quo"te', "it's", "new\nline", "../up", "a/b"])
@pytest.mark.usefixtures("fake")
def test_a_name_that_is_none(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert plan(name=name) == 2
    error = capsys.readouterr().err
    assert error.startswith("adabatch: error: NAME: given ")
    assert error.count("\n") == 1
    assert "allowed: letters, digits" in error
    assert not (tmp_path / "studies").exists()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["go"], "study: given go; allowed: plan, submit, status"),
        (["plan", "x"], "nodes: given nothing; allowed: a value; type --nodes VALUE"),
        (["plan", "x", "--nodes", "1"], "RECIPE: given nothing; allowed: a recipe and its fields after --"),
        (["plan", "x", "--nodes", "1", "--knots", "2", "--", "r"], "knots: given a flag that study plan does not have"),
        (["plan", "x", "--nodes"], "nodes: given nothing; allowed: a value"),
        (["plan", "x", "--nodes", "1", "--repeats", "many", "--", "r"], "repeats: given many; allowed: an integer"),
        (["plan", "x", "y", "--nodes", "1", "--", "r"], "y: given"),
        (["plan", "x", "--nodes", "1", "--template", "own.sbatch", "--", "none.yaml"], "RECIPE: given none.yaml"),
        (["submit"], "NAME: given nothing"),
        (["submit", "nothing"], "NAME: given"),
        (["status", "nothing", "--watch", "often"], "watch: given often; allowed: a number or null"),
        (["submit", "scaling", "--cells", "nodes<=x"], "cells: given nodes<=x; allowed: a whole number"),
        (["submit", "scaling", "--cells", "nodes>64"], "cells: given nodes>64; allowed: a filter that some cell fits"),
        (["submit", "scaling", "--retry", "always"], "retry: given always; allowed: failed"),
        (["status", "scaling", "--stall", "0"], "stall: given 0.0; allowed: more than 0"),
        (["predict", "scaling", "--nodes", "many"], "nodes: given many; allowed: whole numbers"),
    ],
)
@pytest.mark.usefixtures("fake")
def test_mistakes(line: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert plan() == 0
    capsys.readouterr()
    assert cli.main(line) == 2
    error = capsys.readouterr().err
    assert f"adabatch: error: {said}" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("verb", ["plan", "submit", "status", "collect", "report", "predict", "cancel"])
def test_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([verb, "--help"])
    assert ended.value.code == 0
    assert "--folder" in capsys.readouterr().out
    assert cli.main([]) == 0
    assert f"  {verb} NAME" in capsys.readouterr().out


def test_slurm_refusing_is_one_line_and_exit_code_1(fake: FakeSlurm, capsys: pytest.CaptureFixture[str]) -> None:
    assert plan() == 0
    fake.rule("sbatch", refuse_at=3)
    capsys.readouterr()
    assert cli.main(["submit", "scaling"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("adabatch: error: strong_n001_r2: sbatch ended with 1 and said: sbatch: error: AssocMax")
    assert error.count("\n") == 1
    fake.rule("scancel", refuse=True)
    assert cli.main(["cancel", "scaling"]) == 1
    assert "permission denied" in capsys.readouterr().err


# --- on this machine --------------------------------------------------------------------------------------------------

HERE = ["--where", "local", "--mode", "adaptive", "--repeats", "1"]
QUICK = ["--epochs", "1", "--task.augment", "false"]


@pytest.mark.launch
def test_a_study_on_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    where = ["--folder", str(tmp_path)]
    fields = ["--vary", "model=small_cnn,nonsense"]
    assert cli.main(["plan", "here", "--nodes", "1,2", *HERE, *fields, *where, "--", RECIPE, *QUICK]) == 0
    assert cli.main(["submit", "here", "--dry-run", *where]) == 0
    assert capsys.readouterr().out.count("launch/run -n ") == 4
    assert cli.main(["submit", "here", "--cells", "nodes=2", *where]) == 1
    assert cli.main(["status", "here", "--json", *where]) == 4
    out = capsys.readouterr().out
    told = {cell["cell"]: cell for cell in json.loads(out[out.index("{\n") :])["cells"]}
    assert {name: cell["state"] for name, cell in told.items()} == {
        "adaptive_n001_small-cnn_r1": "PLANNED",
        "adaptive_n002_small-cnn_r1": "OK",
        "adaptive_n001_nonsense_r1": "PLANNED",
        "adaptive_n002_nonsense_r1": "FAILED",
    }
    assert "model: given nonsense" in told["adaptive_n002_nonsense_r1"]["reason"]
    assert cli.main(["collect", "here", *where]) == 0
    results = {result.cell: result for result in from_csv((tmp_path / "here" / "results.csv").read_text())}
    assert results["adaptive_n002_small-cnn_r1"].metric == "accuracy"
    assert results["adaptive_n002_small-cnn_r1"].node_hours is not None
    assert (results["adaptive_n002_nonsense_r1"].state, results["adaptive_n002_nonsense_r1"].value) == ("FAILED", None)
    assert cli.main(["report", "here", "--proposal", *where]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "here" / "report" / "proposal.html")
    page = (tmp_path / "here" / "report" / "proposal.md").read_text()
    assert "All ranks shared one machine: this shows how the study is made, and is no evidence" in page
    assert "Too little for a proposal: numbers on 2 nodes only" in page
    assert "Ranks were started by mpirun on one machine, without a batch script." in page


def test_a_study_on_slurm_with_its_evidence(
    tmp_path: Path, fake: FakeSlurm, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["plan", "scaling", "--nodes", "1,2,4", "--repeats", "1", "--template", "own.sbatch", "--", RECIPE]
    assert cli.main(line) == 0
    assert cli.main(["submit", "scaling"]) == 0
    folder = StudyFolder(tmp_path / "studies", "scaling")
    for number, (cell, samples_per_s) in enumerate(zip(folder.load().cells, (100.0, 190.0, 280.0), strict=True), 81001):
        finish(folder, cell.name, samples_per_s=samples_per_s, step_s={"median_s": 16 / samples_per_s})
        fake.change(number, state="COMPLETED", elapsed=60, energy=720_000 * cell.nodes, busy=92)
    assert cli.main(["report", "scaling", "--proposal", "--efficiency", "0.9"]) == 0
    text = (tmp_path / "studies" / "scaling" / "report" / "proposal.md").read_text()
    assert "The study supports a request of up to 2 nodes (2 ranks). Efficiency on 2 nodes is 95.0 %" in text
    assert "It is below 90 % on 4 nodes (70.0 %)." in text
    assert "| 4 | 92.0 | not measured | 0.800 |" in text
    assert (tmp_path / "own.sbatch").read_text() in text
    capsys.readouterr()
    assert cli.main(["report", "scaling", "--proposal", "--efficiency", "75"]) == 2
    assert "efficiency: given 75.0; allowed: more than 0, at most 1; type --efficiency 0.75" in capsys.readouterr().err


def wait_for(path: Path, text: str, limit_s: float = 90.0) -> None:
    end_s = time.monotonic() + limit_s
    while not (path.exists() and text in path.read_text(errors="replace")):
        assert time.monotonic() < end_s, f"{path} never has {text!r}"
        time.sleep(0.1)


def here(folder: Path, **flags: Any) -> tuple[StudyFolder, Path]:
    """A study of one long cell on two ranks."""
    words = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
    line = ["plan", "here", "--nodes", "2", *HERE, *words, "--folder", str(folder), "--", RECIPE, "--epochs", "400"]
    assert cli.main(line) == 0
    studies = StudyFolder(folder, "here")
    return studies, studies.cell("adaptive_n002_r1")


@pytest.mark.launch
def test_an_interrupted_cell_leaves_a_checkpoint_and_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    folder, cell = here(tmp_path)
    first = study_command(ROOT, "submit", "here", "--folder", tmp_path)
    wait_for(cell / "journal.jsonl", '"evaluation"')
    assert cli.main(["status", "here", "--folder", str(tmp_path)]) == 3
    assert folder.in_use()
    assert cli.main(["submit", "here", "--folder", str(tmp_path)]) == 2
    first.send_signal(signal.SIGINT)
    said, errors = first.communicate(timeout=90)
    assert (first.returncode, errors) == (130, "")
    assert "interrupted; the same command goes on with it" in said
    assert (cell / "checkpoint" / "last.pt").exists()
    assert submissions.read(folder)["adaptive_n002_r1"][0].exit_code == 75
    again = study_command(ROOT, "submit", "here", "--folder", tmp_path)
    wait_for(cell / "journal.jsonl", '"resume"')
    again.send_signal(signal.SIGINT)
    again.communicate(timeout=90)
    assert [attempt.stopped for attempt in submissions.read(folder)["adaptive_n002_r1"]] == ["interrupted"] * 2


@pytest.mark.launch
def test_a_cell_that_runs_out_of_time_is_run_again_when_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    folder, _ = here(tmp_path, sbatch="--time=0:05")
    for tried, retry, code in ((1, [], 1), (1, [], 0), (2, ["--retry", "timeout"], 1)):
        assert cli.main(["submit", "here", *retry, "--folder", str(tmp_path)]) == code
        assert len(submissions.read(folder)["adaptive_n002_r1"]) == tried
        assert cli.main(["status", "here", "--folder", str(tmp_path)]) == 4
        assert "TIMEOUT" in capsys.readouterr().out


@pytest.mark.launch
def test_a_cell_whose_submit_is_killed_still_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    folder, cell = here(tmp_path)
    killed = study_command(ROOT, "submit", "here", "--folder", tmp_path)
    wait_for(cell / "local-1.out", "epoch")
    killed.kill()
    killed.communicate()
    assert folder.in_use(), "the ranks go on, and hold the study's lock"
    assert cli.main(["submit", "here", "--folder", str(tmp_path)]) == 2
    assert "which is in use by process" in capsys.readouterr().err
    line = submissions.read(folder)["adaptive_n002_r1"][-1]
    assert line.exit_code is None
    stop_ranks(cell)
    end_s = time.monotonic() + 60
    while folder.in_use():
        assert time.monotonic() < end_s
        time.sleep(0.2)
    assert cli.main(["status", "here", "--folder", str(tmp_path)]) == 3


def stop_ranks(cell: Path) -> None:
    """Ends the launch/run whose command names this folder."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if str(cell).encode() in words and any(word.endswith(b"launch/run") for word in words):
            os.kill(int(process.name), signal.SIGTERM)
