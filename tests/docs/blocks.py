"""What a page has between its sentences: blocks of code, each with the commands in it."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

COLUMN = re.compile(r" {3,}")  # a command, then words about it


@dataclass(frozen=True)
class Block:
    """A fenced or an indented block."""

    page: str
    line: int
    kind: str
    """The word behind the fence; shell for an indented block."""
    text: str

    @property
    def first(self) -> str:
        """Returns the first line."""
        return self.text.splitlines()[0].strip()


def blocks(page: Path, name: str) -> list[Block]:
    """Returns the blocks of a page, in its order, but for what the site makes pages of (```{toctree})."""
    rows, found, at = page.read_text(encoding="utf-8").splitlines(), [], 0
    while at < len(rows):
        start, fence = at, re.match(r"( *)```+(\S*)", rows[at])
        at += 1
        if fence:
            while rows[at].strip() != "```":
                at += 1
            if not fence[2].startswith("{"):
                found.append(Block(name, start + 1, fence[2], "\n".join(rows[start + 1 : at])))
            at += 1
        elif rows[start].startswith("    ") and (start == 0 or not rows[start - 1]):
            while any(row.startswith("    ") for row in rows[at : at + (2 if not "".join(rows[at : at + 1]) else 1)]):
                at += 1
            found.append(Block(name, start + 1, "shell", "\n".join(row[4:] for row in rows[start:at])))
    return found


def lines(block: Block) -> list[str]:
    """Returns the lines of a block that somebody types, each without the words about it."""
    joined = re.sub(r"\\\n\s*", " ", block.text).splitlines()
    return [line for line in (COLUMN.split(line.strip())[0] for line in joined) if line and not line.startswith("#")]


def commands(line: str) -> list[list[str]]:
    """Returns the commands of a line, each as its words."""
    found: list[list[str]] = [[]]
    for word in shlex.split(line, comments=True):
        if word not in ("&&", "||"):
            found[-1].append(word.rstrip(";"))
        if word in ("&&", "||") or word.endswith(";"):
            found.append([])
    return [words for words in found if words]
