"""A run that leaves where other nodes pay, and what it leaves to its job; the jobs themselves are in tests/slurm/."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from hpc_adabatch.cluster import SingleProcess
from hpc_adabatch.command_line import parse_recipe
from hpc_adabatch.errors import InputError
from hpc_adabatch.run.follow import PASSES, FollowOptions
from hpc_adabatch.run.machine import read_probe
from hpc_adabatch.run.recipe_run import RecipeRun
from hpc_adabatch.study.scaling.follow import node_range
from hpc_adabatch.training.journal import Record, read

pytestmark = pytest.mark.long
RECIPE = str(Path(__file__).resolve().parents[2] / "recipes" / "quickstart.yaml")
GROWS = ["--policy=schedule", "--policy.text=0:64 1ep:256", "--global_batch=64", "--epochs=3", "--journal_every=1"]


@pytest.fixture
def stop_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That of a job on one node, which may go on on others once."""
    path = tmp_path / "stop"
    for name, value in {"STOP_FILE": path, "JOB_NODES": 1, "MOVES_LEFT": 1, "WAITED_S": 0}.items():
        monkeypatch.setenv(f"ADABATCH_{name}", str(value))
    return path


def probe(folder: Path, sample_s: float) -> str:
    steps = [{"micro_batch": size, "forward_backward": {"median_s": sample_s * size}} for size in (1, 256)]
    messages = {"fit": {"latency_s": 0.1, "bandwidth_bytes_per_s": 1e12}}
    content = {"nodes": 2, "device_name": "cpu", "steps": {"steps": steps}, "messages": messages}
    (folder / "probe.json").write_text(json.dumps(content), encoding="utf-8")
    return str(folder / "probe.json")


def trained(
    folder: Path, *flags: str, nodes: str | None = "1:4", probe: str | None = None, wait_s: float | None = 0.0
) -> int:
    recipe, _, resolved = parse_recipe("train", [RECIPE, *GROWS, *flags])
    follow = None
    if nodes is not None:
        network = "measured" if probe is not None else "v100"
        span = node_range(nodes)
        follow = FollowOptions(range=span, network=network, probe=probe, efficiency=0.75, wait_s=wait_s)
    run = RecipeRun(recipe, resolved, folder, resume=True, cluster=SingleProcess(), follow=follow)
    return run.train()


def lines(folder: Path, kind: str) -> list[Record]:
    return [record for record in read(folder / "journal.jsonl") if record["kind"] == kind]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    loaded = torch.load(folder / "checkpoint" / "last.pt", weights_only=True)
    return dict(loaded["training"]["model"])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    assert trained(folder, nodes=None) == 0
    return folder


def assert_same(found: Path, reference: Path) -> None:
    for name, value in weights(reference).items():
        assert torch.equal(weights(found)[name], value), name
    kept = ("step", "cursor", "loss", "global_batch", "learning_rate")
    both = [[[line[k] for k in kept] for line in lines(run, "statistics")] for run in (found, reference)]
    assert both[0] == both[1]


def test_a_run_leaves_at_the_step_after_the_decision_and_goes_on_exactly(
    stop_file: Path,
    undisturbed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """10 ms a sample and 0.1 s a sum: batch 64 is worth one node, 256 four."""
    given = probe(tmp_path, 1e-2)
    assert trained(tmp_path / "run", probe=given) == 75
    assert stop_file.with_name("stop.nodes").read_text() == "4"
    assert not stop_file.exists()
    (end,) = lines(tmp_path / "run", "end")
    (decision,) = lines(tmp_path / "run", "decision")
    assert (end["reason"], end["nodes"], end["step"]) == ("nodes", 4, decision["step"] + 1)
    said = capsys.readouterr().out
    assert "nodes follow the batch, by network measured: 1 from batch 1 on, " in said
    assert "on 4 node(s), " in said
    assert "nodes: left after update 23; to go on: " in said
    stop_file.with_name("stop.nodes").unlink()  # the job was lost before it saw that, and is queued again as it was
    assert trained(tmp_path / "run", probe=given) == 75
    assert stop_file.with_name("stop.nodes").read_text() == "4"
    assert [end["step"] for end in lines(tmp_path / "run", "end")] == [23, 25]
    stop_file.with_name("stop.nodes").unlink()
    monkeypatch.setenv("ADABATCH_MOVES_LEFT", "0")  # the queue has refused it
    assert trained(tmp_path / "run", probe=given) == 0
    assert not stop_file.with_name("stop.nodes").exists()
    assert_same(tmp_path / "run", undisturbed)


@pytest.mark.parametrize("why", ["the wait", "no moves left", "the passes"])
def test_a_run_stays_where_leaving_does_not_pay(
    why: str,
    stop_file: Path,
    undisturbed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """About 12 steps are left, of 2.5 s on one node and 0.9 on four."""
    monkeypatch.setenv("ADABATCH_MOVES_LEFT", "0" if why == "no moves left" else "1")
    sample_s = 1e-5 if why == "the passes" else 1e-2
    wait_s = None if why == "the wait" else 0.0  # a minute, though this job has waited less
    assert trained(tmp_path / "run", probe=probe(tmp_path, sample_s), wait_s=wait_s) == 0
    assert not stop_file.with_name("stop.nodes").exists()
    assert ("the run stays" in capsys.readouterr().out) == (why == "no moves left")
    assert_same(tmp_path / "run", undisturbed)


@pytest.mark.usefixtures("stop_file")
def test_passes_are_timed_once_and_disturb_nothing(undisturbed: Path, tmp_path: Path) -> None:
    assert trained(tmp_path / "run", wait_s=1e6) == 0
    kept = tmp_path / "run" / PASSES
    before = kept.read_bytes()
    found = read_probe(kept)
    assert set(found.passes) == {8, 16, 32, 64, 128, 256}
    assert_same(tmp_path / "run", undisturbed)
    assert trained(tmp_path / "run", "--epochs=4", wait_s=1e6) == 0
    assert kept.read_bytes() == before


@pytest.mark.usefixtures("stop_file")
@pytest.mark.parametrize(
    ("variables", "flags", "message"),
    [
        (
            {"JOB_NODES": ""},
            [],
            r"nodes_follow: given 1:4 outside of a job; .*sbatch slurm/",
        ),
        ({"JOB_NODES": "8"}, [], r"nodes_follow: given 1:4 in a job of 8 node\(s\); .*--nodes_follow 1:8"),
        ({"JOB_NODES": "2"}, [], r"nodes_follow: given 1:4 with 1 ranks on 2 nodes; allowed: as many ranks on each"),
        ({}, ["--policy.text=0:64"], r"nodes_follow: given 1:4 with a batch that is 64 throughout"),
        ({}, ["--policy.text=0:64 1ep:64"], r"nodes_follow: given 1:4 with a batch that is 64 throughout"),
    ],
)
def test_what_cannot_be_used_is_told(
    variables: dict[str, str],
    flags: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"ADABATCH_{name}", value)
    with pytest.raises(InputError, match=message):
        trained(tmp_path / "run", *flags)
    assert not (tmp_path / "run").exists()
