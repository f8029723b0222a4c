"""Promises about the repository itself: style, types, packaging, nothing of one machine in it."""

from __future__ import annotations

import ast
import inspect
import itertools
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import hpc_adabatch

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = [ROOT / "launch" / name for name in ("install", "quickstart", "test", "docs")]
SCRIPTS += [ROOT / ".ci" / "run", ROOT / "benchmarks" / "gpu.sh"]


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    return [ROOT / name for name in listed if (ROOT / name).is_file()]


def test_helpers_are_not_named_as_folders_that_use_leaves_behind() -> None:
    """Beside a folder runs/, ruff sorts ``import runs`` otherwise: a user's first run would fail the tests."""
    lines = (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    left_behind = {line.strip("/") for line in lines if line.endswith("/")}
    assert {"runs", "studies", "data"} <= left_behind
    folders = (ROOT / "tests", ROOT / "benchmarks")
    helpers = {path.stem for path in tracked() if path.suffix == ".py" and any(path.is_relative_to(f) for f in folders)}
    assert not helpers & left_behind


@pytest.mark.parametrize("check", [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]], ids=" ".join)
def test_style_and_types(check: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", *check], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shell_scripts_parse_and_can_be_started(script: Path) -> None:
    subprocess.run(["bash", "-n", str(script)], check=True)
    assert script.stat().st_mode & 0o111


def test_nothing_of_one_machine_or_registry_is_tracked() -> None:
    forbidden = re.compile(r"/(?:work|root)/|/home/\w|(?:pypi|debian|anaconda|pythonhosted)\.org")
    texts = {path: path.read_text(encoding="utf-8") for path in tracked() if path.suffix != ".png"}
    assert [str(path) for path, text in texts.items() if forbidden.search(text)] == []


def test_setup_and_environment_agree() -> None:
    """environment.yml has every requirement of setup.py, at a version it allows, and what draws pages of runs.

    launch/install adds Horovod.
    """
    setup = runpy.run_path(str(ROOT / "setup.py"), run_name="setup")
    content = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    by_pip = next(entry["pip"] for entry in content["dependencies"] if isinstance(entry, dict))
    entries = [
        entry for entry in (*content["dependencies"], *by_pip) if isinstance(entry, str) and not entry.startswith("--")
    ]
    conda_names = {"matplotlib": "matplotlib-base"}
    found = {}
    for entry in entries:
        name, operator, version = re.fullmatch(r"([\w-]+)(?:\[\w+\])?([<>=]*)([\d.]*)", entry).groups()  # type: ignore[union-attr]
        found[name] = (operator, version)
    for text in (*setup["REQUIREMENTS"], *setup["EXTRAS"]["horovod"], *setup["EXTRAS"]["report"]):
        wanted = Requirement(text)
        if wanted.name == "horovod":
            install = (ROOT / "launch" / "install").read_text(encoding="utf-8")
            assert wanted.specifier.contains(re.search(r"^horovod=(\S+)", install, re.MULTILINE)[1])  # type: ignore[index]
            continue
        operator, version = found[conda_names.get(wanted.name, wanted.name)]
        if operator == ">=":
            assert f">={version}" == str(wanted.specifier), wanted.name
        else:
            assert wanted.specifier.contains(version), wanted.name


def test_setup_and_the_conda_recipe_agree() -> None:
    """rattler-build's own parser has read the recipe; what it asks for is what setup.py asks for, by other names."""
    setup = runpy.run_path(str(ROOT / "setup.py"), run_name="setup")
    recipe = yaml.safe_load((ROOT / "conda" / "recipe.yaml").read_text(encoding="utf-8"))
    assert recipe["context"]["version"] == hpc_adabatch.__version__
    assert recipe["build"]["python"]["entry_points"] == ["adabatch = hpc_adabatch.cli:main"]
    found = dict(entry.partition(" ")[::2] for entry in recipe["requirements"]["run"])
    assert found.pop("python") == ">=3.10"
    assert (found.pop("docstring_parser"), found.pop("typeshed-client")) == ("", "")  # the extra signatures
    names = {"torch": "pytorch", "matplotlib": "matplotlib-base"}
    wanted = [Requirement(text) for text in setup["REQUIREMENTS"]]
    assert found == {names.get(each.name, each.name): str(each.specifier) for each in wanted}


def test_plain_pip_compiles_nothing() -> None:
    """Horovod has no wheels, and mpi4py needs an MPI: who asks for no extra gets neither."""
    setup = runpy.run_path(str(ROOT / "setup.py"), run_name="setup")
    plain = {Requirement(text).name for text in setup["REQUIREMENTS"]}
    assert {"torch", "numpy"} <= plain
    assert not plain & {"horovod", "mpi4py"}
    assert {Requirement(text).name for text in setup["EXTRAS"]["horovod"]} == {"horovod", "mpi4py"}
    assert {Requirement(text).name for text in setup["EXTRAS"]["mpi"]} == {"mpi4py"}


def test_recipes_parse() -> None:
    from hpc_adabatch.command_line import parse_recipe

    recipes = sorted((ROOT / "recipes").glob("*.yaml"))
    assert len(recipes) >= 2
    for path in recipes:
        assert parse_recipe("train", [str(path)])[0].name == path.stem


PAGES = sorted(
    [*(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "examples/README.md")), *ROOT.glob("docs/**/*.md")]
)


