"""Tasks and networks of a user's own, by ``module:name``: imported because a flag or a recipe names them, never else.

A module that is not installed is looked for in the folder in which the command was started, last of all: no file there
stands for an installed module.
"""

from __future__ import annotations

import inspect
import sys
import traceback
from importlib import import_module
from pathlib import Path

from torch import nn

from ..errors import InputError, require
from .task import Task, TaskData


def is_own(name: object) -> bool:
    """Reports whether a name is that of a task or network of the user's own."""
    return isinstance(name, str) and ":" in name


def own_task(name: str) -> type[Task]:
    """Returns the class of this name.

    Raises:
        InputError: It cannot be imported, or it is no task.
    """
    found, example = _imported("task", name), "--task my_module:MyTask"
    is_task = inspect.isclass(found) and issubclass(found, Task)
    require(is_task, "task", f"{name} ({_kind(found)})", "a subclass of hpc_adabatch.tasks.Task", example)
    missing = ", ".join(sorted(getattr(found, "__abstractmethods__", ())))
    require(not missing, "task", f"{name} (without {missing})", "a task that has all functions of one", example)
    return found  # type: ignore[return-value]


def own_network(name: str, data: TaskData) -> nn.Module:
    """Returns the network that the function of this name makes of the task's data.

    Raises:
        InputError: It cannot be imported, it is no such function, or it returns something else.
    """
    found, allowed = _imported("model", name), "a function of the task's data that returns a torch.nn.Module"
    example = "def network(data): return nn.Linear(data.sample_shape[0], data.n_classes)"
    try:
        takes = callable(found) and inspect.signature(found).bind(data) is not None
    except (TypeError, ValueError) as error:  # ValueError: of a class in C, which tells no signature
        raise InputError("model", f"{name} ({error})", allowed, example) from error
    require(takes, "model", f"{name} ({_kind(found)})", allowed, example)
    model = found(data)  # type: ignore[operator]
    require(isinstance(model, nn.Module), "model", f"{name} (returns {_kind(model)})", allowed, example)
    return model


def _imported(field: str, name: str) -> object:
    module_name, _, attribute = name.partition(":")
    words = [*module_name.split("."), *attribute.split(".")]
    example = f"--{field} my_module:{'MyTask' if field == 'task' else 'network'}"
    require(all(map(str.isidentifier, words)), field, name, "module:name, as Python imports them", example)
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # it stays: what is imported may import more, also in loader processes
    try:
        found: object = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise _broken(field, name, error) from error
        allowed = f"a module that is installed, or lies in {here}"
        raise InputError(field, f"{name} (no module {error.name})", allowed, example) from error
    except Exception as error:  # whatever a module does when it is imported
        raise _broken(field, name, error) from error
    file = getattr(found, "__file__", None) or module_name
    for word in attribute.split("."):
        require(hasattr(found, word), field, f"{name} (no {word} in {file})", "a name that the module has", example)
        found = getattr(found, word)
    return found


def place(error: BaseException, name: str) -> str:
    """Returns where in the user's own file an error came up, as words to add to it; empty where it did elsewhere.

    Args:
        error: The error, as it was caught.
        name: The name of the class or function, ``module:name``.
    """
    if isinstance(error, SyntaxError):
        return f"; {error.filename}, line {error.lineno}"
    module = name.partition(":")[0].replace(".", "/")
    files = (f"/{module}.py", f"/{module}/__init__.py")
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.endswith(files)]
    return f"; {own[-1].filename}, line {own[-1].lineno}" if own else ""


def _broken(field: str, name: str, error: Exception) -> InputError:
    given = f"{name} ({type(error).__name__}: {error}{place(error, name)})"
    return InputError(field, given, "a module that can be imported")


def _kind(found: object) -> str:
    return f"the class {found.__name__}" if inspect.isclass(found) else f"a {type(found).__name__}"
