"""Files that a study, a plan or a report reads, damaged in many ways: one line or of use, never a traceback."""

from __future__ import annotations

import json
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpc_adabatch.command_line import parse_recipe
from hpc_adabatch.errors import InputError
from hpc_adabatch.replay import Replay
from hpc_adabatch.run.preview import preview
from hpc_adabatch.run.result import report, write_result
from hpc_adabatch.study import submissions
from hpc_adabatch.study.ahead import plan_ahead
from hpc_adabatch.study.collect import collect
from hpc_adabatch.study.flags import NodesFlags
from hpc_adabatch.study.folder import StudyFolder
from hpc_adabatch.study.places import place_of
from hpc_adabatch.study.terminal import batches_text, plan_table, results_table, status_table
from hpc_adabatch.terminal import display
from hpc_adabatch.training.journal import read

sys.path.insert(0, str(Path(__file__).resolve().parent / "study" / "fakes"))
from planned import planned

TESTS = Path(__file__).resolve().parent
RECIPE = str(TESTS.parent / "recipes" / "quickstart.yaml")
OTHERS: list[Any] = [
    *(None, True, -1, 0, 1.5, 10**30, float("nan"), float("inf"), "", "x[/red]"),
    *([], [1, "a"], {}, {"a": 1}),
]


def other_value(text: str, draw: random.Random) -> str:
    """JSON with one value replaced or removed; of JSON lines, one line."""
    lines = text.splitlines() if text.count("\n{") else [text]
    at = draw.randrange(len(lines))
    tree = {"": json.loads(lines[at])}
    spots: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        for key in list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
            spots.append((node, key))
            walk(node[key])

    walk(tree)
    node, key = draw.choice(spots)
    if draw.random() < 0.25 and node is not tree:
        del node[key]
    else:
        node[key] = draw.choice(OTHERS)
    lines[at] = json.dumps(tree[""])
    return "\n".join([*lines, ""])


def other_bytes(content: bytes, draw: random.Random) -> bytes:
    """The bytes cut short, with one changed, or with some that are zero."""
    at = draw.randrange(len(content))
    kind = draw.randrange(3)
    return (
        content[:at],
        content[:at] + bytes([draw.randrange(256)]) + content[at + 1 :],
        content[:at] + bytes(min(64, len(content) - at)) + content[at + 64 :],
    )[kind]


def look(folder: StudyFolder) -> None:
    study = folder.load()
    display(plan_table(study), batches_text(study))
    place = place_of(study, folder)
    states = place.look()
    display(status_table(states))
    display(results_table(collect(folder, states, place.accounts(states))))


def a_study(folder: Path) -> StudyFolder:
    _, made = planned(folder, where="local", launcher="mpirun", template="", sbatch=())
    first, second, third, _ = made.load().cells
    submissions.write(made, first.name, 1, command=["a", "b"])
    submissions.write(made, first.name, 1, exit_code=0, stopped="")
    submissions.write(made, second.name, 1, command=["a"])
    submissions.write(made, second.name, 1, error="no such file", refused=True)
    submissions.write(made, third.name, 1, job_id="81")
    submissions.write(made, third.name, 1, seen="FAILED", reason="exit 1", submitted_s=1.0, began_s=2.0, ended_s=9.5)
    return made


def of_study(name: str) -> Callable[[Path], tuple[Path, Callable[[], object]]]:
    def make(folder: Path) -> tuple[Path, Callable[[], object]]:
        made = a_study(folder)
        result = made.make_cell(made.load().cells[0].name) / "result.json"
        step = {"median_s": 0.1, "lower_quartile_s": 0.09, "upper_quartile_s": 0.2}
        content = {"kind": "measure", "global_batch": 16, "step_s": step, "data_s": 0.01, "samples_per_s": 160.0}
        result.write_text(json.dumps(content), encoding="utf-8")
        paths = {"study.json": made.study, "submissions.jsonl": made.submissions, "result.json": result}
        return paths[name], lambda: look(made)

    return make


