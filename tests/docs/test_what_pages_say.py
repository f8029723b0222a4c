"""Pages that quote messages of the program, and numbers of other pages, quote them as they are."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpc_adabatch.command_line import parse_recipe

ROOT = Path(__file__).resolve().parents[2]
HOLE = "\0"
QUESTIONS = (ROOT / "docs" / "questions.md").read_text(encoding="utf-8")
QUOTED = re.findall(r"^### `(.+)`$", QUESTIONS, re.MULTILINE)
RULES = (ROOT / "docs" / "which-rule.md").read_text(encoding="utf-8")
ROWS = [line.strip("|").split("|") for line in RULES.splitlines() if line.startswith("| ")]


def said(path: Path) -> Iterator[str]:
    """Yields the texts of a module, with a hole for each value in them; a script of a shell is one text."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield re.sub(r"\$\{?\w+\}?|\$\([^)]*\)|%[sq]", HOLE, text)
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else HOLE for part in node.values)


def test_every_quoted_message_is_one_of_ours() -> None:
    """Headings whose message is of another program name it behind the message."""
    files = [*ROOT.glob("hpc_adabatch/**/*.py"), *(path for path in ROOT.glob("launch/*") if path.is_file())]
    texts = [text for path in files for text in said(path)]
    assert len(QUOTED) >= 25
    unknown = []
    for quoted in QUOTED:
        pattern = re.compile("[^\n]*".join(map(re.escape, quoted.split("..."))))
        if not any(pattern.search(text) for text in texts):
            unknown.append(quoted)
    assert unknown == []


def flags() -> list[str]:
    """The flags that the first table says to type."""
    return [code for row in ROWS if len(row) == 4 and row[1][1] == "`" for code in re.findall(r"`(--[^`]*)`", row[1])]


@pytest.mark.parametrize("words", flags())
def test_what_a_row_says_to_type_is_understood(words: str, tmp_path: Path) -> None:
    batch = "" if "policy.text" in words else "global_batch: 32\n"
    (tmp_path / "recipe.yaml").write_text(
        f"task: digits\n{batch}epochs: 60\nmax_global_batch: 1024\n", encoding="utf-8"
    )
    parse_recipe("train", [str(tmp_path / "recipe.yaml"), *shlex.split(words)])


def test_every_number_stands_on_the_page_that_it_links_to() -> None:
    links = re.findall(r"\[([^\]]*\d[^\]]*)\]\((results/[\w-]+\.md)\)", RULES)
    assert len(links) > 30
    wrong = []
    for text, page in links:
        there = (ROOT / "docs" / page).read_text(encoding="utf-8").replace(",", "")
        numbers = re.findall(r"\d+(?:\.\d+)?(?: ± \d+\.\d+)?", re.sub(r"(?<=\d),(?=\d{3})", "", text))
        wrong += [(page, number) for number in numbers if not re.search(rf"(?<![\d.]){re.escape(number)}(?!\d)", there)]
    assert wrong == []
