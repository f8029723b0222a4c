"""Promises about how the package is built: which way imports go, what headings name, how its docstrings read."""

from __future__ import annotations

import ast
import dataclasses
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import hpc_adabatch as hab

sys.path.insert(0, str(Path(__file__).parent))  # tests/ has no packages
from drawing import PACKAGE, ROOT, House, circles, layers

WORLD = {  # what formulas know nothing of
    *("io", "os", "pathlib", "shutil", "tempfile", "glob", "fcntl", "json", "csv", "yaml", "pickle"),  # files
    *("time", "datetime", "sched", "signal"),  # clocks
    *("horovod", "mpi4py", "socket", "threading", "multiprocessing", "subprocess"),  # other processes
    *("sys", "curses", "argparse", "jsonargparse", "matplotlib", "logging"),  # terminals
}
FRAGMENTS = r"(?:Of|By|Likewise|The same|Those|What|Whether|Where|To)\b"
# A sentence begins with a verb in the third person, which ends in s as these do.
NOUNS = re.compile(
    "(?:Samples|Steps|Epochs|Batches|Parameters|Ranks|Nodes|Seconds|Bytes|Layers|Losses|Gradients|Weights|Numbers"
    "|Lines|Values|Fields|Rows|Columns|Words|Images|Positions|Tensors|Lengths|Jobs|Tasks|Points|Pieces|Units|Keys"
    "|Settings|Results|Statistics|Constants|Cells|Decisions|This|Its|Is|Was|Thus|Always|Plus|Sometimes|Across)"
)


@cache
def house() -> House:
    return House()


@cache
def map_of_layers() -> list[tuple[str, list[str]]]:
    """The map in CONTRIBUTING.md, from the bottom up: names of layers, each with its paths."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (lines,) = re.findall(r"\n\n(    commands  .*?\n)\n", text, re.DOTALL)
    found: list[tuple[str, list[str]]] = []
    for line in lines.splitlines():
        if line[4] != " ":
            found.append((line.split()[0], line.split()[1:]))
        else:
            found[-1][1].extend(line.split())
    return found[::-1]


def height_of(path: str) -> int:
    """The layer of a module: that of the longest path of the map which it begins with."""
    heights = {place: height for height, (_, places) in enumerate(map_of_layers()) for place in places}
    return heights[max((place for place in heights if path.startswith(place)), key=len)]


FORMULAS = [path for path in house().modules if path != "__init__.py" and height_of(path) == 1]


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circles(house().arrows) == []


def test_a_circle_is_found_behind_type_checking_and_through_a_room(tmp_path: Path) -> None:
    files = {
        "__init__.py": "from .one import One",
        "one.py": "from .room import Two\nfrom typing import TYPE_CHECKING\nimport time",
        "room/__init__.py": "from .two import Two",
        "room/two.py": "if TYPE_CHECKING:\n    from ..one import One\ndef f():\n    from pkg.three import x",
        "three.py": "from . import one",
    }
    for name, text in files.items():
        path = tmp_path / "pkg" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    drawn = House(tmp_path / "pkg")
    assert circles(drawn.arrows) == [["one.py", "room/two.py", "three.py"]]
    assert drawn.arrows["__init__.py"] == drawn.arrows["room/__init__.py"] == set()
    assert drawn.modules["one.py"].outside == {"typing", "time"}
    assert layers({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == [["a"], ["b", "c", "d"]]


def test_imports_go_down_the_map_of_layers() -> None:
    modules = [path for path in house().modules if path != "__init__.py"]
    wrong = {
        path: above
        for path in modules
        if (above := [other for other in house().arrows[path] if height_of(other) > height_of(path)])
    }
    assert wrong == {}


def test_the_map_has_every_module_and_nothing_else() -> None:
    places = [place for _, paths in map_of_layers() for place in paths]
    assert [path for path in house().modules if path != "__init__.py" and not path.startswith(tuple(places))] == []
    assert [p for p in places if not any(path.startswith(p) for path in house().modules)] == []


def test_the_drawing_is_a_command() -> None:
    command = [sys.executable, "tests/drawing.py", "batches"]
    drawn = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert re.search(r"^ +sampler.py +-> draws.py keys.py plan.py$", drawn, re.MULTILINE)
    assert re.search(rf"^{len(house().modules)} files, \d+ arrows, \d+ circles$", drawn, re.MULTILINE)


@pytest.mark.parametrize("path", FORMULAS)
def test_formulas_know_no_files_clocks_processes_or_terminals(path: str) -> None:
    module = house().modules[path]
    assert module.outside & WORLD == set()
    calls = {
        node.func.id for node in ast.walk(module.tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert calls & {"open", "print", "input"} == set()


def test_horovod_and_the_environment_are_each_reached_from_one_module() -> None:
    assert [path for path, module in house().modules.items() if "horovod" in module.outside] == ["cluster/horovod.py"]
    texts = {path: (ROOT / PACKAGE / path).read_text(encoding="utf-8") for path in house().modules}
    assert [path for path, text in texts.items() if re.search(r"os\.environ\b(?!:)", text)] == ["environment.py"]


def test_the_library_that_draws_pages_is_reached_from_the_charts_alone() -> None:
    """It is an extra: tables, words and numbers of a report need none."""
    found = sorted(path for path, module in house().modules.items() if "bokeh" in module.outside)
    assert found == [f"run/report/{name}.py" for name in ("charts", "figures", "sheet", "trust_chart")]


@pytest.mark.parametrize("path", list(house().modules))
def test_every_path_named_in_a_heading_exists(path: str) -> None:
    heading = re.sub(r"https?://\S+", "", ast.get_docstring(house().modules[path].tree) or "")
    named = re.findall(r"(?<![\w/.{-])[\w/-]+\.(?:py|md)\b|(?<![\w/.{])(?:[a-z_]{2,}/)+(?![\w{])", heading)
    roots = [(ROOT / PACKAGE / path).parent, ROOT / PACKAGE, ROOT]
    assert [name for name in named if not any((root / name).exists() for root in roots)] == []


def test_places_alone_tells_slurm_from_this_machine() -> None:
    outside = [path for path in house().modules if not path.startswith("study/slurm/")]
    reached = [path for path in outside if any(other.startswith("study/slurm/") for other in house().arrows[path])]
    assert reached == ["study/places.py"]


Documented = tuple[str, str, str | None, list[str]]  # kind, dotted name, docstring, bases of the class


def public(tree: ast.Module) -> Iterator[Documented]:
    """Yields what is public in a module."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name[0] != "_":
            yield "function", node.name, ast.get_docstring(node), []
        elif isinstance(node, ast.ClassDef) and node.name[0] != "_":
            yield "class", node.name, ast.get_docstring(node), []
            yield from members(node)


