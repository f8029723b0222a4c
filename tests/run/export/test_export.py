"""Journals for other tools: what is read back from each file is what the journal has."""

from __future__ import annotations

import builtins
import csv
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from hpc_adabatch.errors import InputError
from hpc_adabatch.policies import POLICIES
from hpc_adabatch.run.export.columns import FIRST, columns
from hpc_adabatch.run.export.export import export
from hpc_adabatch.training.journal import read

JOURNALS = Path(__file__).resolve().parents[2] / "journals"


def a_run(folder: Path, rule: str = "noise_scale") -> list[dict[str, Any]]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "journal.jsonl").write_bytes((JOURNALS / f"{rule}.jsonl").read_bytes())
    return read(folder / "journal.jsonl")


def field(record: dict[str, Any], name: str) -> Any:
    """The value that a row of a table has for a field of a line."""
    if name == "metric":
        return record.get("metric") if record["kind"] != "start" else None
    value = record["metric"] if name == "metric_name" and record["kind"] == "start" else record.get(name)
    return json.dumps(value) if isinstance(value, dict | list) else value


@pytest.mark.parametrize("rule", sorted(POLICIES))
def test_a_parquet_file_has_every_field_of_every_line(rule: str, tmp_path: Path) -> None:
    records = a_run(tmp_path / "run", rule)
    told = list(export([tmp_path / "run"], tmp_path / "run.parquet", tensorboard=False))
    table = parquet.read_table(tmp_path / "run.parquet").to_pydict()
    names = {name for record in records for name in record} | {"run", "metric_name"}
    assert set(table) == names
    assert told == [f"wrote {tmp_path / 'run.parquet'}: {len(records)} lines, {len(names)} columns"]
    assert set(table["run"]) == {"run"}
    for name in names - {"run"}:
        assert table[name] == [field(record, name) for record in records], name


def test_a_csv_file_says_the_same(tmp_path: Path) -> None:
    records = a_run(tmp_path / "run")
    list(export([tmp_path / "run"], tmp_path / "run.csv", tensorboard=False))
    with (tmp_path / "run.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0])[: len(FIRST)] == FIRST
    for row, record in zip(rows, records, strict=True):
        for name, text in row.items():
            value = field(record, name) if name != "run" else "run"
            assert text == ("" if value is None else str(value)), name


def test_several_runs_are_told_by_their_folders(tmp_path: Path) -> None:
    lengths = {rule: len(a_run(tmp_path / rule, rule)) for rule in ("adabatch", "fixed")}
    list(export([tmp_path / rule for rule in lengths], tmp_path / "runs.parquet", tensorboard=False))
    labels = parquet.read_table(tmp_path / "runs.parquet").to_pydict()["run"]
    assert {label: labels.count(label) for label in labels} == lengths


def test_a_column_has_values_of_one_kind() -> None:
    values = [(1, 1, 2**64), (2.5, "two", None), (None, True, 7), (1e300, None, 8)]
    lines = [{"kind": "x", "cursor": n, "a": a, "b": b, "c": c} for n, (a, b, c) in enumerate(values)]
    found = columns({"run": lines})
    assert found["a"] == [1.0, 2.5, None, 1e300]
    assert found["c"] == ["18446744073709551616", None, "7", "8"]
    assert found["b"] == ["1", "two", "true", None]
    assert [type(value) for value in found["a"]] == [float, float, type(None), float]


@pytest.mark.parametrize(
    ("to", "told"),
    [
        (None, r"to: given nothing; allowed: a file \*.csv or \*.parquet; type adabatch export runs/NAME --to run.csv"),
        ("run.txt", "to: given .*run.txt; allowed: a file whose name ends in .csv or .parquet"),
        ("none/run.csv", "to: given .*run.csv, in no folder that there is"),
    ],
)
def test_what_cannot_be_written_is_told_in_one_line(to: str | None, told: str, tmp_path: Path) -> None:
    a_run(tmp_path / "run")
    with pytest.raises(InputError, match=told):
        list(export([tmp_path / "run"], tmp_path / to if to else None, tensorboard=False))


def test_a_folder_without_a_run_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"RUN: given .*none"):
        list(export([tmp_path / "none"], tmp_path / "run.csv", tensorboard=False))
    assert not (tmp_path / "run.csv").exists()


@pytest.mark.parametrize(
    ("package", "to", "told"),
    [
        ("pyarrow", "run.parquet", "to: given a .parquet file, without pyarrow; .* pip install 'pyarrow"),
        ("torch.utils.tensorboard", "tensorboard", "tensorboard: given true, without .* pip install 'tensorboard"),
        ("wandb", "wandb", "wandb: given true, without the package wandb; .* pip install 'wandb"),
    ],
)
def test_a_missing_package_is_told_in_one_line(
    package: str, to: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_run(tmp_path / "run")
    monkeypatch.delitem(sys.modules, package, raising=False)
    imported = builtins.__import__

    def without(name: str, *arguments: Any, **more: Any) -> Any:
        if name.startswith(package):
            raise ImportError(name)
        return imported(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    file = tmp_path / to if to.endswith(".parquet") else None
    with pytest.raises(InputError, match=told):
        list(export([tmp_path / "run"], file, tensorboard=to == "tensorboard", wandb=to == "wandb"))
    assert {path.name for path in tmp_path.rglob("*")} == {"run", "journal.jsonl"}
