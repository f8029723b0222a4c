"""The tables in the cards of rules and optimizers, from the code and from the pages of results.

    python tests/docs/cards.py      writes them again, in docs/rules.md and docs/optimizers.md

A card is a section of a page. Its table of parameters has those of the class, and its table of measurements the rows of
the pages of results that belong to the rule, as they stand there.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from docstring_parser import parse_from_object

from hpc_adabatch import LearningRate, Measured
from hpc_adabatch.command_line import CHOICES
from hpc_adabatch.optim import OPTIMIZERS

ROOT = Path(__file__).resolve().parents[2]
RULES: dict[str, Any] = CHOICES["policy"][0]  # with replay
CARDS: dict[str, dict[str, Any]] = {
    "docs/rules.md": {**RULES, "What rules that measure share": Measured},
    "docs/optimizers.md": {**OPTIMIZERS, "The schedule": LearningRate},
}
SCHEDULES = ("scaling", "warmup")  # fields of a schedule, each of whose values has a card
MEASURED = {"rules-cifar.md": "CIFAR-10 images", "rules-digits.md": "digits"}
COLUMNS = ("accuracy", "updates", "final batch", "s to target")  # of those pages
WITH = {  # settings of a rule beside that of its name
    "noise_scale": ("noise_scale", "noise_scale_adascale"),
    "big_batch": ("big_batch", "big_batch_armijo", "big_batch_bb"),
    "fixed": ("fixed_small", "fixed_large", "fixed_large_tuned"),
}


def sections(text: str) -> dict[str, str]:
    """The sections of a page by their headings."""
    return dict(re.findall(r"^## (.+)\n((?:(?!## ).*\n)*)", text, re.MULTILINE))


def parameters(kind: type) -> dict[str, Any]:
    """The parameters that a card lists: of a rule that measures those that are not as all of them have them."""
    own = {name: each.default for name, each in inspect.signature(kind).parameters.items()}
    if issubclass(kind, Measured) and kind is not Measured:
        shared = {name: each.default for name, each in inspect.signature(Measured).parameters.items()}
        own = {name: default for name, default in own.items() if name not in shared or default != shared[name]}
    return own


def meaning(kind: type, name: str) -> str:
    """The first sentence about a parameter, by the class itself or by one that it comes from."""
    for base in kind.__mro__:
        if base is not object:
            told = {each.arg_name: each.description for each in parse_from_object(base).params}
            if told.get(name):
                return re.split(r"(?<=[\w)])\. |\.$", told[name].replace("\n", " "))[0].strip()
    raise LookupError(f"{kind.__name__}.{name} has no docstring")


def shown(default: Any) -> str:
    """A default as a recipe has it."""
    if default is inspect.Parameter.empty:
        return "needed"
    if default is None or default == ():
        return "none"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def parameter_lines(kind: type) -> list[str]:
    """The lines of a table of parameters."""
    return [
        f"| `{name}` | {shown(default)} | {meaning(kind, name)} |".replace("``", "`")
        for name, default in parameters(kind).items()
    ]


@cache
def results(page: str) -> dict[str, dict[str, str]]:
    """The rows of a page of results by the names of their settings."""
    rows = [line.strip("| ").split(" | ") for line in (ROOT / "docs/results" / page).read_text("utf-8").splitlines()]
    heading = next(row for row in rows if row[:2] == ["rule", "accuracy"])
    return {row[0]: dict(zip(heading, row, strict=False)) for row in rows if len(row) >= len(heading) - 2}


def measured_lines(rule: str) -> list[str]:
    """The lines of a table of measurements."""
    lines = []
    for page, images in MEASURED.items():
        for setting in WITH.get(rule, (rule,)):  # a page may name the factor of its rate behind it
            [row] = [row for name, row in results(page).items() if name.partition(" ")[0] == setting]
            numbers = " | ".join(row[column].strip() for column in COLUMNS)
            lines.append(f"| [{images}](results/{page}) | {row['rule']} | {numbers} |")
    return lines


def tables(name: str, card: str, kind: type) -> Iterator[tuple[str, list[str]]]:
    """Yields the table of parameters, and that of measurements where a card has one: as it stands, and as it should."""
    for title, lines in (("parameter", parameter_lines), ("measured", measured_lines)):
        found = re.search(rf"^\| {title} \|.*\n\|[-|]+\|\n((?:\|.*\n)*)", card, re.MULTILINE)
        if found:
            yield found[0], [*found[0].splitlines()[:2], *lines(kind if title == "parameter" else name)]  # type: ignore[operator]


def main() -> None:
    for page, kinds in CARDS.items():
        path = ROOT / page
        text = path.read_text(encoding="utf-8")
        for name, card in sections(text).items():
            if name in kinds:
                changed = card
                for stands, lines in tables(name, card, kinds[name]):
                    changed = changed.replace(stands, "\n".join(lines) + "\n")
                text = text.replace(f"## {name}\n{card}", f"## {name}\n{changed}")
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
