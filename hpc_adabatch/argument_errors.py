"""What jsonargparse says about a wrong command line, as one line: field, given, allowed, what to type."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

from .errors import InputError

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

_KEY = re.compile(r'Parser key "(?P<key>[^"]+)"')
_VALUE = re.compile(r"(?:Got|Given) value: (?P<value>.*)", re.DOTALL)
_EXPECTED = re.compile(r"Expected an? (.*?)(?:\. Got|\n|$)")
_UNKNOWN = re.compile(
    r"(?:Group '(?P<group>[^']+)' does not accept option|Option|unrecognized arguments:) '?(?P<name>[^' ]+)"
)
_REQUIRED = re.compile(r"arguments? (?:are|is) required: (?P<key>\S+)")
_NO_VALUE = re.compile(r"argument --(?P<key>\S+): expected one argument")
EXAMPLES = {  # of fields whose default is none, or shows nothing
    "policy.text": '"0:16 10ep:32 20ep:64"',
    "policy.journal": "runs/EARLIER/journal.jsonl",
    "policy.milestones": "[30,60,80]",
    "learning_rate.milestones": "[30,60,80]",
    "branches": "[1,2,4,8]",
}
_TYPES = {
    "<class 'int'>": "an integer",
    "<class 'float'>": "a number",
    "<class 'bool'>": "true or false",
    "<class 'NoneType'>": "null",
}


def example(key: str, parser: ArgumentParser) -> str:
    """Returns a value that the field accepts, as text: an example, else its default, else the word VALUE."""
    default = parser.get_defaults().get(key)
    if key in EXAMPLES:
        return EXAMPLES[key]
    return "VALUE" if default is None else str(default).lower() if isinstance(default, bool) else str(default)


def explain(message: str, parser: ArgumentParser) -> InputError:
    """Returns jsonargparse's message as an InputError.

    Args:
        message: The text of the error that jsonargparse raised.
        parser: The parser that raised it; it knows the fields and their defaults.
    """
    if found := _KEY.search(message):
        key, value = found["key"], _VALUE.search(message)
        kinds = [kind.removeprefix("typing.Literal").strip("[]") for kind in _EXPECTED.findall(message)]
        allowed = " or ".join(_TYPES.get(kind, kind) for kind in kinds)
        return InputError(key, value["value"] if value else message, allowed, f"--{key} {example(key, parser)}")
    if found := _UNKNOWN.search(message):
        name = f"{found['group']}.{found['name']}" if found["group"] else found["name"].lstrip("-").partition("=")[0]
        prefix = f"{name.rpartition('.')[0]}." if "." in name else ""
        known = [key for key in parser.get_defaults().keys() if key.startswith(prefix)]  # noqa: SIM118 (a namespace, not a dict)
        near = difflib.get_close_matches(name, known, n=1)
        allowed = ", ".join(known) if prefix and known else "the fields that adabatch train --help lists"
        return InputError(name, "a field that does not exist", allowed, f"--{near[0]} VALUE" if near else "")
    if found := _REQUIRED.search(message) or _NO_VALUE.search(message):
        key = found["key"].rstrip(",")
        return InputError(key, "nothing", "a value", key if key.isupper() else f"--{key} {example(key, parser)}")
    return InputError("command line", message, "those of adabatch train --help")
