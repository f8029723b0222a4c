"""Offline runs of Weights & Biases, read back with the package's own messages: of journals, of a run that goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from wandb.proto import wandb_internal_pb2 as messages

from hpc_adabatch.errors import InputError
from hpc_adabatch.policies import POLICIES
from hpc_adabatch.run.export.export import export
from hpc_adabatch.training.journal import Record, read

pytestmark = pytest.mark.long
JOURNALS = Path(__file__).resolve().parents[2] / "journals"
BLOCK = 32768  # bytes of LevelDB's log, whose format the file has
NEVER = "http://127.0.0.1:9"


def stored(folder: Path) -> Iterator[Any]:
    """The messages in a folder's offline run, in pieces, each of them after checksum, length and kind."""
    (path,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    content, at, message = path.read_bytes(), 7, b""  # after the file's own heading
    while at + 7 <= len(content):
        if BLOCK - at % BLOCK < 7:  # what is left of a block is empty
            at += BLOCK - at % BLOCK
            continue
        length, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
        message += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # the whole message, or its last piece
            yield messages.Record.FromString(message)
            message = b""
    assert at == len(content)


def rows(folder: Path) -> list[dict[str, Any]]:
    found = []
    for record in stored(folder):
        if record.WhichOneof("record_type") == "history":
            items = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
            assert items["_step"] == record.history.step.num
            found.append(items)
    return found


def begun(folder: Path) -> tuple[str, str, dict[str, Any]]:
    """The id, the name and the fields of the run."""
    run = next(record.run for record in stored(folder) if record.WhichOneof("record_type") == "run")
    fields = {update.key: json.loads(update.value_json) for update in run.config.update if update.key != "_wandb"}
    return run.run_id, run.display_name, fields


def points(found: list[dict[str, Any]], tag: str) -> list[tuple[int, Any]]:
    return [(row["_step"], row[tag]) for row in found if tag in row]


def of(records: list[Record], kind: str, name: str) -> list[tuple[int, Any]]:
    """The points that lines of a kind have; the last where several have the same samples."""
    kinds = kind.split()
    said = [record for record in records if record["kind"] in kinds and record.get(name) is not None]
    return list({record["cursor"]: record[name] for record in said}.items())


def check(folder: Path) -> None:
    found, records = rows(folder), read(folder / "journal.jsonl")
    assert [row["_step"] for row in found] == sorted({row["_step"] for row in found}), "each point once"
    assert points(found, "train/loss") == of(records, "statistics", "loss")
    assert points(found, "train/learning_rate") == of(records, "statistics", "learning_rate")
    assert points(found, "run/updates") == of(records, "statistics", "step")
    assert points(found, f"test/{records[0]['metric']}") == of(records, "evaluation", "metric")
    assert points(found, "noise/scale") == of(records, "noise", "noise_scale")
    assert points(found, "batch/global") == of(records, "start decision resume", "global_batch")
    began = [row["_timestamp"] - row["run/time_s"] for row in found]
    assert began == pytest.approx([began[0]] * len(found), abs=1e-3)


@pytest.mark.parametrize("rule", sorted(POLICIES))
def test_the_offline_run_of_a_journal(rule: str, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "journal.jsonl").write_bytes((JOURNALS / f"{rule}.jsonl").read_bytes())
    ways = sys.exit, sys.excepthook, dict(os.environ)
    (told,) = export([folder], None, tensorboard=False, wandb=True)
    assert (sys.exit, sys.excepthook, dict(os.environ)) == ways
    (written,) = folder.glob("wandb/offline-run-*")
    assert told == f"wrote {written}; type, where there is a network: wandb sync {written}"
    check(folder)
    run_id, name, fields = begun(folder)
    assert (name, run_id[:9], set(fields)) == ("mine", "adabatch-", {"start"})
    assert (fields["start"]["policy"], fields["start"]["world_size"]) == (rule, 1)
    assert rows(folder)[-1]["told/end"] == "end: complete"


def train(folder: Path, *more: str) -> subprocess.Popen[bytes]:
    words = ["train", "quickstart", "--resume=auto", "--policy.interval=1", f"--out={folder}", *more]
    return subprocess.Popen([sys.executable, "-m", "hpc_adabatch", *words], stdout=subprocess.DEVNULL)


def write(folder: Path, **variables: str) -> str:
    """What the command says, where it must find no network, no account and no home."""
    home = folder.parent / "home"
    home.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "hpc_adabatch", "export", str(folder), "--wandb", "true"]
    environment = os.environ | {"HOME": str(home), "WANDB_BASE_URL": NEVER} | variables
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert list(home.iterdir()) == [], "it writes into the run's folder alone"
    return done.stdout


def test_a_run_that_trains_is_killed_and_goes_on_keeps_its_id(tmp_path: Path) -> None:
    """It is written while it trains, and again at its end, with each point once and the recipe's fields."""
    folder = tmp_path / "run"
    process, deadline = train(folder, "--epochs=3"), time.monotonic() + 60
    while not ((folder / "journal.jsonl").exists() and b'"evaluation"' in (folder / "journal.jsonl").read_bytes()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGSTOP)  # so that it is still at the same line when they are compared
    write(folder)
    check(folder)
    first = begun(folder)
    process.kill()
    process.wait()
    assert train(folder, "--epochs=4").wait() == 0
    write(folder, WANDB_MODE="online", WANDB_RESUME="must", WANDB_RUN_ID="another", WANDB_DIR="/nowhere")
    check(folder)
    assert rows(folder)[-1]["_step"] == 4 * 1437
    run_id, name, fields = begun(folder)
    assert (run_id, name) == (first[0], "run")
    assert (first[2]["epochs"], fields["epochs"]) == (3, 4)
    assert fields["policy"]["interval"] == 1
    assert fields["optimizer"]["lr"] == 0.05


def test_a_scripts_own_runs_in_that_folder_stay(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_bytes((JOURNALS / "fixed.jsonl").read_bytes())
    own = tmp_path / "wandb" / "offline-run-20260101_000000-mine"
    own.mkdir(parents=True)
    for _ in range(2):
        list(export([tmp_path], None, tensorboard=False, wandb=True))
    assert len(list(tmp_path.glob("wandb/offline-run-*"))) == 2
    assert own.exists()


@pytest.mark.parametrize("content", ["a: [", "- 1", "\x00"])
def test_a_damaged_recipe_is_told_in_one_line_and_nothing_is_removed(content: str, tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_bytes((JOURNALS / "fixed.jsonl").read_bytes())
    list(export([tmp_path], None, tensorboard=False, wandb=True))
    (tmp_path / "config.yaml").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=r"^RUN: given \S+/config.yaml \(\w+\); allowed: the recipe of the run"):
        list(export([tmp_path], None, tensorboard=False, wandb=True))
    check(tmp_path)