def a_probe(folder: Path) -> tuple[Path, Callable[[], object]]:
    path = folder / "probe.json"
    steps = [{"micro_batch": size, "forward_backward": {"median_s": 1e-4 * size}} for size in (16, 64, 256)]
    messages = {"fit": {"latency_s": 1e-4, "bandwidth_bytes_per_s": 1e9}}
    content = {"nodes": 2, "device_name": "a GPU", "steps": {"steps": steps}, "messages": messages}
    path.write_text(json.dumps(content), encoding="utf-8")
    recipe, _, _ = parse_recipe("plan", [RECIPE])
    flags = NodesFlags(nodes="1,2,4", probe=str(path), network="measured", noise_scale=100.0)
    return path, lambda: list(plan_ahead(recipe, 1, flags))


def from_run(folder: Path) -> tuple[Path, Callable[[], object]]:
    path = Path(shutil.copy(TESTS / "journals" / "noise_scale.jsonl", folder / "journal.jsonl"))
    recipe, _, _ = parse_recipe("plan", [RECIPE])
    (folder / "probe").mkdir()
    probe, _ = a_probe(folder / "probe")
    flags = NodesFlags(nodes="1,2,4", probe=str(probe), from_run=str(folder))
    return path, lambda: list(plan_ahead(recipe, 1, flags))


def batches_from_run(folder: Path) -> tuple[Path, Callable[[], object]]:
    path = Path(shutil.copy(TESTS / "journals" / "noise_scale.jsonl", folder / "journal.jsonl"))
    recipe, _, _ = parse_recipe(
        "plan", [RECIPE, "--policy=noise_scale", "--global_batch=200", "--max_global_batch=600"]
    )
    return path, lambda: preview(recipe, 1, measure=False, from_run=str(folder))


def noise_from_run(folder: Path) -> tuple[Path, Callable[[], object]]:
    path = Path(shutil.copy(TESTS / "journals" / "noise_scale.jsonl", folder / "journal.jsonl"))
    flags = ["--policy=fixed", "--global_batch=64", "--learning_rate.scaling=adascale", "--epochs=1"]
    recipe, _, _ = parse_recipe("plan", [RECIPE, *flags, "--learning_rate.reference_batch=16"])
    return path, lambda: preview(recipe, 1, measure=False, from_run=str(folder))


def a_replay(folder: Path) -> tuple[Path, Callable[[], object]]:
    path = Path(shutil.copy(TESTS / "journals" / "noise_scale.jsonl", folder / "journal.jsonl"))
    return path, lambda: Replay(journal=str(path))


def a_report(name: str) -> Callable[[Path], tuple[Path, Callable[[], object]]]:
    def make(folder: Path) -> tuple[Path, Callable[[], object]]:
        path = Path(shutil.copy(TESTS / "journals" / "adabatch.jsonl", folder / "journal.jsonl"))
        write_result(folder / "result.json", read(path), wall_s=3.0, samples_per_s=100.0)
        return folder / name, lambda: display(*report(folder))

    return make


FILES = {
    "study.json": of_study("study.json"),
    "submissions.jsonl": of_study("submissions.jsonl"),
    "result.json of a cell": of_study("result.json"),
    "probe.json": a_probe,
    "the journal of --from_run": from_run,
    "the journal of plan": batches_from_run,
    "the journal of AdaScale's plan": noise_from_run,
    "the journal of replay": a_replay,
    "the journal of report": a_report("journal.jsonl"),
    "result.json of report": a_report("result.json"),
}


DRAWS = 45  # 400 were tried of each


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_told_in_one_line_or_used(name: str, tmp_path: Path) -> None:
    path, use = FILES[name](tmp_path)
    use()
    good = path.read_bytes()
    told: list[str] = []
    for seed in range(DRAWS):
        draw = random.Random(seed)
        damaged = other_value(good.decode(), draw).encode() if seed % 3 else other_bytes(good, draw)
        path.write_bytes(damaged)
        try:
            use()
        except InputError as error:
            told.append(str(error))
        except Exception as error:
            raise AssertionError(damaged[-2000:]) from error
    assert len(told) > DRAWS / 20
    assert not [line for line in told if "\n" in line or "; allowed: " not in line]
