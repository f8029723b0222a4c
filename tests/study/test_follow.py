"""`adabatch plan RECIPE --nodes_follow 1:32`: what is read and told. The rule is tried in scaling/test_follow.py."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from hpc_adabatch.cli import main

pytestmark = pytest.mark.long
RECIPE = str(Path(__file__).resolve().parents[2] / "recipes" / "quickstart.yaml")
JOURNAL = Path(__file__).resolve().parents[1] / "journals" / "noise_scale.jsonl"


def written(folder: Path, *, sample_s: float = 1e-4) -> str:
    """A probe's file: passes take as long as their samples."""
    steps = [{"micro_batch": size, "forward_backward": {"median_s": sample_s * size}} for size in (16, 64, 256)]
    messages = {"fit": {"latency_s": 1e-4, "bandwidth_bytes_per_s": 1e9}}
    content = {"nodes": 2, "device_name": "a GPU", "steps": {"steps": steps}, "messages": messages}
    (folder / "probe.json").write_text(json.dumps(content), encoding="utf-8")
    return str(folder / "probe.json")


def said(capsys: pytest.CaptureFixture[str], *flags: str, code: int = 0) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["plan", RECIPE, *flags])
    captured = capsys.readouterr()
    assert ended.value.code == code, captured
    return captured.out if code == 0 else captured.err


def rows(text: str, columns: int) -> list[list[str]]:
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")
    ]
    return [row for row in cells if len(row) == columns and row[0][0].isdigit()]


def test_the_stages_of_the_recipe_get_the_nodes_that_they_are_worth(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """10 ms a sample, and 0.1 to 0.7 ms a sum: 0.6 MB over a line of 1 GB/s. Batches double every 6 epochs to 256."""
    probe = ["--network=measured", "--probe", written(tmp_path, sample_s=1e-2)]
    text = said(capsys, "--nodes_follow=1:8", "--wait_s=0", *probe)
    stages, fixed = rows(text, 8), rows(text, 5)
    assert [row[1] for row in stages] == ["16", "32", "64", "128", "256"]
    assert [row[3] for row in stages] == ["8"] * 5
    assert [row[0] for row in fixed] == ["1", "2", "4", "8"]
    assert "begin with --nodes=8: " in text
    waits = said(capsys, "--nodes_follow=1:8", *probe)
    assert "; 600 s in the queue for each move" in waits
    slow = ["--network=measured", "--probe", written(tmp_path, sample_s=1e-4)]
    text = said(capsys, "--nodes_follow=1:8", "--wait_s=0", *slow)
    nodes = [int(row[3]) for row in rows(text, 8)]
    assert nodes == sorted(nodes)
    assert nodes[0] < nodes[-1]
    hours = {row[0]: [float(cell) for cell in row[1:]] for row in rows(text, 5)}
    found = re.search(r"^begin with .*: (\S+) hours with waiting, (\S+) node-hours$", text, re.MULTILINE)
    assert found is not None
    for cost in hours.values():  # what is saved is the difference to each
        for at in (0, 1):
            assert cost[at] - float(found[at + 1]) == pytest.approx(cost[at + 2], abs=1e-2 * cost[at])


def test_a_rule_that_measures_goes_by_the_journal_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "journal.jsonl").write_bytes(JOURNAL.read_bytes())
    flags = ["--policy=noise_scale", "--epochs=3", "--nodes_follow=1:4", "--probe", written(tmp_path)]
    text = said(capsys, *flags, f"--from_run={tmp_path}", "--global_batch=200", "--max_global_batch=1000")
    assert len(rows(text, 8)) > 2
    told = said(capsys, *flags, code=2)
    assert told.count("\n") == 1
    assert "nodes_follow: given 1:4 with policy noise_scale, which follows the gradients" in told


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--nodes_follow=4"], "nodes_follow: given 4; allowed: two whole numbers with a colon"),
        (["--nodes_follow=1:4", "--nodes=1,2"], "nodes: given 1,2; allowed: one of --nodes and --nodes_follow"),
        (["--nodes_follow=1:4", "--policy=fixed"], "nodes_follow: given 1:4 with a batch that is 16 throughout"),
        (["--nodes_follow=1:4", "--network=x"], "network: given x"),
        (["--nodes_follow=1:4", "--efficiency=2"], "efficiency: given 2"),
        (["--nodes_follow=1:4", "--wait_s=-1"], "wait_s: given -1"),
        (["--wait_s=9"], "wait_s: given 9.0; allowed: nothing without --nodes_follow"),
    ],
)
def test_what_cannot_be_used_is_told(
    flags: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    told = said(capsys, *flags, "--probe", written(tmp_path), code=2)
    assert told.count("\n") == 1
    assert message in told
