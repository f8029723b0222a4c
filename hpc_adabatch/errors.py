"""What a user typed that cannot work, said in one line.

Not here: faults of the program itself; those keep their traceback.
"""

import math
from numbers import Integral, Real


class InputError(ValueError):
    """One field of a recipe, a flag or an argument that cannot be used.

    Attributes:
        field: the field's dotted name as it stands in the recipe, such as ``policy.factor``.
        given: what was given, as text.
        allowed: what would be accepted.
        hint: what to type instead.
        shared: True when every rank raises it, so that each may leave in good order.
    """

    shared = False

    def __init__(self, field: str, given: object, allowed: str, hint: str = "") -> None:
        self.field = field
        self.given = str(given)
        self.allowed = allowed
        self.hint = hint
        super().__init__(field, self.given, allowed, hint)  # these four rebuild it in another process (pickle)

    def __str__(self) -> str:
        line = f"{self.field}: given {self.given}; allowed: {self.allowed}"
        return " ".join((f"{line}; type {self.hint}" if self.hint else line).split())


def require(condition: bool, field: str, given: object, allowed: str, hint: str = "") -> None:
    """Raises InputError unless the condition holds."""
    if not condition:
        raise InputError(field, given, allowed, hint)


def real(value: object) -> float:
    """Returns the value if it is a number, else nan, for which no comparison holds: ``1 <= real(value) < 10``."""
    return float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan


def whole(value: object) -> float:
    """Returns the value if it is an integer, else nan, for which no comparison holds."""
    return int(value) if isinstance(value, Integral) and not isinstance(value, bool) else math.nan