def test_the_readme_stays_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 200


def test_links_to_files_find_them() -> None:
    links = [
        (page, link) for page in PAGES for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    ]
    files = [(page, link.partition("#")[0]) for page, link in links if not re.match(r"https?:|#", link)]
    assert len(files) > 30
    assert [(page.name, name) for page, name in files if not (page.parent / name).exists()] == []


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found: set[str] = set()
    fenced = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for heading in re.findall(r"^#+ (.*)$", fenced, re.MULTILINE):
        anchor = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        more = (f"{anchor}-{number}" for number in itertools.count(1))
        found.add(anchor if anchor not in found else next(each for each in more if each not in found))
    return found


def test_links_into_pages_find_their_headings() -> None:
    links = [
        (page, link)
        for page in PAGES
        for link in re.findall(r"\]\(([^)\s]*#[^)\s]+)\)", page.read_text(encoding="utf-8"))
    ]
    into = [(page, *link.split("#")) for page, link in links if not re.match("https?:", link)]
    assert len(into) > 5
    wrong = [
        (page.name, name, at) for page, name, at in into if at not in anchors(page.parent / name if name else page)
    ]
    assert wrong == []


def test_every_page_of_results_is_linked_from_their_table() -> None:
    table = (ROOT / "docs" / "results" / "README.md").read_text(encoding="utf-8")
    pages = [path.name for path in ROOT.glob("docs/results/*.md") if path.name != "README.md"]
    assert [page for page in pages if f"({page})" not in table] == []


def test_the_license_is_the_one_that_setup_names(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, object] = {}
    monkeypatch.setattr("setuptools.setup", lambda **arguments: given.update(arguments))
    runpy.run_path(str(ROOT / "setup.py"), run_name="__main__")
    assert given["license"] == "Apache-2.0"
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert " ".join(text.split()).startswith("Apache License Version 2.0, January 2004")
    assert "Copyright 2026 the hpc_adabatch authors" in text


def test_one_torch_drives_p100_and_v100_wherever_it_is_named() -> None:
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in ("environment.yml", "launch/install")]
    assert {version for text in texts for version in re.findall(r"torch==(\d+\.\d+)", text)} == {"2.13"}


def flags() -> set[str]:
    """Every flag's name as --help prints it, dotted ones in full."""
    from hpc_adabatch.command_line import CHOICES, LearningRateFlags

    named = {f"learning_rate.{name}" for name in LearningRateFlags.__dataclass_fields__}
    for field, (classes, _) in CHOICES.items():
        named.add(f"{field}.name")
        for cls in classes.values():
            named |= {f"{field}.{name}" for name in inspect.signature(cls).parameters}
    for path in [path for room in ("hpc_adabatch", "benchmarks", "examples") for path in ROOT.glob(f"{room}/**/*.py")]:
        text = path.read_text(encoding="utf-8")
        named |= set(re.findall(r"""add_argument\(\s*"--(\w+)""", text))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef) and re.search("(?:Flags|Options)$", node.name):
                named |= {line.target.id for line in node.body if isinstance(line, ast.AnnAssign)}  # type: ignore[union-attr]
    return named


def test_flags_are_spelt_as_help_prints_them() -> None:
    """With underscores; and whatever has an underscore or a dot in it is a flag that there is."""
    known, dashed, unknown = flags() | {"print_config"}, [], []  # jsonargparse brings that one
    ours = {name.replace("_", "-") for name in known if "_" in name}
    for page in [*PAGES, *ROOT.glob("recipes/*.yaml"), *ROOT.glob("hpc_adabatch/**/cli.py")]:
        text = page.read_text(encoding="utf-8").replace("sbatch --test-only", "")  # that one is Slurm's
        of_its_own = {f"task.{name}" for name in re.findall(r"^    (\w+): ", text, re.MULTILINE)}  # a class in the page
        for name in set(re.findall(r"(?<![\w-])--([a-z][\w.-]*\w)", text)) - of_its_own:
            dashed += [(page.name, name)] if name in ours else []
            unknown += [(page.name, name)] if ("_" in name or "." in name) and name not in known else []
    assert (dashed, unknown) == ([], [])
