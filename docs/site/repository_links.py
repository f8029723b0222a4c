"""Links as a repository has them, to files beside docs/ too, as links of a site.

[the README](../README.md)          the page of the site that includes that file
[a page](docs/clusters.md)          in an included file: the page
[a script](../benchmarks/gpu.sh)    the repository's file where its address is known, else the words alone

./launch/docs -D repository_files=ADDRESS      the address of the files, to which their paths are added
"""

from __future__ import annotations

import re
from os.path import relpath
from pathlib import Path

from sphinx.application import Sphinx

DOCS = Path(__file__).resolve().parents[1]
ROOT = DOCS.parent
INCLUDED = {  # each by the page of its name
    "README.md": "overview.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "examples/README.md": "examples.md",
}
LINK = re.compile(r"\[(?P<words>[^\[\]]*)\]\((?P<target>[^)\s:#]+)(?P<anchor>#[^)\s]*)?\)")


def resolved(text: str, folder: Path, page_folder: Path, address: str) -> str:
    """Returns Markdown whose links to files lead to pages of the site, or to the repository's files.

    Args:
        text: The text.
        folder: The folder of the file that it comes from.
        page_folder: The folder of the page that it is shown on.
        address: The address of the repository's files; empty where it is not known.
    """

    def link(found: re.Match[str]) -> str:
        path = (folder / found["target"]).resolve()
        if not path.exists() or not path.is_relative_to(ROOT):
            return found[0]
        name, anchor = path.relative_to(ROOT).as_posix(), found["anchor"] or ""
        if name in INCLUDED:
            path = DOCS / INCLUDED[name]
        if path.is_relative_to(DOCS) and path.suffix in (".md", ".png", ".svg"):
            return f"[{found['words']}]({relpath(path, page_folder)}{anchor})"
        return f"[{found['words']}]({address.rstrip('/')}/{name}{anchor})" if address else found["words"]

    return LINK.sub(link, text)


def of_page(app: Sphinx, page: str, source: list[str]) -> None:
    """Resolves the links of a page."""
    folder = (DOCS / page).parent
    source[0] = resolved(source[0], folder, folder, app.config.repository_files)


def of_included(app: Sphinx, path: Path, page: str, source: list[str]) -> None:
    """Resolves the links of a file that a page includes; such pages lie in docs/ itself."""
    source[0] = resolved(source[0], (DOCS / path).resolve().parent, DOCS, app.config.repository_files)


def setup(app: Sphinx) -> dict[str, bool]:
    """Adds the setting, and what reads it."""
    app.add_config_value("repository_files", "", "env")
    app.connect("source-read", of_page)
    app.connect("include-read", of_included)
    return {"parallel_read_safe": True}
