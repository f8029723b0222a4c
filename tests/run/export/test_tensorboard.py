"""TensorBoard's events, read back by TensorBoard: of a run that trains, is killed and goes on, and of a journal."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import hpc_adabatch as hab
from hpc_adabatch.cluster import SingleProcess
from hpc_adabatch.errors import InputError
from hpc_adabatch.policies import POLICIES
from hpc_adabatch.run.export.export import export
from hpc_adabatch.run.export.tensorboard import TensorBoard
from hpc_adabatch.training.journal import Record, read

pytestmark = pytest.mark.long
JOURNALS = Path(__file__).resolve().parents[2] / "journals"
Points = list[tuple[int, float]]


def events(folder: Path) -> tuple[dict[str, Points], list[tuple[int, str]]]:
    """The points by tag, and the texts, as TensorBoard shows them."""
    read_back = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    read_back.Reload()
    points = {tag: [(e.step, e.value) for e in read_back.Scalars(tag)] for tag in read_back.Tags()["scalars"]}
    texts = [
        (e.step, e.tensor_proto.string_val[0].decode())
        for tag in read_back.Tags()["tensors"]
        for e in read_back.Tensors(tag)
    ]
    return points, texts


def of(records: list[Record], kind: str, name: str) -> Points:
    """The points that lines of a kind have, in float32."""
    said = [record for record in records if record["kind"] == kind and record.get(name) is not None]
    return [(record["cursor"], pytest.approx(record[name], rel=1e-6)) for record in said]


def check(points: dict[str, Points], records: list[Record]) -> None:
    metric = records[0]["metric"]
    assert points["train/loss"] == of(records, "statistics", "loss")
    assert points["train/learning_rate"] == of(records, "statistics", "learning_rate")
    assert points[f"test/{metric}"] == of(records, "evaluation", "metric")
    assert points.get("noise/scale", []) == of(records, "noise", "noise_scale")
    assert points.get("noise/high", []) == of(records, "noise", "high")
    holding = [record for record in records if record["kind"] in ("start", "decision", "resume")]
    assert points["batch/global"] == [(record["cursor"], record["global_batch"]) for record in holding]


@pytest.mark.parametrize("rule", sorted(POLICIES))
def test_the_events_of_a_journal(rule: str, tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_bytes((JOURNALS / f"{rule}.jsonl").read_bytes())
    told = list(export([tmp_path], None, tensorboard=True))
    assert told == [f"wrote {tmp_path / 'tensorboard'}; type: tensorboard --logdir {tmp_path / 'tensorboard'}"]
    points, texts = events(tmp_path / "tensorboard")
    check(points, read(tmp_path / "journal.jsonl"))
    assert texts[-1][1] == "end: complete"
    with pytest.raises(InputError, match=r"tensorboard: given .*, which is there already"):
        list(export([tmp_path], None, tensorboard=True))


def test_a_run_that_trains_is_stopped_and_goes_on(tmp_path: Path) -> None:
    """Events of work that is done again are taken back; those at the checkpoint's own sample stay."""
    words = [
        "quickstart",
        "--tensorboard=true",
        "--resume=auto",
        "--epochs=3",
        "--policy.interval=1",
        f"--out={tmp_path}",
    ]
    command = [sys.executable, "-m", "hpc_adabatch", "train", *words, f"--out={tmp_path}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    journal, deadline = tmp_path / "journal.jsonl", time.monotonic() + 60
    while not (journal.exists() and b'"evaluation"' in journal.read_bytes()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.wait()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    points, texts = events(tmp_path / "tensorboard")
    check(points, read(journal))
    assert (texts[-1][0], texts[-1][1]) == (3 * 1437, "end: complete")


def test_points_after_the_checkpoint_are_taken_back(tmp_path: Path) -> None:
    records = read(JOURNALS / "adabatch.jsonl")
    kept = next(at for at, record in enumerate(records) if record["kind"] == "evaluation") + 1
    first = TensorBoard(tmp_path, [])
    for record in records:
        first.take(record)
    second = TensorBoard(tmp_path, records[:kept])
    for record in records[kept:]:
        second.take(record)
    check(events(tmp_path / "tensorboard")[0], records)


def test_a_run_that_begins_anew_takes_all_points_back(tmp_path: Path) -> None:
    records = read(JOURNALS / "adabatch.jsonl")
    for _ in range(2):
        log = TensorBoard(tmp_path, [])
        for record in records:
            log.take(record)
    check(events(tmp_path / "tensorboard")[0], records)


def test_a_script_has_the_same(tmp_path: Path) -> None:
    torch.manual_seed(0)
    train_set = torch.utils.data.TensorDataset(torch.randn(64, 4), torch.randn(64, 1))
    model = torch.nn.Linear(4, 1)
    batches = hab.AdaptiveBatches(train_set, 8, max_global_batch=32)
    policy = hab.AdaBatch(factor=2, interval=1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    training = hab.AdaptiveTraining(model, optimizer, batches, cluster=SingleProcess(), policy=policy)
    with hab.Run(tmp_path, training, epochs=3, tensorboard=True) as run:
        for epoch in run.epochs():
            for step in run.epoch(epoch):
                for inputs, targets in step:
                    step.backward((model(inputs) - targets).square().mean())
                step.update()
    records = read(tmp_path / "journal.jsonl")
    points, _ = events(tmp_path / "tensorboard")
    assert points["train/loss"] == of(records, "statistics", "loss")
    holding = [record for record in records if record["kind"] in ("start", "decision")]
    assert points["batch/global"] == [(record["cursor"], record["global_batch"]) for record in holding]
    assert {value for _, value in points["batch/global"]} == {8, 16, 32}
