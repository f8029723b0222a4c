"""Recipes from YAML files and flags.

Every field of a recipe is a flag of the same dotted name. The fields task, policy and optimizer each choose a class by
name, and the fields of that class come with it:

    policy: {name: adabatch, factor: 2, interval: 20}      in the recipe
    --policy.factor 4                                      overrules one field
    --help policy                                          tells the fields (recipe_help.py)
    --policy schedule                                      another class; the recipe's policy.* fields are dropped
    --task my_module:MyTask                                a task of the user's own, with its fields
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace, set_parsing_settings

from .argument_errors import example, explain
from .errors import InputError, require
from .learning_rate import LearningRate
from .learning_rate.presets import left_to_preset
from .optim import OPTIMIZERS
from .policies import POLICIES
from .recipe import Options, Recipe
from .recipe_help import FieldFormatter, help_on, take_topic
from .replay import Replay
from .shipped import recipe_file
from .tasks import TASKS
from .tasks.own import is_own, own_task
from .yaml_core import dump, load

CHOICES: dict[str, tuple[dict[str, Any], str]] = {  # field: (classes by name, default)
    "task": (TASKS, "digits"),
    "policy": (dict(sorted({**POLICIES, "replay": Replay}.items())), "fixed"),
    "optimizer": (OPTIMIZERS, "sgd"),
}


@dataclass(frozen=True)
class LearningRateFlags(LearningRate):
    """Flags of a schedule: its fields, and one word for some of them.

    ``LearningRate`` explains the other arguments.

    Args:
        preset: A published set of values: legw (1901.08256) is scaling sqrt, warmup legw; goyal (1706.02677) is scaling
            linear, warmup fixed over 5 epochs from base. Fields that are given besides hold; both usually need
            reference_batch, and legw the warmup_epochs tuned for it.
    """

    preset: Literal["none", "legw", "goyal"] = "none"


def parse_recipe(command: str, arguments: Sequence[str], extra: type | None = None) -> tuple[Recipe, Namespace, str]:
    """Reads ``RECIPE [--field value ...]``.

    Args:
        command: The name of the command, for the help text.
        arguments: The words after the command's name.
        extra: A dataclass of flags that belong to the command and not to the recipe.

    Returns:
        The recipe; all parsed fields, those of ``extra`` among them; the recipe as YAML with every field resolved.

    Raises:
        InputError: A field cannot be used; the first one found.
        SystemExit: After ``--help [TOPIC]`` or ``--print_config``.
    """
    arguments, topic = take_topic(_spell_out(arguments), CHOICES)
    path, flags = _split(arguments)
    sections = _read(path) if path is not None else {}
    chosen = {field: _choose(field, sections, flags) for field in CHOICES}
    parser = _parser(command, tuple(chosen.items()), extra, topic is not None)
    if topic is not None:
        print(help_on(topic, parser, CHOICES))
        raise SystemExit(0)
    if path is None and "--print_config" not in flags:
        raise InputError(
            "RECIPE", "nothing", "a YAML file, or the name of one that ships", f"adabatch {command} quickstart"
        )
    try:
        known = parser.parse_args(["--config", dump(sections), *flags])
    except ArgumentError as error:
        raise explain(str(error), parser) from error
    except (OSError, ValueError, ArithmeticError, RecursionError) as error:  # of fields, and of files that flags name
        given = f"{' '.join(flags)} ({type(error).__name__})"
        raise InputError("command line", given, "files of YAML in UTF-8, and numbers in range") from error
    for key, default in parser.get_defaults().items():
        if known.get(key) is None and default is not None and not key.startswith("config"):
            raise InputError(key, "null", "a value", f"--{key} {example(key, parser)}")
    _expand_preset(known, sections, flags)
    text = _resolved(parser, known, extra)
    classes = {field: _class(field, name) for field, name in chosen.items()}
    recipe = Recipe(
        name=path.stem if path is not None else "run",
        chosen=chosen,
        task=classes["task"](**_fields(known, "task")),
        policy=classes["policy"](**_fields(known, "policy")),
        optimizer=classes["optimizer"](**_fields(known, "optimizer")),
        learning_rate=LearningRate(**_fields(known, "learning_rate")),
        options=Options(**{name: known[name] for name in Options.__dataclass_fields__}),
    )
    return recipe, known, text


def parse_flags(command: str, arguments: list[str], flags: type) -> Namespace:
    """Reads the flags of a command that may be given a recipe, and is not.

    Args:
        command: The name of the command, for the error lines.
        arguments: The words after the command's name.
        flags: A dataclass of the command's own flags.

    Raises:
        InputError: A flag cannot be used; the first one found.
    """
    names, hint = list(flags.__dataclass_fields__), f"adabatch {command} quickstart"  # type: ignore[attr-defined]
    for argument in arguments:
        flag = argument.partition("=")[0]
        known = not flag.startswith("--") or flag[2:] in names
        require(known, flag[2:], "no RECIPE that has such a field", ", ".join(names), f"{hint} {flag} VALUE")
    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False)
    parser.add_class_arguments(flags)
    parser.add_argument("late", nargs="?")
    try:
        found = parser.parse_args(arguments)
    except ArgumentError as error:
        raise explain(str(error), parser) from error
    require(found["late"] is None, "RECIPE", f"{found['late']} after the flags", "the recipe first", hint)
    return found


def defaults(chosen: Mapping[str, str]) -> dict[str, Any]:
    """Returns the default of each field by its dotted name, as YAML reads it.

    Args:
        chosen: The names of the classes of task, policy and optimizer.
    """
    parser = _parser("train", tuple((field, chosen[field]) for field in CHOICES), None, with_help_of_fields=False)
    found = {name: value for name, value in parser.get_defaults().items() if name != "config"}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}


def _spell_out(arguments: Sequence[str]) -> list[str]:
    """Replaces ``--policy NAME`` by ``--policy.name NAME``, of which it is short."""
    return [re.sub(rf"^--({'|'.join(CHOICES)})(=|$)", r"--\1.name\2", argument) for argument in arguments]


def _split(arguments: list[str]) -> tuple[Path | None, list[str]]:
    """Returns the recipe's path, which is given first or not at all, and the flags."""
    if arguments and not arguments[0].startswith("-"):
        return recipe_file(arguments[0]), arguments[1:]
    return None, arguments


