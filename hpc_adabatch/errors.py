"""Ends that one line tells, each with an exit code. Faults of the program itself keep their traceback.

 2   InputError     input that cannot be used
70   DivergedError  training that has diverged
74   StorageError   a file that cannot be written    (EX_IOERR of sysexits.h)

What mends the input is a flag of the command ``adabatch``, and a keyword of the same name in a script. It is written as
a flag everywhere, with a blank before its value, and ``advice`` makes a keyword of it where a script is told:

    --policy.factor 2               factor=2                   --resume auto    the same command again
    --learning_rate.warmup legw     warmup="legw"              --out DIR        folder=DIR
    --policy big_batch              policy=BigBatch()          --clip_norm null clip_norm=None
"""

import math
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from numbers import Integral, Real

_VALUE = r"""(?:\[[^]]*\]|"[^"]*"|[^\s,;-][^\s,;]*)"""
_FLAG = re.compile(rf"--(?P<name>[a-z_]+(?:\.[a-z_]+)*)(?![\w=.-])(?: (?P<value>{_VALUE})(?P<more> (?=--))?)?")
_FIELDS = {"out": "folder", "resume": "folder"}  # those of the command that have another name in a script
_AGAIN = "the same command again"
_names_flags = False


def name_flags() -> None:
    """Makes the errors of this process name flags, as the command ``adabatch`` has them, and no keywords."""
    global _names_flags
    _names_flags = True


def advice(flags: str) -> str:
    """Returns words with flags of ``adabatch`` in them as they are there; in a script with keywords instead."""
    return flags if _names_flags else _FLAG.sub(_keyword, flags)


def _keyword(flag: re.Match[str]) -> str:
    field, value, more = flag["name"], flag["value"], ", " if flag["more"] else ""
    if (field, value) == ("resume", "auto"):
        return _AGAIN
    name = _FIELDS.get(field, field).rpartition(".")[2]
    if value is None:
        return name
    if field == "policy":
        return f"policy={value.title().replace('_', '')}(){more}"
    if field == "optimizer":
        return f"optimizer={value.upper()}(...){more}"
    return f"{name}={_in_python(value)}{more}"


def _in_python(value: str) -> str:
    known = {"null": "None", "true": "True", "false": "False"}
    if value in known or value.startswith('"') or value.isupper() or not math.isnan(_number(value)):
        return known.get(value, value)
    return f"({value[1:-1].replace(',', ', ')})" if value.startswith("[") else f'"{value}"'


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


class OneLineError(Exception):
    """An end that is told in one line.

    Attributes:
        exit_code: The exit code of the program.
        shared: True when every rank raises the error, so that each may leave in good order.
        told: True when SIGTERM had come before the error, and was put off: there is nothing to wait for.
    """

    exit_code = 1
    shared = False
    told = False


class DivergedError(OneLineError, RuntimeError):
    """Training that has diverged: too many steps in a row were skipped. All ranks raise it after the same step."""

    exit_code = 70
    shared = True


class StorageError(OneLineError, OSError):
    """A file that cannot be written: the disk or a quota is full, or gone."""

    exit_code = 74


class InputError(OneLineError, ValueError):
    """A field of a recipe, a flag or an argument that cannot be used.

    Attributes:
        field: The field's dotted name as it stands in the recipe, such as ``policy.factor``.
        given: The value that was given, as text.
        allowed: The values that would be accepted, in words.
        hint: The words to type instead; empty when there are none.
    """

    exit_code = 2

    def __init__(self, field: str, given: object, allowed: str, hint: str = "") -> None:
        self.field = field
        self.given = str(given)
        self.allowed = allowed
        self.hint = hint
        super().__init__(field, self.given, allowed, hint)  # pickle makes the error again from these four

    def __str__(self) -> str:
        field, allowed, hint = self.field, self.allowed, advice(self.hint)
        if not _names_flags:
            field = _FIELDS.get(field, field)
            allowed = re.sub(r"\bnull\b", "None", re.sub(r"^true or false\b", "True or False", allowed))
        line = f"{field}: given {self.given}; allowed: {allowed}"
        verb = "type" if hint == self.hint or hint.startswith(_AGAIN) else "write"
        words = " ".join((f"{line}; {verb} {hint}" if hint else line).split())
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in words)


def require(condition: bool, field: str, given: object, allowed: str, hint: str = "") -> None:
    """Raises an InputError unless the condition holds.

    Args:
        condition: True when the field can be used.
        field: The field's dotted name.
        given: The value that was given.
        allowed: The values that would be accepted, in words.
        hint: The words to type instead.
    """
    if not condition:
        raise InputError(field, given, allowed, hint)


def real(value: object) -> float:
    """Returns the value if it is a number, else nan, for which no comparison holds: ``1 <= real(value) < 10``.

    A whole number too large for a float is infinite.
    """
    if not isinstance(value, Real) or isinstance(value, bool):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return -math.inf if value < 0 else math.inf


def whole(value: object) -> float:
    """Returns the value if it is an integer, else nan, for which no comparison holds."""
    return int(value) if isinstance(value, Integral) and not isinstance(value, bool) else math.nan


def complain(text: str) -> None:
    """Prints lines to standard error, at once; where that cannot be written either, they are lost, and nothing else."""
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)


@contextmanager
def reading(field: str, given: object, allowed: str, hint: str = "") -> Iterator[None]:
    """Turns whatever goes wrong while a file is read and taken apart into an InputError.

    The block has nothing in it but that, because a fault of the program itself would be taken for one of the file.

    Args:
        field: The name of the file, or of the field that names it.
        given: The file.
        allowed: The files that would be accepted, in words.
        hint: The words to type instead.

    Raises:
        InputError: There is no such file, it cannot be read, or something in it is missing or of another type.
    """
    try:
        yield
    except OneLineError:
        raise
    except (OSError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        reason = f"without {error.args[0]}" if isinstance(error, KeyError) and error.args else type(error).__name__
        raise InputError(field, f"{given} ({reason})", allowed, hint) from error
