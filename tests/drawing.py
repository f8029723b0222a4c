"""A drawing of the package's imports: rooms in layers, arrows between them and inside them, and circles.

    python tests/drawing.py                all rooms
    python tests/drawing.py training run   what is inside these

A room is a folder of the package, or a module beside the folders. An arrow leads from a module to the module that
defines what it imports, wherever the import stands: also in a function, or behind ``if TYPE_CHECKING``. A name that a
room's ``__init__`` only hands on leads to the module behind it; what an ``__init__`` takes from its own room is left
out.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "hpc_adabatch"
Graph = dict[str, set[str]]  # name: the names it imports from


@dataclass
class Module:
    """A file of the package, such as ``training/step.py``, and what it imports."""

    path: str
    tree: ast.Module
    outside: set[str] = field(default_factory=set)
    """Top-level names of the imports from outside the package."""

    @property
    def room(self) -> str:
        """The folder, or the module itself where it stands beside the folders."""
        return self.path.rpartition("/")[0] or self.path

    @property
    def is_init(self) -> bool:
        """Whether it stands for its folder."""
        return self.path.rpartition("/")[2] == "__init__.py"


class House:
    """All modules of a package and the arrows between them.

    Args:
        folder: The package's folder.
    """

    def __init__(self, folder: Path = ROOT / PACKAGE) -> None:
        self.name = folder.name
        self.modules: dict[str, Module] = {}  # by path inside the package
        for path in sorted(folder.rglob("*.py")):
            inside = path.relative_to(folder).as_posix()
            self.modules[inside] = Module(inside, ast.parse(path.read_text(encoding="utf-8")))
        self.arrows: Graph = {}
        self._asked: dict[
            str, list[tuple[str, str]]
        ] = {}  # path: (dotted source, name) of each import from the package
        for path, module in self.modules.items():
            self._asked[path] = list(self._imports(module))
        for path, module in self.modules.items():
            found = {self._home(source, name) for source, name in self._asked[path]}
            room = path.removesuffix("__init__.py") if module.is_init else "/"  # no path begins with a slash
            self.arrows[path] = {other for other in found if other and other != path and not other.startswith(room)}

    def _imports(self, module: Module) -> Iterator[tuple[str, str]]:
        """Yields (dotted source, imported name) of each import from the package; the others are kept as ``outside``."""
        folders = [self.name, *module.path.split("/")[:-1]]
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.name.split(".")[0] == self.name:
                        yield alias.name, ""
                    else:
                        module.outside.add(alias.name.split(".")[0])
            elif isinstance(node, ast.ImportFrom):
                base = folders[: len(folders) - node.level + 1] if node.level else []
                source = ".".join([*base, *((node.module or "").split(".") if node.module else [])])
                if source.split(".")[0] != self.name:
                    module.outside.add(source.split(".")[0])
                    continue
                for alias in node.names:
                    yield source, alias.name

    def _home(self, source: str, name: str, depth: int = 0) -> str | None:
        """Returns the module that defines the name: behind as many ``__init__`` as hand it on."""
        inside = "/".join(source.split(".")[1:])
        for path in (f"{inside}/{name}.py".lstrip("/"), f"{inside}/{name}/__init__.py".lstrip("/")):
            if name and path in self.modules:
                return path
        path = f"{inside}.py" if f"{inside}.py" in self.modules else f"{inside}/__init__.py".lstrip("/")
        module = self.modules.get(path)
        if module is None or not module.is_init or depth > 9:
            return path if module else None
        for behind, handed in self._asked.get(path, ()):
            if handed == name:
                return self._home(behind, name, depth + 1) or path
        return path

    @property
    def rooms(self) -> dict[str, list[str]]:
        """The paths of each room's modules."""
        found: dict[str, list[str]] = {}
        for path, module in self.modules.items():
            found.setdefault(module.room, []).append(path)
        return found

    @property
    def between_rooms(self) -> Graph:
        """The rooms that each room imports from."""
        found: Graph = {room: set() for room in self.rooms}
        for path, others in self.arrows.items():
            found[self.modules[path].room] |= {self.modules[other].room for other in others}
        return {room: others - {room} for room, others in found.items()}

    def inside(self, room: str) -> Graph:
        """Returns the arrows between the modules of one room."""
        paths = self.rooms[room]
        return {path: self.arrows[path] & set(paths) for path in paths}


def circles(graph: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Returns the sets of names that all reach each other, each in alphabetical order (Tarjan 1972)."""
    numbers: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        numbers[name] = lowest[name] = len(numbers)
        stack.append(name)
        for other in graph[name]:
            if other not in numbers:
                visit(other)
                lowest[name] = min(lowest[name], lowest[other])
            elif other in stack:
                lowest[name] = min(lowest[name], numbers[other])
        if lowest[name] == numbers[name]:
            start = stack.index(name)
            if len(stack) - start > 1:
                found.append(sorted(stack[start:]))
            del stack[start:]

    for name in graph:
        if name not in numbers:
            visit(name)
    return found


def layers(graph: Graph) -> list[list[str]]:
    """Returns the names from the top down: each imports from lower layers only, apart from circles, which share one."""
    together = {name: tuple(circle) for circle in circles(graph) for name in circle}
    heights: dict[tuple[str, ...], int] = {}

    def height(name: str) -> int:
        group = together.get(name, (name,))
        if group not in heights:
            below = {other for member in group for other in graph[member]} - set(group)
            heights[group] = 1 + max((height(other) for other in below), default=-1)
        return heights[group]

    found: dict[int, list[str]] = {}
    for name in sorted(graph):
        found.setdefault(height(name), []).append(name)
    return [found[level] for level in sorted(found, reverse=True)]


def draw(graph: Graph, indent: str = "") -> Iterator[str]:
    """Yields one line for each name, layer by layer from the top, with its arrows."""
    width = max(map(len, graph), default=0)
    for number, names in enumerate(layers(graph)):
        if number:
            yield ""
        for name in names:
            arrows = f" -> {' '.join(sorted(graph[name]))}" if graph[name] else ""
            yield f"{indent}{name:{width}}{arrows}".rstrip()


def main(wanted: list[str]) -> None:
    """Prints the drawing of the whole house, or of the rooms that are named."""
    house = House()
    unknown = set(wanted) - set(house.rooms)
    if unknown:
        sys.exit(f"no room {', '.join(sorted(unknown))}; there are {', '.join(house.rooms)}")
    if not wanted:
        print("\n".join(draw(house.between_rooms)))
    for room in wanted or [room for room, paths in house.rooms.items() if len(paths) > 1]:
        graph = house.inside(room)
        print(f"\n{room}: {len(graph)} files, {sum(map(len, graph.values()))} arrows inside\n")
        short = {path: {other.rpartition("/")[2] for other in others} for path, others in graph.items()}
        print("\n".join(draw({path.rpartition("/")[2]: others for path, others in short.items()}, "    ")))
    found = circles(house.arrows)
    print(f"\n{len(house.modules)} files, {sum(map(len, house.arrows.values()))} arrows, {len(found)} circles")
    for circle in found:
        print(f"circle: {' '.join(circle)}")


if __name__ == "__main__":
    main(sys.argv[1:])
