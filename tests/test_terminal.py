"""Lines, tables and numbers as people see them."""

from __future__ import annotations

import io
import sys

import pytest
from rich.console import Console

from hpc_adabatch.run.progress import ProgressDisplay
from hpc_adabatch.terminal import WIDTH, count, display, number, table


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (0.0, "0"),
        (0.00012345, "0.000123"),
        (0.9999, "1.000"),
        (1.0, "1.00"),
        (12.345, "12.3"),
        (999.6, "1,000"),
        (1_234_567.0, "1,230,000"),
        (-42.42, "-42.4"),
        (1.5e-9, "1.50e-09"),
        (float("inf"), "inf"),
    ],
)
def test_three_digits(value: float | None, text: str) -> None:
    assert number(value) == text


def test_as_many_digits_as_are_asked_for() -> None:
    assert (number(1_234_567.0, 4), number(0.0123444, 4)) == ("1,235,000", "0.01234")


def test_counts_have_all_their_digits() -> None:
    assert (count(1_234_567), count(None)) == ("1,234,567", "")


def test_text_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    display("[bold]a[/bold] :warning: 12", table(["[b]"], [["[red]:cat:[/red]"]], ascii_only=True))
    out = capsys.readouterr().out
    assert out.startswith("[bold]a[/bold] :warning: 12\n")
    assert "| [red]:cat:[/red] |" in out
    assert "| " + "[b]".rjust(len("[red]:cat:[/red]")) + " |" in out


@pytest.mark.parametrize("text", ["x[/red]", "[bold]x", "[link=a]x", ":cat:", "\\[x", "[[]"])
def test_names_with_markup_are_shown_as_they_are_everywhere(text: str) -> None:
    for is_terminal in (False, True):
        out = Console(file=io.StringIO(), force_terminal=is_terminal, markup=False, emoji=False, width=80)
        progress = ProgressDisplay(True, out)
        with progress.epoch(text, 0, 2):
            progress.step(1, 0.5, 16)
        progress.line(text)
        out.print(table([text], [[text], [], [text]], left=(text,), title=text))
        assert isinstance(out.file, io.StringIO)
        assert out.file.getvalue().count(text) >= 5


def test_a_long_line_is_not_broken_and_a_wide_table_is(capsys: pytest.CaptureFixture[str]) -> None:
    display("x" * 1000, table(["words"], [["word " * 100]]))
    long, *rest = capsys.readouterr().out.splitlines()
    assert len(long) == 1000
    assert max(map(len, rest)) <= WIDTH


def test_a_table_in_a_file_is_as_wide_whatever_columns_says(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    display(table(["words"], [["word " * 10]]))
    assert "word " * 9 in capsys.readouterr().out


@pytest.mark.parametrize(("out", "err"), [(True, False), (False, True), (True, True)])
def test_a_terminal_is_one_whose_errors_are_shown_there_too(
    out: bool, err: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """mpirun gives each rank a terminal as standard output, and its own output may be a file."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: out, raising=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: err, raising=False)
    display(table(["words"], [["a"]], title="bold headings"))
    assert ("\x1b[" in capsys.readouterr().out) is (out and err)


def test_columns_sections_and_titles(capsys: pytest.CaptureFixture[str]) -> None:
    display(table(["name", "n"], [["a", "1"], [], ["b", "22"]], left=["name"], title="t", ascii_only=True))
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == [
        "t",
        "+------+----+",
        "| name |  n |",
        "+------+----+",
        "| a    |  1 |",
        "+------+----+",
        "| b    | 22 |",
        "+------+----+",
    ]
