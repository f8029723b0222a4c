"""The words of a verb that reads no recipe: one word such as NAME, and flags.

A word such as --dry_run needs no value, and a value may look like a flag: --sbatch --time=5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from .errors import require

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser


class Word(NamedTuple):
    """The word that a verb takes besides its flags."""

    name: str
    about: str
    """A sentence for --help."""
    needed: bool = True
    """False where the verb does something without it."""
    many: bool = False
    """True where it may be given several times; it is a list then."""


def read(
    verb: str,
    arguments: Sequence[str],
    flags: type,
    word: Word,
    lists: Mapping[str, str] | None = None,
    texts: Mapping[str, str] | None = None,
    examples: str = "",
) -> tuple[Any, dict[str, Any]]:
    """Reads a word and the flags of a verb. Returns the word, and the values of the flags by name.

    Args:
        verb: The verb, as it is typed after ``adabatch``.
        arguments: The words after the verb.
        flags: The class of the verb's flags.
        word: The word besides the flags.
        lists: Help texts by name of further flags, which may be given several times.
        texts: Help texts by name of further flags, whose names a class cannot have (from).
        examples: Lines below the help of the flags.

    Raises:
        InputError: The first thing that cannot be used.
        SystemExit: After --help.
    """
    from jsonargparse import ArgumentError

    helps = bool({"-h", "--help"} & set(arguments))
    parser = _parser(verb, flags, word, helps)
    for name, text in (lists or {}).items():
        parser.add_argument(f"--{name}", action="append", type=str, default=[], metavar="FIELD=VALUES", help=text)
    for name, text in (texts or {}).items():
        parser.add_argument(f"--{name}", type=str, default="", metavar="FILE", help=text)
    if helps:
        print("\n\n".join(filter(None, (parser.format_help().rstrip(), examples))))
        raise SystemExit(0)
    words = _join_values(verb, arguments, parser)
    try:
        found = parser.parse_args(words)
    except ArgumentError as error:
        from .argument_errors import explain

        raise explain(str(error), parser) from error
    given = found.as_dict()
    return given.pop(word.name), given


def _parser(verb: str, flags: type, word: Word, with_help: bool) -> ArgumentParser:
    from jsonargparse import ArgumentParser, set_parsing_settings

    from . import yaml_core  # noqa: F401  (the meaning of numbers)
    from .recipe_help import FieldFormatter

    # The help of fields takes longer to read than the flags do.
    set_parsing_settings(docstring_parse_attribute_docstrings=with_help)
    parser = ArgumentParser(
        exit_on_error=False, allow_abbrev=False, prog=f"adabatch {verb}", formatter_class=FieldFormatter
    )
    number = "+" if word.many else None if word.needed else "?"
    parser.add_argument(word.name, help=word.about, nargs=number)
    parser.add_class_arguments(flags)
    return parser


def _join_values(verb: str, arguments: Sequence[str], parser: ArgumentParser) -> list[str]:
    """Joins flags and values: --dry_run, --dry-run or --dry_run true become --dry_run=true, --sbatch --x --sbatch=--x.

    Raises:
        InputError: A flag that the verb does not have.
    """
    defaults = parser.get_defaults().as_dict()
    names = [name for name in defaults if not name.isupper()]
    joined: list[str] = []
    words = list(arguments)
    while words:
        word = words.pop(0)
        if not word.startswith("--"):
            joined.append(word)
            continue
        name, sign, value = word[2:].partition("=")
        name = name.replace("-", "_")
        allowed = ", ".join(f"--{other}" for other in names)
        require(name in names, name, f"a flag that {verb} does not have", allowed, f"adabatch {verb} --help")
        if not sign and isinstance(defaults[name], bool):
            value = words.pop(0) if words[:1] in (["true"], ["false"]) else "true"
        elif not sign:
            require(bool(words), name, "nothing", "a value", f"--{name} VALUE")
            value = words.pop(0)
        joined.append(f"--{name}={value}")
    return joined
