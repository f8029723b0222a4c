"""The short help of a verb: what it does, its own flags, examples, and where the rest is told. It needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

RECIPE = (
    """RECIPE is a YAML file, or the name of one that ships (adabatch recipes). Each of its fields is a flag, too."""
)
MORE = """more help:
  adabatch {verb} --help all             every field of a recipe
  adabatch {verb} --help policy          the rules for the batch; likewise task, optimizer, learning_rate
  adabatch {verb} --help smith           the fields of another rule, task or optimizer
  adabatch {verb} --help global_batch    one field
  adabatch {verb} RECIPE --print_config  every field with its value"""


def wants(arguments: Sequence[str]) -> bool:
    """Reports whether the short help is asked for: --help without a topic, and without a class that would be it."""
    at = next((at for at, word in enumerate(arguments) if word in ("-h", "--help")), None)
    if at is None:
        return False
    chosen = any(word.partition("=")[0] in ("--policy", "--task", "--optimizer") for word in arguments)
    return not chosen and (at + 1 == len(arguments) or arguments[at + 1].startswith("-"))


def text(verb: str, does: str, usages: Sequence[str], flags: Callable[[], type], examples: Sequence[str]) -> str:
    """Returns the short help of a verb that takes a recipe.

    Args:
        verb: The verb.
        does: A sentence that says what it does.
        usages: The words that may follow the verb, one text for each way to use it.
        flags: Returns the class of the verb's own flags.
        examples: Commands, each as it is typed.
    """
    lines = [f"usage: adabatch {verb} {words}" for words in usages]
    return "\n".join(
        (
            *lines,
            "",
            does,
            "",
            RECIPE,
            "",
            _own(flags()),
            "",
            "examples:",
            *(f"  {line}" for line in examples),
            "",
            MORE.format(verb=verb),
        )
    )


def _own(flags: type) -> str:
    """Returns the help of the verb's own flags, as jsonargparse lays it out."""
    from jsonargparse import ArgumentParser, set_parsing_settings

    from .recipe_help import FieldFormatter

    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    parser = ArgumentParser(usage="", add_help=False, formatter_class=FieldFormatter)
    parser.add_class_arguments(flags)
    found: str = parser.format_help()
    return found[found.index("\n") :].strip("\n")