def _read(path: Path) -> dict[str, Any]:
    try:
        content = load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            "RECIPE",
            f"{path} ({type(error).__name__})",
            "a YAML file that can be read, or the name of one that ships",
            "adabatch recipes",
        ) from error
    except yaml.YAMLError as error:
        raise InputError(
            "RECIPE", f"{path}: {' '.join(str(error).split())}", "valid YAML, one 'field: value' a line"
        ) from error
    require(isinstance(content, dict), "RECIPE", path, "YAML with one 'field: value' a line", "adabatch recipes")
    for field in (*CHOICES, "learning_rate"):
        section = content.get(field, {})
        if field in CHOICES and isinstance(section, str):
            content[field] = {"name": section}
        else:
            require(isinstance(section, dict), field, section, "fields under it", f"--{field}.FIELD VALUE")
    return content


def _choose(field: str, sections: dict[str, Any], flags: list[str]) -> str:
    """Returns the name of the field's class: by flag, else by recipe, else by default.

    Where it is not the recipe's class, the recipe's fields of that class are dropped from ``sections``.
    """
    classes, default = CHOICES[field]
    in_recipe = sections.get(field, {}).get("name", default)
    flag = f"--{field}.name"
    name = in_recipe
    for index, argument in enumerate(flags):
        if argument == flag and index + 1 < len(flags):
            name = flags[index + 1]
        elif argument.startswith(f"{flag}="):
            name = argument.partition("=")[2]
    near, own = difflib.get_close_matches(str(name), classes, n=1) or [default], field == "task"
    known = isinstance(name, str) and (name in classes or (own and is_own(name)))
    allowed = ", ".join(classes) + (", or module:Class of your own" if own else "")
    require(known, field, name, allowed, f"--{field} {near[0]}")
    if name != in_recipe:
        sections[field] = {"name": name}
    return str(name)


