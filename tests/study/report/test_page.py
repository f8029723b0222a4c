"""The page: whole HTML that needs nothing from outside."""

from __future__ import annotations

import base64
import re
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from hpc_adabatch.study.report.files import write_report
from hpc_adabatch.study.results import CellResult

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from html_page import Read

pytestmark = pytest.mark.long

EVIL = "</td><script>alert(1)</script> \"quotes' & <b>"


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory, results: list[CellResult], journal: object) -> str:
    named = [replace(cell, variant=EVIL) if cell.variant == "fixed" else cell for cell in results]
    named[5] = replace(named[5], state="FAILED", reason=EVIL)
    about = {"name": EVIL, EVIL: EVIL, "command": "adabatch study\n  plan"}
    page = write_report(tmp_path_factory.mktemp("study"), about, named, journal)  # type: ignore[arg-type]
    return page.read_text(encoding="utf-8")


def test_tags_are_in_balance_and_names_are_text(text: str) -> None:
    page = Read(text)
    assert page.open == []
    assert not page.tags & {"script", "link", "iframe", "object"}
    cells = [cell for table in page.tables for row in table for cell in row]
    assert cells.count(EVIL) >= 3, "as a variant, a reason and a fact"
    assert all(len({len(row) for row in table}) == 1 for table in page.tables)


def test_nothing_is_fetched(text: str) -> None:
    for tag, name, value in Read(text).attributes:
        if name in ("src", "srcset", "href"):
            assert value.startswith("data:image/svg+xml;base64,"), tag
    assert not re.search(r"url\(|@import|https?://", re.sub(r"base64,[\w+/=]+", "", text))


def test_every_picture_is_there_for_light_and_dark_pages(text: str) -> None:
    attributes = Read(text).attributes
    pictures = [value for _, name, value in attributes if name in ("src", "srcset")]
    assert len(pictures) == 10, "speed-up, efficiency, parts of a step, time to target, over time"
    for picture in pictures:
        svg = base64.b64decode(picture.partition("base64,")[2]).decode()
        assert ElementTree.fromstring(svg).tag.endswith("svg")
        assert "<image" not in svg
    assert len(set(pictures)) == 10
    assert all(value for tag, name, value in attributes if (tag, name) == ("img", "alt"))


def test_cells_that_are_not_ok_stand_out(text: str, results: list[CellResult]) -> None:
    bad = sum(cell.state != "OK" for cell in results) + 1
    assert text.count('<tr class="not-ok">') == bad