def members(node: ast.ClassDef) -> Iterator[Documented]:
    """Yields the functions of a class, and the fields of a dataclass that its Args do not explain."""
    explained = (ast.get_docstring(node) or "").partition("Args:")[2]
    fields = any("dataclass" in ast.dump(decorator) for decorator in node.decorator_list)
    for inner, after in zip(node.body, [*node.body[1:], ast.Pass()], strict=True):
        if isinstance(inner, ast.FunctionDef) and inner.name[0] != "_":
            yield "function", f"{node.name}.{inner.name}", ast.get_docstring(inner), bases_of(node)
        elif fields and isinstance(inner, ast.AnnAssign) and "ClassVar" not in ast.dump(inner.annotation):
            name = ast.unparse(inner.target)
            if name[0] != "_" and not re.search(rf"^ +(?:\w+, )*{name}\b.*:", explained, re.MULTILINE):
                yield "field", f"{node.name}.{name}", ast.get_docstring(ast.Module([after], [])), []


def bases_of(node: ast.ClassDef) -> list[str]:
    """The names of a class's bases, without their modules."""
    return [ast.unparse(base).partition("[")[0].rpartition(".")[2] for base in node.bases]


@cache
def classes() -> dict[str, tuple[set[str], list[str]]]:
    """Each class of the package: its documented functions, and its bases."""
    nodes = [node for module in house().modules.values() for node in ast.walk(module.tree)]
    return {
        node.name: (
            {f.name for f in node.body if isinstance(f, ast.FunctionDef) and ast.get_docstring(f)},
            bases_of(node),
        )
        for node in nodes
        if isinstance(node, ast.ClassDef)
    }


def inherits(bases: list[str], function: str) -> bool:
    """Whether ``help`` shows the docstring of a class further up; torch's and Python's own document all they have."""
    return any(
        base not in classes() or function in classes()[base][0] or inherits(classes()[base][1], function)
        for base in bases
        if base not in ("ABC", "Protocol", "NamedTuple", "Enum")
    )


