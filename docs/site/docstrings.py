"""Docstrings, which are written for ``help()``, as reStructuredText with links.

an indented block       code
|x|                     bars, not a substitution
``Measured``            a link to the entry of a public name
docs/run-folder.md      a link to the page
a type in a signature   likewise: hpc_adabatch.policies.policy.Progress has the entry hpc_adabatch.Progress
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

import hpc_adabatch

PARTS = re.compile(r"``(?P<quoted>[^`]+)``|(?P<bar>\|)|docs/(?P<page>[\w/-]+)\.md")
BEFORE_NAPOLEON = 400  # which reads sections such as Args


def linked(line: str, own: str) -> str:
    """Returns a line with its links.

    Args:
        line: The line.
        own: The entry's own dotted name, which is not linked.
    """

    def part(found: re.Match[str]) -> str:
        if found["bar"]:
            return r"\|"
        if found["page"]:
            return f":doc:`/{found['page']}`"
        name = found["quoted"]
        return f":py:obj:`~hpc_adabatch.{name}`" if name in hpc_adabatch.__all__ and name not in own else found[0]

    return PARTS.sub(part, line)


def written(lines: list[str], own: str) -> Iterator[str]:
    """Yields the lines of a docstring as reStructuredText."""
    code = False
    for number, line in enumerate(lines):
        begins = line.startswith("    ") and number > 1 and not lines[number - 1]
        if begins and not code and not lines[number - 2].startswith(" "):
            code = True
            yield from ("::", "")
        code = code and (line.startswith("    ") or not line)
        yield line if code else linked(line, own)


def write(app: Sphinx, what: str, name: str, item: object, options: object, lines: list[str]) -> None:
    """Rewrites a docstring."""
    lines[:] = written(lines, name)


def link_type(app: Sphinx, env: BuildEnvironment, node: pending_xref, shown: nodes.Element) -> Any:
    """Returns the link to a public name that is told by its module; None for anything else."""
    name = node.get("reftarget", "").rpartition(".")[2]
    if node.get("refdomain") != "py" or name not in hpc_adabatch.__all__:
        return None
    python, target = env.get_domain("py"), f"hpc_adabatch.{name}"
    return python.resolve_xref(env, node["refdoc"], app.builder, "obj", target, node, shown)


def setup(app: Sphinx) -> dict[str, bool]:
    """Adds both."""
    app.connect("autodoc-process-docstring", write, priority=BEFORE_NAPOLEON)
    app.connect("missing-reference", link_type)
    return {"parallel_read_safe": True}
