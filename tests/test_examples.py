"""The pairs of examples/: the lines that make an adaptive script of a plain one. Training: launch/test_examples.py.

changed   lines of the adaptive script that are new, or other than the plain one's
removed   lines of the plain script that the adaptive one lacks, those with another line in their place included

Indentation, comments and imports count; blank lines do not.

python tests/test_examples.py     writes the table into examples/README.md
"""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "examples"
MOST = 10
TABLE = re.compile(r"^\| script .*?\n\n", re.MULTILINE | re.DOTALL)
EXACT = "bit by bit"
PAIRS = {  # what each shows, and how equal the weights are
    "mnist": ("shared samples, an averaged metric", EXACT),
    "imagenet": ("warm-up, step decay, passes, checkpoints", EXACT),
    "synthetic_benchmark": ("images per second", EXACT),
    "amp": ("autocast, a scaled loss, passes", EXACT),
    "language_model": ("padding: a loss that is a mean over words", "to 1e-6"),
    "compiled": ("`torch.compile`", EXACT),
    "gan": ("two networks, two optimizers", EXACT),
    "weighted_sampler": ("rare samples drawn more often", EXACT),
    "collate": ("sequences of unequal length", EXACT),
    "stream": ("an iterable dataset of known length", EXACT),
    "ema": ("averaged weights", EXACT),
    "frozen": ("layers that are trained later", EXACT),
    "checkpointing": ("activations that are computed again", EXACT),
}


def lines(kind: str, name: str) -> list[str]:
    text = (FOLDER / kind / f"{name}.py").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line.strip()]


def differing(plain: list[str], adaptive: list[str]) -> tuple[int, int]:
    """Returns the lines changed and the lines removed."""
    blocks = SequenceMatcher(None, plain, adaptive, autojunk=False).get_opcodes()
    other = [block for block in blocks if block[0] != "equal"]
    return sum(j - i for *_, i, j in other), sum(j - i for _, i, j, *_ in other)


def table() -> str:
    rows = ["| script | shows | lines of plain | changed | removed | equal |", "|---|---|---|---|---|---|"]
    for name, (shows, equal) in PAIRS.items():
        plain = lines("plain", name)
        changed, removed = differing(plain, lines("adaptive", name))
        rows.append(f"| {name} | {shows} | {len(plain)} | {changed} | {removed} | {equal} |")
    return "\n".join(rows) + "\n\n"


def test_a_line_counts_once_wherever_it_has_changed() -> None:
    plain = ["import a", "for x in y:", "    f(x)", "g()"]
    assert differing(plain, plain) == (0, 0)
    assert differing(plain, ["import a", "import b", *plain[1:]]) == (1, 0)
    assert differing(plain, ["import a", "for x in z:", "    for u in x:", "        f(u)  # new", "g()"]) == (3, 2)
    assert differing(plain, ["import a", "for x in y:", "  f(x)"]) == (1, 2)  # other indentation; a line less


def test_every_script_is_one_of_a_pair() -> None:
    for kind in ("plain", "adaptive"):
        assert sorted(path.stem for path in FOLDER.glob(f"{kind}/*.py")) == sorted(PAIRS)


def test_ten_lines_change_at_most() -> None:
    found = {name: differing(lines("plain", name), lines("adaptive", name))[0] for name in PAIRS}
    assert {name: changed for name, changed in found.items() if not 0 < changed <= MOST} == {}


def test_the_table_is_right() -> None:
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert TABLE.findall(page) == [table()], "python tests/test_examples.py writes it anew"
    assert len(page.splitlines()) <= 60


if __name__ == "__main__":
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    (FOLDER / "README.md").write_text(TABLE.sub(lambda _: table(), page), encoding="utf-8")
