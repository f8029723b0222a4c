"""The documentation as a site: it builds without a warning, every link finds its place, and every page is found."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

import hpc_adabatch as hab

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
GENERATED = {"genindex.html", "search.html", "py-modindex.html"}  # Sphinx's own
ADDRESS = "https://files.example/main"

pytestmark = pytest.mark.long


class Page(HTMLParser):
    """What a page has: the places that a link may lead to, its links, and what it fetches."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = {name: value or "" for name, value in attrs}
        self.ids |= {told[name] for name in ("id", "name") if name in told}
        if tag == "a" and "href" in told:
            self.links.append(told["href"])
        if tag in ("img", "script", "iframe", "source") and "src" in told:
            self.fetched.append(told["src"])
        if tag == "link" and "icon" not in told.get("rel", ""):
            self.fetched.append(told.get("href", ""))


def built(folder: Path, *flags: str) -> Path:
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-q", "-W", "--keep-going", *flags, str(DOCS), str(folder)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("site"))


@cache
def page(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def pages(site: Path) -> list[Path]:
    return [path for path in sorted(site.rglob("*.html")) if path.name not in GENERATED and "_static" not in path.parts]


def within(path: Path) -> Iterator[tuple[str, Path, str]]:
    """Yields each link of a page to the site itself, with the file and the place to which it leads."""
    for link in page(path).links:
        if not re.match(r"[a-z]+:", link):
            name, _, place = link.partition("#")
            yield link, (path.parent / unquote(name)).resolve() if name else path, unquote(place)


def test_every_link_finds_its_page_and_its_place(site: Path) -> None:
    wrong = []
    for path in pages(site):
        for link, target, place in within(path):
            if not target.is_file() or (place and target.suffix == ".html" and place not in page(target).ids):
                wrong.append((path.relative_to(site).as_posix(), link))
    assert wrong == []
    assert sum(1 for path in pages(site) for _ in within(path)) > 1000


def test_every_page_is_reached_from_the_index(site: Path) -> None:
    reached, new = set(), {site / "index.html"}
    while new:
        reached |= new
        new = {target for path in new for _, target, _ in within(path) if target.suffix == ".html"} - reached
    sources = [path.relative_to(DOCS) for path in DOCS.glob("*.md")]
    sources += [path.relative_to(DOCS) for path in DOCS.glob("results/*.md")]
    assert [str(source) for source in sources if site / source.with_suffix(".html") not in reached] == []


def test_every_page_is_in_the_table_of_contents(site: Path) -> None:
    """In the one at the side, and so in a group: a link from the middle of another page is not enough."""
    text = (site / "index.html").read_text(encoding="utf-8")
    side = text.partition('class="sidebar-tree"')[2].partition("</aside>")[0]
    listed = set(re.findall(r'href="([^"#]+)\.html"', side))
    sources = [*DOCS.glob("*.md"), *DOCS.glob("results/*.md")]
    names = {path.relative_to(DOCS).with_suffix("").as_posix() for path in sources} - {"index"}
    assert names - listed == set()


def test_every_public_name_has_an_entry_and_nothing_else_has(site: Path) -> None:
    entries = {name for name in page(site / "reference.html").ids if re.fullmatch(r"hpc_adabatch\.\w+", name)}
    assert entries == {f"hpc_adabatch.{name}" for name in hab.__all__}


def test_entries_are_linked_with_each_other(site: Path) -> None:
    """By types, which signatures tell by their module, and by the names that docstrings quote."""
    text = (site / "reference.html").read_text(encoding="utf-8")
    rule = text.partition('id="hpc_adabatch.NoiseScale"')[2].partition('id="hpc_adabatch.NormTest"')[0]
    assert rule.count('href="#hpc_adabatch.Measured"') == 2  # its base, and its docstring
    training = text.partition('id="hpc_adabatch.AdaptiveTraining"')[2].partition("A training loop")[0]
    assert {f"#hpc_adabatch.{name}" for name in ("Policy", "LoopOptions")} <= set(
        re.findall(r'href="([^"]+)"', training)
    )


def test_pages_fetch_nothing_from_elsewhere(site: Path) -> None:
    fetched = [(path, each.partition("?")[0]) for path in pages(site) for each in page(path).fetched]
    assert [each for _, each in fetched if re.match(r"(?:https?:)?//", each)] == []
    assert [each for path, each in fetched if not (path.parent / each).exists()] == []


def test_formulas_are_drawn_and_no_markup_is_left_over(site: Path) -> None:
    """Of what LaTeX becomes, docutils marks what it does not know; Markdown that is not understood stays as it is."""
    for path in pages(site):
        text = path.read_text(encoding="utf-8")
        shown = re.sub(
            r"<(?:script|style|pre|code|math)\b.*?</(?:script|style|pre|code|math)>", "", text, flags=re.DOTALL
        )
        shown = re.sub(r"<[^>]*>", "", shown)
        assert re.findall(r"\$\$|\\[a-z]+\{|:py:\w+:|:doc:|\]\(|```|\{include\}", shown) == [], path.name
    assert (site / "rules.html").read_text(encoding="utf-8").count("<math") > 30


def test_links_to_the_repository_need_its_address() -> None:
    """An address is told, or such links are plain words: none is written down in the repository."""
    sys.path.insert(0, str(DOCS / "site"))
    try:
        from repository_links import resolved
    finally:
        sys.path.pop(0)
    text = "[a](../LICENSE), [b](../benchmarks/gpu.sh#L3), [c](../README.md#x) [d](clusters.md) [e](none.md)"
    words = resolved(text, DOCS, DOCS, "")
    assert words == "a, b, [c](overview.md#x) [d](clusters.md) [e](none.md)"
    there = resolved(text, DOCS, DOCS, f"{ADDRESS}/")
    assert there.startswith(f"[a]({ADDRESS}/LICENSE), [b]({ADDRESS}/benchmarks/gpu.sh#L3), [c](overview.md#x)")
    assert resolved("[x](docs/results/soak.md)", ROOT, DOCS, "") == "[x](results/soak.md)"


def test_the_picture_is_what_its_script_draws() -> None:
    sys.path.insert(0, str(DOCS / "site"))
    try:
        from step_picture import picture
    finally:
        sys.path.pop(0)
    drawn = (DOCS / "step.svg").read_text(encoding="utf-8")
    assert drawn == picture()
    assert len(drawn.encode()) < 30_000