def _class(field: str, name: str) -> Any:
    return own_task(name) if is_own(name) else CHOICES[field][0][name]


@cache  # a study's plan reads hundreds of lines with the same classes
def _parser(
    command: str, chosen: tuple[tuple[str, str], ...], extra: type | None, with_help_of_fields: bool
) -> ArgumentParser:
    """Returns the parser of a command for the chosen classes; reading the help of fields takes half of the time."""
    set_parsing_settings(docstring_parse_attribute_docstrings=with_help_of_fields)
    parser = ArgumentParser(
        exit_on_error=False,
        allow_abbrev=False,
        formatter_class=FieldFormatter,
        usage=f"adabatch {command} RECIPE [--FIELD VALUE ...]",
        description="RECIPE is a YAML file, and each of its fields is a flag too. task, policy and optimizer choose a "
        "class by name, whose fields then follow below; there are "
        + "; ".join(f"{field}: {', '.join(classes)}" for field, (classes, _) in CHOICES.items())
        + ".",
    )
    parser.add_argument("--config", action="config", help="A YAML file whose fields overrule those of RECIPE.")
    if extra is not None:
        parser.add_class_arguments(extra)
    parser.add_class_arguments(Options)
    for field, name in chosen:
        parser.add_argument(
            f"--{field}.name",
            type=Literal[(*CHOICES[field][0], name)],
            default=name,
            metavar="NAME",
            help=f"The name of the {field}'s class; --{field} is short for this flag.",
        )
        try:
            parser.add_class_arguments(_class(field, name), field)
        except (ValueError, TypeError) as error:  # of jsonargparse, about a class of the user's own
            if isinstance(error, InputError) or not is_own(name):
                raise
            allowed = "a class whose fields have a type, and all but a few a default"
            raise InputError(field, f"{name} ({error})", allowed) from error
        _describe(parser, field, "NAME", f"The name of the {field}'s class; short for --{field}.name.")
    parser.add_class_arguments(LearningRateFlags, "learning_rate")
    _describe(parser, "learning_rate", "FILE", "A YAML file with these fields.")
    return parser


def _describe(parser: ArgumentParser, field: str, metavar: str, text: str) -> None:
    """Replaces jsonargparse's own help of a section's flag; a class without fields has none."""
    for action in parser._actions:
        if f"--{field}" in action.option_strings:
            action.metavar, action.help = metavar, text


def _expand_preset(known: Namespace, sections: dict[str, Any], flags: list[str]) -> None:
    """Replaces learning_rate.preset by the preset's fields, except those that the recipe or a flag gives.

    Only here is it known which fields were given: later on, one that was given its default value looks like one that
    was not. The resolved recipe names the fields instead of the preset, so that it stands for the same run.
    """
    values, given = known["learning_rate"], set(sections.get("learning_rate", {}))
    if {"gamma", "power"} <= given:  # never used together: a config.yaml of earlier code, with every default in it
        given = set()
    prefix = "--learning_rate."
    given |= {flag.partition("=")[0].removeprefix(prefix) for flag in flags if flag.startswith(prefix)}
    for field, value in left_to_preset(values["preset"], {field: values[field] for field in given}).items():
        values[field] = value
    values["preset"] = "none"


def _fields(known: Namespace, field: str) -> dict[str, Any]:
    found = known[field].as_dict().items()  # __path__ is there where --learning_rate names a file
    return {name: value for name, value in found if name not in ("name", "preset", "__path__")}


def _resolved(parser: ArgumentParser, known: Namespace, extra: type | None) -> str:
    resolved = yaml.safe_load(parser.dump(known))  # which jsonargparse writes by PyYAML
    for name in ["config", *(extra.__dataclass_fields__ if extra else ())]:  # type: ignore[attr-defined]
        resolved.pop(name, None)
    return dump(resolved)
