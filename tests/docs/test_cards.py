"""The cards of rules and optimizers: one for each, with the parameters of the code and the numbers of the results."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # tests/ has no packages
from cards import CARDS, ROOT, RULES, parameters, sections, tables

from hpc_adabatch.learning_rate.rule import SCALINGS, WARMUPS
from hpc_adabatch.optim import OPTIMIZERS
from hpc_adabatch.policies import POLICIES

PAGES = {name: (ROOT / name).read_text(encoding="utf-8") for name in CARDS}
SECTIONS = {name: sections(text) for name, text in PAGES.items()}
NAMED = [(page, name, kind) for page, kinds in CARDS.items() for name, kind in kinds.items()]
PARTS = ("**When.**", "**When not.**")


def test_each_rule_and_optimizer_has_a_card() -> None:
    assert set(POLICIES) <= set(RULES)
    assert set(RULES) <= set(SECTIONS["docs/rules.md"])
    assert set(OPTIMIZERS) <= set(SECTIONS["docs/optimizers.md"])


def test_each_scaling_and_warm_up_has_a_card() -> None:
    wanted = {f"scaling: {name}" for name in (*SCALINGS, "adascale")} | {f"warmup: {name}" for name in WARMUPS}
    assert wanted - {"warmup: none"} <= set(SECTIONS["docs/optimizers.md"])


@pytest.mark.parametrize(("page", "name", "kind"), NAMED, ids=lambda value: value if isinstance(value, str) else "")
def test_tables_are_those_of_the_code_and_of_the_results(page: str, name: str, kind: type) -> None:
    card = SECTIONS[page][name]
    found = list(tables(name, card, kind))
    assert [stands.splitlines() for stands, _ in found] == [lines for _, lines in found], "python tests/docs/cards.py"
    assert bool(re.search(r"^\| parameter ", card, re.MULTILINE)) is bool(parameters(kind))


@pytest.mark.parametrize("page", CARDS)
def test_a_card_has_a_paper_an_equation_and_both_sides(page: str) -> None:
    plain = {"fixed", "What rules that measure share", "The schedule"}  # which no paper has
    for name, card in SECTIONS[page].items():
        wanted = ("**In common.**",) if name.startswith("What") else () if name == "The schedule" else PARTS
        assert [part for part in (*wanted, *(() if name in plain else ("**Paper.**",))) if part not in card] == [], name
        assert "$$" in card or name.startswith("What"), name
        assert name == "The schedule" or "**Evidence.**" in card or "| measured |" in card, name


def numbers(text: str) -> set[str]:
    """The numbers of a text that a measurement may have: with a point, or of four digits and more."""
    return set(re.findall(r"(?<![\w.,-])(?:\d+\.\d+(?:e-?\d+)?|\d{1,3}(?:,\d{3})+|\d{4,})(?![\w.]*\d)", text))


@pytest.mark.parametrize("page", CARDS)
def test_every_number_of_the_evidence_stands_on_a_page_that_it_links_to(page: str) -> None:
    checked = 0
    for name, card in SECTIONS[page].items():
        evidence = card.partition("**Evidence.**")[2].partition("\n\n")[0]
        links = re.findall(r"\]\((results/[\w-]+\.md)\)", evidence)
        told = "\n".join((ROOT / "docs" / link).read_text(encoding="utf-8") for link in links)
        shown = numbers(re.sub(r"\]\([^)]*\)", "]", evidence))
        assert shown <= numbers(told), (name, shown - numbers(told))
        checked += len(shown)
    assert checked > 10


def test_numbers_are_found_as_measurements_are_written() -> None:
    text = "63.26 ± 0.70 %, 1.5e-03, 2,000 of 12500, at 32 times; 2.57 times 1.2.3"
    assert numbers(text) == {"63.26", "0.70", "1.5e-03", "2,000", "12500", "2.57"}