@pytest.mark.parametrize("path", list(house().modules))
def test_docstrings_are_sentences_that_stand_alone(path: str) -> None:
    wrong = []
    for kind, name, text, bases in public(house().modules[path].tree):
        if not text:
            if kind != "function" or not inherits(bases, name.partition(".")[2]):
                wrong.append(f"{name}: no docstring")
            continue
        first = text.split()[0].rstrip(",")
        if re.match(FRAGMENTS, text):
            wrong.append(f"{name}: begins with a fragment: {first}")
        elif kind == "function" and (not re.fullmatch(r"[A-Z][a-z-]*s", first) or NOUNS.fullmatch(first)):
            wrong.append(f"{name}: does not begin with a verb: {first}")
        for entry in entries(text):
            if re.match(FRAGMENTS, entry, re.IGNORECASE):
                wrong.append(f"{name}: an entry begins with a fragment: {entry}")
            if entry[0].islower():
                wrong.append(f"{name}: an entry begins with a small letter: {entry}")
    assert wrong == []


def entries(text: str) -> list[str]:
    """What a docstring says of each argument, attribute, error, and of what is returned."""
    sections = re.findall(r"^(Args|Attributes|Raises|Returns|Yields):\n((?:(?: .*)?(?:\n|\Z))*)", text, re.MULTILINE)
    named = [body for title, body in sections if title not in ("Returns", "Yields")]
    returned = [body.strip() for title, body in sections if title in ("Returns", "Yields")]
    return re.findall(r"^    \w[\w, *.]*: (.*)", "\n".join(named), re.MULTILINE) + returned


def test_entries_are_those_of_all_sections() -> None:
    arguments = "Args:\n    a: One:\n        two: no.\n    b, c: two\n"
    text = f"Does.\n\n{arguments}\nReturns:\n    A list.\n\nRaises:\n    E: three."
    assert entries(text) == ["One:", "two", "three.", "A list."]


def test_help_explains_every_field_of_public_dataclasses() -> None:
    """``help`` shows a class's docstring and none below its fields: ``theta = 1.0`` stood there without a word."""
    silent = []
    for name in hab.__all__:
        for base in getattr(hab, name).__mro__ if dataclasses.is_dataclass(getattr(hab, name)) else ():
            explained = (base.__doc__ or "").partition("Args:")[2]
            own = [field for field in vars(base).get("__annotations__", {}) if field in init_fields(base)]
            silent += [f"{base.__name__}.{f}" for f in own if not re.search(rf"^ +{f}: ", explained, re.MULTILINE)]
    assert silent == []


def init_fields(kind: type) -> set[str]:
    """The fields of a dataclass that it is made with."""
    return {f.name for f in dataclasses.fields(kind) if f.init} if dataclasses.is_dataclass(kind) else set()


def largest_over_ranks(tree: ast.AST) -> list[int]:
    """Lines that take the largest or smallest of what ranks gathered, or ask a library for it.

    Python's ``max`` keeps what is not a number or loses it, as its place in the list has it; numpy's always keeps it.
    """
    orders, reductions = {"MAX", "MIN", "MAXLOC", "MINLOC", "Max", "Min"}, {"Allreduce", "Iallreduce", "Reduce", "Scan"}
    gathered = {
        name.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and ".gather(" in ast.unparse(node.value)
        for target in node.targets
        for name in ast.walk(target)
        if isinstance(name, ast.Name)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in orders | reductions:
            found.append(node.lineno)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("max", "min"):
            words = " ".join(map(ast.unparse, node.args))
            if ".gather(" in words or gathered & set(re.findall(r"\w+", words)):
                found.append(node.lineno)
    return found


def test_ranks_agree_by_sums_and_by_rank_0_alone() -> None:
    """The largest of numbers of which one is none depends on that one's rank: MPI_MAX and Horovod's Max may lose it."""
    found = {}
    for path in sorted((ROOT / "hpc_adabatch").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        if lines := [line for node in functions for line in largest_over_ranks(node)]:
            found[path.name] = lines
    assert found == {}


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("comm.allreduce(loss, op=MPI.MAX)", True),
        ("hvd.allreduce(loss, op=hvd.Max)", True),
        ("dist.all_reduce(loss, op=dist.ReduceOp.MIN)", True),
        ("worst = max(cluster.gather(loss))", True),
        ("losses, _ = cluster.gather(loss), 1\nworst = max(losses)", True),
        ("losses = cluster.gather(loss)\nworst = np.max(losses)", False),
        ("hvd.allreduce(bad, op=hvd.Sum)", False),
        ("most = max(local, 1)", False),
    ],
)
def test_what_counts_as_the_largest_over_ranks(line: str, wrong: bool) -> None:
    assert bool(largest_over_ranks(ast.parse(line))) is wrong
