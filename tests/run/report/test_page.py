"""The page: whole HTML that needs nothing from outside, and says what the terminal says."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
from pathlib import Path

import pytest
from rich.console import Console

from hpc_adabatch.cli import main
from hpc_adabatch.errors import InputError
from hpc_adabatch.policies import POLICIES
from hpc_adabatch.run.report import figures
from hpc_adabatch.run.report.account import Account
from hpc_adabatch.run.report.page import page, write_page
from hpc_adabatch.run.report.tables import SHOWN
from hpc_adabatch.run.result import lines

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from html_page import Read
from made_runs import JOURNALS, Record, ended, run, without_end

pytestmark = pytest.mark.long

EVIL = "</td></script><script>alert(1)</script> \"quotes' & <b> @x $name"
MEGABYTES = 1e6


def terminal(runs: list[Account]) -> str:
    console = Console(width=250)
    with console.capture() as capture:
        for part in lines(runs):
            console.print(part)
    return capture.get()


def check_whole(text: str) -> Read:
    """Sees that a page is whole, small, and asks for nothing; returns it."""
    assert len(text.encode()) < 4 * MEGABYTES
    found = Read(text)
    assert found.open == []
    loads = {"src", "srcset", "href", "action", "data", "poster", "background"}
    assert [entry for entry in found.attributes if entry[1] in loads] == []
    assert not any(name.startswith("on") for _, name, _ in found.attributes), "scripts in attributes"
    style = text.partition("<style>")[2].partition("</style>")[0]
    assert not re.search(r"url\(|@import|https?:", style)
    (policy,) = [
        value for tag, name, value in found.attributes if (tag, name) == ("meta", "content") and "src" in value
    ]
    assert policy.startswith("default-src 'none'; img-src data:;")
    runs_ = [script for script, kind in zip(found.scripts, _kinds(found), strict=True) if kind != "application/json"]
    digests = {base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in runs_}
    assert digests == set(re.findall(r"'sha256-([^']+)'", policy)), "the browser lets these scripts run, and no other"
    assert all(len({len(row) for row in table}) == 1 for table in found.tables)
    return found


def _kinds(found: Read) -> list[str]:
    kinds = iter([value for tag, name, value in found.attributes if (tag, name) == ("script", "type")])
    return [next(kinds) if script.startswith("{") else "" for script in found.scripts]


@pytest.mark.parametrize("rule", sorted(POLICIES))
def test_the_page_of_a_run_says_what_the_terminal_says(rule: str, tmp_path: Path) -> None:
    found = run(tmp_path, rule)
    content = page([found])
    text = check_whole(content)
    shown = terminal([found])
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.splitlines() if line.startswith("│")]
    (phases,) = [table for table in text.tables if table[0][0] == "epochs"]
    assert phases[1:] == rows
    result = found.result
    for number in (
        f"{result['steps_of_fixed_batch'] / result['steps']:.2f} times fewer",
        f"{result['metric']['value']:.4f}",
    ):
        assert number in shown
        assert number in text.text or result["steps"] == result["steps_of_fixed_batch"]
    names = re.findall(r"<h3>(.*?)</h3>", content)
    assert names[1:] == ["Loss", "Test accuracy", "Learning rate", "Throughput"]


def test_every_decision_that_changed_something_is_told_with_its_reason(tmp_path: Path) -> None:
    found = run(tmp_path, "adabatch")
    (table,) = [table for table in check_whole(page([found])).tables if table[0][-1] == "reason"]
    changed = [r for r in found.of_kind("decision") if r["learning_rate_factor"] != 1.0]
    assert [row[-1] for row in table[1:]] == [r["reason"] for r in changed]


def test_several_runs_are_compared(tmp_path: Path) -> None:
    runs = [run(tmp_path / rule, rule, label=rule) for rule in ("fixed", "adabatch", "noise_scale", "cabs", "smith")]
    text = check_whole(page(runs))
    shown = terminal(runs)
    (table,) = [table for table in text.tables if "updates saved" in table[0]]
    assert [row[0] for row in table[1:]] == ["fixed", "adabatch", "noise_scale", "cabs", "smith"]
    assert all(cell in shown for row in table[1:] for cell in row)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without_end, "Cut off at epoch 3: its journal has no end"),
        (ended("SIGTERM"), "by SIGTERM"),
        (ended("diverged: 100 steps in a row were skipped"), "100 steps in a row were skipped"),
        (lambda records: records[:1], "There is nothing to draw yet"),
        (lambda records: records[:2], "Cut off at epoch"),
        (lambda records: [r for r in records if r["kind"] not in ("statistics", "noise")], "Global batch"),
        (lambda records: [r for r in records if r["kind"] != "evaluation"], "Global batch"),
        (lambda records: [{**r, "loss": None} if "loss" in r else r for r in records], "Global batch"),
        (
            lambda records: [{**r, "metric": None} if r["kind"] in ("evaluation", "end") else r for r in records],
            "not finite",
        ),
    ],
)
def test_runs_that_failed_or_recorded_little_have_a_page(change: object, words: str, tmp_path: Path) -> None:
    found = run(tmp_path, "norm_test", change, complete=False)  # type: ignore[arg-type]
    assert words in check_whole(page([found])).text
    check_whole(page([found, found]))
    assert terminal([found])


def test_a_run_with_fifty_restarts(tmp_path: Path) -> None:
    def restarts(records: list[Record]) -> list[Record]:
        at = next(number for number, record in enumerate(records) if record["kind"] == "resume")
        return [*records[:at], *[records[at]] * 50, *records[at + 1 :]]

    text = check_whole(page([run(tmp_path, "adabatch", restarts)]))
    assert "50 restarts" in text.text
    (table,) = [table for table in text.tables if table[0][-1] == "changed"]
    assert [row[-1] for row in table[1:]] == ["epochs: 2 to 3"] * 50


def test_a_long_journal_is_thinned_and_the_page_says_so(tmp_path: Path) -> None:
    """Real lines, repeated 400 times; what is not drawn is still in the numbers."""

    def long(records: list[Record]) -> list[Record]:
        body, last, found = records[1:-1], records[-2], [records[0]]
        for number in range(400):
            shift = {name: number * last[name] for name in ("step", "cursor", "time_s")}
            found += [
                {**r, **{name: r[name] + more for name, more in shift.items()}} for r in body if r["kind"] != "resume"
            ]
        return [*found, {**records[-1], **{name: found[-1][name] for name in ("step", "cursor", "time_s")}}]

    found = run(tmp_path, "norm_test", long)
    text = page([found])
    assert len(text) < 2 * MEGABYTES
    whole = check_whole(text)
    assert "Curves of more points than a screen has are drawn through fewer" in whole.text
    assert f"{found.records[-1]['step']:,}" in whole.text
    assert max(map(len, whole.tables)) <= SHOWN + 1
    assert "Curves of more points" not in check_whole(page([run(tmp_path / "short", "norm_test")])).text


def test_twenty_runs_and_a_network_of_many_layers_stay_small(tmp_path: Path) -> None:
    def deep(records: list[Record]) -> list[Record]:
        ratios = {f"layer{number}.a_long_name.weight": 0.001 * (number + 1) for number in range(300)}
        lines_ = [{**records[-2], "kind": "trust_ratios", "ratios": ratios} for _ in range(200)]
        return [*records[:-1], *lines_, records[-1]]

    text = page([run(tmp_path / "deep", "fixed", deep)])
    assert "Trust ratios by layer" in check_whole(text).text
    found = run(tmp_path / "one", "norm_test")
    check_whole(page([found] * 20))


def test_what_comes_from_files_is_text(tmp_path: Path) -> None:
    def evil(records: list[Record]) -> list[Record]:
        named = {
            "name": EVIL,
            "task": EVIL,
            "model": EVIL,
            "policy": EVIL,
            "optimizer": EVIL,
            "device": EVIL,
            "metric": EVIL,
        }
        told = [{**r, "reason": EVIL} if r["kind"] == "decision" else r for r in records[1:]]
        changed = [{**r, "changed": {EVIL: [EVIL, EVIL]}} if r["kind"] == "resume" else r for r in told]
        ratios = {**records[-2], "kind": "trust_ratios", "ratios": {EVIL: 0.5}}
        return [records[0] | named, *changed[:-1], ratios, changed[-1]]

    runs = [run(tmp_path / name, "adabatch", evil, label=EVIL + name) for name in ("a", "b")]
    for shown in ([runs[0]], runs):
        text = check_whole(page(shown))
        assert EVIL in text.text
        assert sum("alert(1)" in script for script in text.scripts) <= 1, "in the numbers that Bokeh draws, as JSON"
        for script in text.scripts:
            assert "<script" not in script.partition("docs_json")[2]
    cells = [cell for table in check_whole(page(runs[:1])).tables for row in table for cell in row]
    assert cells.count(EVIL) >= 6


def test_the_command_writes_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path / "a", "noise_scale")
    run(tmp_path / "b", "fixed")
    for words, file in (
        (["a", "--html"], "a/report.html"),
        (["a", "b", "--html", "own.html"], "own.html"),
    ):
        with pytest.raises(SystemExit) as caught:
            main(["report", *(str(tmp_path / word) if word != "--html" else word for word in words)])
        assert caught.value.code == 0
        assert str(tmp_path / file) in capsys.readouterr().out
        check_whole((tmp_path / file).read_text(encoding="utf-8"))


def test_where_bokeh_is_missing_one_line_says_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = run(tmp_path, "fixed")
    monkeypatch.setitem(sys.modules, "bokeh.embed", None)
    with pytest.raises(InputError) as caught:
        write_page(tmp_path / "report.html", [found])
    assert "html: given a page, but Bokeh, which draws it, is missing" in str(caught.value)
    assert f"pip install '{figures.NEEDS}'" in str(caught.value)
    assert not (tmp_path / "report.html").exists()
    assert terminal([found]), "the table needs none"


def test_a_damaged_journal_is_one_line(tmp_path: Path) -> None:
    found = run(tmp_path, "fixed", lambda records: [{**r, "loss": "low"} if "loss" in r else r for r in records])
    with pytest.raises(InputError, match="ValueError"):
        write_page(tmp_path / "report.html", [found])


def test_script_and_style_stand_beside_the_page() -> None:
    """They are package data: setup.py names them."""
    setup = (JOURNALS.parents[1] / "setup.py").read_text(encoding="utf-8")
    for name in ("page.css", "page.js"):
        assert f"run/report/{name}" in setup
        assert Path(figures.__file__).with_name(name).exists()


def test_colours_of_charts_are_those_of_the_style() -> None:
    from hpc_adabatch.run.report.sheet import LIGHT

    style = Path(figures.__file__).with_name("page.css").read_text(encoding="utf-8")
    light, _, dark = style.partition("@media (prefers-color-scheme: dark)")
    assert json.loads(json.dumps(LIGHT)) == {name: re.findall(rf"--{name}: (#\w+)", light)[0] for name in LIGHT}
    assert all(re.search(rf"--{name}: #\w+", dark) for name in LIGHT), "each has its other self"
