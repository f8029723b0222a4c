"""The help of a recipe's fields: all of them, those of a section or a class, or one.

--help all                 every field
--help policy              the rules, and the fields of the one that is chosen; likewise task, optimizer, learning_rate
--help smith               the fields of another rule, task or optimizer
--help global_batch        one field; also policy.factor, or factor
--policy smith --help      the fields of what is chosen there
"""

from __future__ import annotations

import difflib
import inspect
import re
from argparse import Action
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jsonargparse import DefaultHelpFormatter

from .argument_errors import EXAMPLES
from .errors import InputError

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

FLAGS = ("-h", "--help")
ALL = "all"
Choices = Mapping[str, tuple[Mapping[str, Any], str]]  # field: (classes by name, default)
_NOTE = re.compile(
    r" ?\((?P<needed>required)?(?:, )?(?:type: (?P<kind>.*?))?(?:(?:^|, )default: (?P<default>.*))?\)$", re.DOTALL
)


class FieldFormatter(DefaultHelpFormatter):
    """The formatter of flags: after each sentence its kind and default, where there is something to say."""

    def _expand_help(self, action: Action) -> str:
        text = super()._expand_help(action)
        found = _NOTE.search(text)
        if not found:
            return text
        kind, default = found["kind"] or "", found["default"] or ""
        notes = ["needed" if found["needed"] else "", "" if kind.startswith("Literal") else _in_words(kind)]
        if action.dest in EXAMPLES:
            notes[1:] = [f"such as {EXAMPLES[action.dest]}"]
        elif default not in ("", "null", "()", "[]"):
            notes.append(f"default {default.lower() if default in ('True', 'False') else default}")
        told = ", ".join(filter(None, notes))
        return text[: found.start()] + (f" ({told})" if told else "")


def _in_words(kind: str) -> str:
    """Returns a type as people write it: ``float or auto`` for Union[float, Literal['auto'], null]."""
    kind = re.sub(r"^(?:Union|Optional)\[(.*)\]$", r"\1", kind).replace(" | ", ", ")
    kind = re.sub(r"Literal\[(.*?)\]", r"\1", kind).replace("'", "").removesuffix(", null")
    return "" if kind == "str" else kind if "[" in kind else re.sub(r", (\S+)$", r" or \1", kind)


def take_topic(arguments: Sequence[str], choices: Choices) -> tuple[list[str], str | None]:
    """Returns the words without --help and its topic, and the topic; None where no help is asked for.

    A topic that names a class chooses it, as ``--policy smith`` would; without a topic that class is the topic.

    Args:
        arguments: The words, in which ``--policy smith`` is spelt ``--policy.name smith``.
        choices: The fields that choose a class.
    """
    words = list(arguments)
    at = next((at for at, word in enumerate(words) if word.partition("=")[0] in FLAGS), None)
    if at is None:
        return words, None
    _, sign, topic = words.pop(at).partition("=")
    if not sign and at < len(words) and not words[at].startswith("-"):
        topic = words.pop(at)
    for field, (classes, _) in choices.items():
        if topic in classes:
            return [*words, f"--{field}.name={topic}"], topic
        chosen = re.search(rf"(?:^|\0)--{field}\.name[=\0]([^\0]+)", "\0".join(words))
        if not topic and chosen:
            topic = chosen[1] if chosen[1] in classes else field  # a task of the user's own
    return words, topic or ALL


def help_on(topic: str, parser: ArgumentParser, choices: Choices) -> str:
    """Returns the help of a topic.

    Args:
        topic: ``all``, a section, a class, or a field by its whole name or by its last word.
        parser: The parser, which knows the fields of the classes that are chosen.
        choices: The fields that choose a class.

    Raises:
        InputError: There is no such topic.
    """
    if topic == ALL:
        return parser.format_help().rstrip()
    names = {name for name in parser.get_defaults().keys() if name != "config"}  # noqa: SIM118  (a namespace)
    names |= {action.dest for action in parser._actions if action.required}
    for field, (classes, _) in choices.items():
        if topic == field:
            return "\n".join([*_listed(field, classes), _fields(_below(field, names), parser)]).rstrip()
        if topic in classes:
            about = inspect.getdoc(inspect.getmodule(classes[topic])) or ""
            return f"{about}\n\n{_fields(_below(field, names), parser)}".rstrip()
    found = _below(topic, names) | {name for name in names if name == topic or name.endswith(f".{topic}")}
    if not found:
        known = [*names, *choices, *(name for classes, _ in choices.values() for name in classes), "learning_rate"]
        near = difflib.get_close_matches(topic, known, n=1) or [ALL]
        allowed = "all, a section such as policy, a class such as smith, or a field"
        raise InputError("help", topic, allowed, f"--help {near[0]}")
    return _fields(found, parser)


def _below(section: str, names: set[str]) -> set[str]:
    """Returns the fields of a section, without the one that chooses its class."""
    return {name for name in names if name.startswith(f"{section}.") and name != f"{section}.name"}


def _listed(field: str, classes: Mapping[str, Any]) -> list[str]:
    """Returns a line for each class that a field may name."""
    width = max(map(len, classes))
    lines = [f"--{field} NAME; --help NAME tells the fields of one:"]
    for name, kind in classes.items():
        sentence = (inspect.getdoc(kind) or "").partition("\n\n")[0].replace("\n", " ")
        lines.append(f"  {name:{width}}  {sentence.replace('``', '')}")
    return [*lines, ""]


def _fields(names: set[str], parser: ArgumentParser) -> str:
    """Returns the help of some fields, under the headings of their groups."""
    text = parser.format_help()
    kept = []
    for part in re.split(r"\n(?=\S.*:\n)", text):
        heading, _, body = part.partition("\n")
        entries = [entry for entry in re.split(r"\n(?=  -)", "\n" + body) if _name_of(entry) in names]
        if entries:
            kept.append("\n".join([heading, *(entry.strip("\n") for entry in entries)]))
    return "\n\n".join(kept)


def _name_of(entry: str) -> str:
    found = re.match(r"\n?  --([\w.]+)", entry)
    return found[1] if found else ""
