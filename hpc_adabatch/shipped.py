"""Files that ship beside the modules: recipes, batch scripts, and the scripts that these call.

    recipes/  slurm/  pbs/  launch/job  launch/run  launch/network  launch/queue/

In a checkout they are the folders beside the package. In a wheel they lie in a folder of it, ``share``, where setup.py
puts them side by side, so that launch/job finds launch/run in both.
"""

from __future__ import annotations

import re
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def root() -> Path:
    """Returns the folder that holds what ships: share/ of an installed package, else the checkout."""
    share = _PACKAGE / "share"
    return share if share.is_dir() else _PACKAGE.parent


def in_checkout() -> bool:
    """Reports whether the package is that of a checkout, where launch/install mends what is missing."""
    return (_PACKAGE.parent / "launch" / "install").is_file()


def recipes() -> dict[str, Path]:
    """Returns the recipes that ship, by name."""
    return {path.stem: path for path in sorted((root() / "recipes").glob("*.yaml"))}


def recipe_file(given: str) -> Path:
    """Returns the path of a recipe: as it is given, or of the one that ships by this name where there is no file."""
    path, known = Path(given), recipes()
    return known[given] if given in known and not path.exists() else path


def templates() -> dict[str, Path]:
    """Returns the batch scripts that ship, by name: those of Slurm, and pbs."""
    found = {path.stem: path for path in sorted((root() / "slurm").glob("*.sbatch"))}
    return found | {path.parent.name: path for path in (root() / "pbs").glob("gpu.pbs")}


def template_file(given: str) -> Path:
    """Returns the path of a batch script: as it is given, or of ours (slurm/v100.sbatch) where there is no file."""
    path, known = Path(given), {f"{each.parent.name}/{each.name}": each for each in templates().values()}
    return known[given] if given in known and not path.exists() else path


def about(recipe: str) -> str:
    """Returns what a recipe is, in a few words.

    Args:
        recipe: The text of the recipe, which begins with a comment.
    """
    lines = [line[1:].strip() for line in re.match(r"(?:#.*\n)*", recipe)[0].splitlines()]  # type: ignore[index]
    return re.split(r"[.;:] |\.?$", " ".join(lines), maxsplit=1)[0]


def installing(packages: str) -> str:
    """Returns what to type where packages are missing.

    Args:
        packages: Their names, as pip takes them.
    """
    return "./launch/install" if in_checkout() else f"pip install {packages}"
