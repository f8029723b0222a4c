"""The page of oracles: its short form holds, nothing is left out, and what does not hold is shown and ends in 1."""

from __future__ import annotations

import ast
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))  # benchmarks is not installed

from benchmarks.oracles import __main__ as command  # noqa: E402
from benchmarks.oracles.case import Case, Found  # noqa: E402
from benchmarks.oracles.page import CASES, line, page, row  # noqa: E402
from hpc_adabatch.cluster.single import SingleProcess  # noqa: E402
from hpc_adabatch.learning_rate.rule import PRESETS, SCALINGS  # noqa: E402
from hpc_adabatch.optim import OPTIMIZERS  # noqa: E402
from hpc_adabatch.policies import POLICIES  # noqa: E402

PAGE = ROOT / "docs" / "results" / "oracles.md"
QUICK = [case for case in CASES if case.quick]


@pytest.mark.parametrize("case", QUICK, ids=[f"{n}" for n in range(len(QUICK))])
def test_the_short_form_holds(case: Case) -> None:
    found = case.found(SingleProcess())
    assert found.difference <= case.tolerance, line(case, [found])


ORACLES = ["formulas.py", "oracles/problem.py", *(f"oracles/equations/{n}.py" for n in ("noise", "rates", "rules"))]


@pytest.mark.parametrize("path", [*ORACLES, "oracles/equations/search.py"])
def test_oracles_do_not_import_the_package(path: str) -> None:
    tree = ast.parse((ROOT / "benchmarks" / path).read_text(encoding="utf-8"))
    imported = [name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names]
    imported += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert imported
    assert not [name for name in imported if name.startswith("hpc_adabatch")]


def test_every_rule_optimizer_and_schedule_has_an_oracle() -> None:
    texts = " ".join(case.text for case in CASES).lower()
    decays = ("step", "poly", "cosine", "weight decay per epoch", "adascale")
    wanted = {*POLICIES, *OPTIMIZERS, *SCALINGS, *PRESETS, *decays} - {"fixed", "none"}
    assert [name for name in sorted(wanted) if name not in texts] == []


def test_the_committed_page_has_the_lines_of_the_code() -> None:
    lines = [text.split(" | ")[:2] for text in PAGE.read_text(encoding="utf-8").splitlines() if text[:2] == "| "]
    shown = [cells for cells in lines if cells[0] != "| paper and equation"]
    assert shown == [row((case.paper, case.text, "")).split(" | ")[:2] for case in CASES]


WRONG = Found(oracle=[2.0, 3.0], package=[2.0, 3.3], difference=0.1, ranks=3)


def test_a_line_that_does_not_hold_says_so() -> None:
    case = CASES[0]
    right = replace(WRONG, package=[2.0, 3.0], difference=0.0, ranks=1)
    assert line(case, [right]).endswith("| 1 | 2, 3 | 2, 3 | 0 | yes |")
    assert line(case, [right, WRONG]).endswith("| 1, 3 | 2, 3 | 2, 3.3 | 1e-01 | **no** |")
    assert "**1 of 2 lines hold.**" in page({case: [right], CASES[1]: [right, WRONG]})


def test_numbers_that_are_missing_and_errors_do_not_hold() -> None:
    short = Case(paper="p", text="t", run=lambda _: ([1.0, 2.0], [1.0]))
    assert line(short, [short.found(SingleProcess())]).endswith("| 1, 2 | 1 | other numbers | **no** |")
    raises = Case(paper="p", text="t", run=lambda _: ([1 / 0], [1.0]))
    assert "ZeroDivisionError" in line(raises, [raises.found(SingleProcess())])


@pytest.mark.parametrize(("difference", "code"), [(0.0, 0), (0.1, 1)])
def test_the_command_ends_in_1_where_a_line_does_not_hold(
    difference: float, code: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = replace(WRONG, difference=difference)
    monkeypatch.setattr(command, "on", lambda ranks: {CASES[0]: replace(found, ranks=ranks)})
    assert command.main(["--ranks", "1,2", "--write", str(tmp_path / "page.md")]) == code
    assert ("**no**" in (tmp_path / "page.md").read_text(encoding="utf-8")) == bool(code)


def test_the_table_of_results_says_how_many_lines_hold() -> None:
    held = re.search(r"\*\*(\d+ of \d+) lines hold", PAGE.read_text(encoding="utf-8"))
    assert held
    assert f"{held[1]} lines agree" in (PAGE.parent / "README.md").read_text(encoding="utf-8")
