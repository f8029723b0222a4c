"""Numbers and words of recipes and flags, read as YAML 1.2's core schema says, in files and on the command line alike.

https://yaml.org/spec/1.2.2/#103-core-schema. PyYAML follows YAML 1.1, in which a text means what few expect:

    text           YAML 1.1        here
    010            8               10
    1:30, 1_000    90, 1000        text, which no number is made of
    0x10, 0b11     16, 3           text
    yes, off       true, false     text
    1e-3           text            0.001

Importing this module hands the reading to jsonargparse too, for the whole process.
"""

from __future__ import annotations

import re
from typing import Any

import yaml
from jsonargparse import _loaders_dumpers

# text that begins with one of the characters and has the form is of the type
_FORMS = {
    "merge": (r"<<", ["<"]),  # of YAML 1.1 as well: a section that begins as another one
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?[0-9]+", list("-+0123456789")),
    "float": (
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
}


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # the fast one, where it is built
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 (PyYAML's own; none of YAML 1.1)


class _Dumper(yaml.SafeDumper):
    """Quotes what either version of YAML would take for something else than text."""

    yaml_implicit_resolvers = {key: list(found) for key, found in yaml.SafeDumper.yaml_implicit_resolvers.items()}  # noqa: RUF012


for _name, (_form, _first) in _FORMS.items():  # an int before a float, which has its form too
    for _kind in (_Loader, _Dumper):
        _kind.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(rf"^(?:{_form})$"), _first)
_Loader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(loader.construct_scalar(node)))
_loaders_dumpers.yaml_default_loader = _Loader  # type: ignore[assignment]


def load(text: str) -> Any:
    """Returns what the YAML says.

    Raises:
        yaml.YAMLError: It is no YAML.
    """
    return yaml.load(text, Loader=_Loader)


def dump(content: Any) -> str:
    """Returns YAML that ``load`` and PyYAML's own loader both read as the content, in its order."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False)
