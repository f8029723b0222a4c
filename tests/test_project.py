"""Promises about the repository itself: style, types, packaging, nothing of one machine in it."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = [ROOT / "launch" / name for name in ("install", "quickstart", "test")]
SCRIPTS += [ROOT / ".ci" / "run", ROOT / "benchmarks" / "gpu.sh"]


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    return [ROOT / name for name in listed if (ROOT / name).is_file()]


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
    """environment.yml has every requirement of setup.py, at a version it allows; launch/install adds Horovod."""
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
    for text in setup["REQUIREMENTS"]:
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


def test_recipes_parse() -> None:
    from hpc_adabatch.command_line import parse_recipe

    recipes = sorted((ROOT / "recipes").glob("*.yaml"))
    assert len(recipes) >= 2
    for path in recipes:
        assert parse_recipe("train", [str(path)])[0].name == path.stem
