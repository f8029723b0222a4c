"""The parts of a run's time are those of the journal, and add up."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from hpc_adabatch.errors import InputError
from hpc_adabatch.policies import POLICIES
from hpc_adabatch.run.report.time_spent import statistics_cost, step_parts, time_spent

sys.path.insert(0, str(Path(__file__).resolve().parent))
from made_runs import Record, run


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize("rule", sorted(POLICIES))
def test_parts_add_up_to_the_wall_time(rule: str, complete: bool, tmp_path: Path) -> None:
    found = run(tmp_path, rule, complete=complete)
    parts = time_spent(found)
    assert sum(part.seconds for part in parts) == pytest.approx(found.result["wall_s"], rel=2e-3)
    assert all(part.seconds > 0 for part in parts)


def test_each_part(tmp_path: Path) -> None:
    """Ten seconds more before each evaluation's line, and a restart 40 s later, are found where they belong."""

    def slower(records: list[Record]) -> list[Record]:
        late, out = 0.0, []
        for record in records:
            late += {"evaluation": 10.0, "resume": 40.0}.get(record["kind"], 0.0)
            out.append({**record, "time_s": record["time_s"] + late})
        return out

    before, after = ({p.name: p.seconds for p in time_spent(run(tmp_path, "fixed", c))} for c in (list, slower))
    assert after["evaluation"] - before["evaluation"] == pytest.approx(30)
    assert after["start and restarts"] - before["start and restarts"] == pytest.approx(40)


def test_the_cost_of_statistics_is_the_mean_of_those_told(tmp_path: Path) -> None:
    found = run(tmp_path, "norm_test")
    told = [line["statistics_cost"] for line in found.of_kind("decision") if line["statistics_cost"] is not None]
    assert statistics_cost(found) == pytest.approx(sum(told) / len(told))
    assert statistics_cost(run(tmp_path, "fixed")) is None


def test_a_step_as_adabatch_measure_has_timed_it(tmp_path: Path) -> None:
    found = run(tmp_path, "fixed")
    assert step_parts(found) == []
    file = tmp_path / "measure" / "result.json"
    file.parent.mkdir()
    content = {"kind": "measure", "data_s": 0.2, "compute_s": 0.5, "straggler_s": 0.0, "exposed_s": -0.01}
    file.write_text(json.dumps(content), encoding="utf-8")
    assert [part.seconds for part in step_parts(found)] == [0.2, 0.5, 0.0, 0.0]
    file.write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match="without data_s"):
        step_parts(found)
