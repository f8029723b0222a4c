"""What is imported, and when. Each program is a process of its own, because an import cannot be taken back."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import hpc_adabatch as hab
from hpc_adabatch.policies import POLICIES

pytestmark = pytest.mark.long

HEAVY = ("torch", "scipy", "numpy", "horovod", "matplotlib", "sklearn", "torchvision", "rich", "jsonargparse")


def loaded(program: str, *names: str) -> list[str]:
    """Returns those of the names that are loaded when the program has run."""
    return loaded_and_printed(program, *names)[0]


def loaded_and_printed(program: str, *names: str) -> tuple[list[str], str]:
    program = f"import sys\n{program}\nprint([name for name in {names} if name in sys.modules], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    return ast.literal_eval(done.stderr.splitlines()[-1]), done.stdout


def test_the_package_loads_nothing_before_a_name_is_used() -> None:
    assert loaded("import hpc_adabatch as hab; dir(hab); hab.__version__", *HEAVY) == []
    assert loaded("import hpc_adabatch as hab; hab.InputError", *HEAVY) == []


def test_help_shows_the_public_names_and_a_network_is_trained_without_what_only_some_runs_need() -> None:
    program = (
        "import hpc_adabatch; help(hpc_adabatch)\nfrom hpc_adabatch import *\n"
        "from hpc_adabatch.run.recipe_run import RecipeRun"
    )
    only_some = ("scipy", "matplotlib", "sklearn", "torchvision", "jsonargparse")
    found, printed = loaded_and_printed(program, "torch", *only_some)
    assert found == ["torch"]
    for expected in ("class AdaBatch(", "class Cluster(", "parameter_groups(", "learning_rate  one function"):
        assert expected in printed


def test_recipes_are_read_without_the_packages_of_data_and_pictures() -> None:
    """Each is imported by the task or the picture that needs it; where it is broken, all else goes on."""
    only_some = ("sklearn", "torchvision", "matplotlib")
    program = (
        f"sys.modules.update(dict.fromkeys({only_some}))  # import ends with an error\n"
        "from hpc_adabatch.command_line import parse_recipe\nfrom hpc_adabatch.shipped import recipes\n"
        "from hpc_adabatch.doctor.examine import examine\nfrom hpc_adabatch.study.cli import main\n"
        "for name in recipes(): parse_recipe('train', [name])\nprint(len(recipes()))"
    )
    found, printed = loaded_and_printed(program, "torch", "jsonargparse")
    assert found == ["torch", "jsonargparse"]
    assert int(printed) >= 15


@pytest.mark.parametrize("optimizer", ["sgd", "lars", "lamb", "adamw", "armijo"])
def test_a_network_is_trained_without_the_compiler_of_torch(optimizer: str, tmp_path: Path) -> None:
    """torch loads it for any of its optimizers: as long as torch itself, on each rank, before the first step."""
    program = (
        "from contextlib import suppress\nfrom hpc_adabatch.cli import main\nwith suppress(SystemExit): "
        f"main(['train', 'quickstart', '--epochs=1', '--optimizer={optimizer}', {f'--out={tmp_path}/run'!r}])"
    )
    assert loaded(program, "torch", "torch._dynamo", "sympy") == ["torch"]
    assert (tmp_path / "run" / "result.json").exists()


def test_a_folder_of_images_is_listed_and_read_without_torchvision(tmp_path: Path) -> None:
    """Which loads the compiler, too; all ranks would wait for it on rank 0."""
    program = (
        "import os\nfrom PIL import Image\nfrom hpc_adabatch.tasks import ImageFolder\n"
        "for part in ('train/a', 'train/b', 'val/a', 'val/b'):\n"
        f"    os.makedirs({str(tmp_path)!r} + '/' + part)\n"
        f"    Image.new('RGB', (4, 4)).save({str(tmp_path)!r} + '/' + part + '/0.PNG')\n"
        f"print(len(ImageFolder(root={str(tmp_path)!r}).load().train))"
    )
    assert loaded_and_printed(program, "torch", "torchvision", "torch._dynamo") == (["torch"], "2\n")


def test_a_rule_has_its_recipes_name_in_python() -> None:
    """As docs/from-a-horovod-script.md says: ``noise_scale`` is ``hab.NoiseScale``."""
    for name, rule in {**POLICIES, "replay": hab.Replay}.items():
        assert rule.__name__.lower() == name.replace("_", "")
        assert getattr(hab, rule.__name__) is rule


def test_every_public_name_is_found() -> None:
    tree = ast.parse(Path(hab.__file__).read_text(encoding="utf-8"))
    typed = {
        alias.name: node.module
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert typed.keys() == set(hab.__all__)  # a type checker sees what there is
    for name, module in typed.items():
        assert getattr(hab, name) is getattr(sys.modules[f"hpc_adabatch.{module}"], name)
        assert name in dir(hab)
    assert hab.policies.AdaBatch is hab.AdaBatch  # type: ignore[attr-defined]


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'hpc_adabatch' has no attribute 'Lars'"):
        hab.Lars  # type: ignore[attr-defined] # noqa: B018
    with pytest.raises(ImportError):
        from hpc_adabatch import Lars  # type: ignore[attr-defined] # noqa: F401


@pytest.mark.parametrize(
    "line",
    [
        ("--help",),
        ("--version",),
        ("completion", "bash"),
        ("report", "--help"),
        ("doctor", "--help"),
        ("train", "--help"),
        ("plan", "quickstart", "-h"),
        ("init", "--help"),
        ("init", "/proc/none", "--task", "digits", "--gpu", "v100"),
        ("recipes",),
        ("study", "--help"),
        ("study", "plan", "--help"),
        ("study", "submit", "--help"),
        ("nonsense",),
    ],
    ids=" ".join,
)
def test_help_comes_without_waiting_for_torch(line: tuple[str, ...]) -> None:
    """It took five seconds: told by what is imported, because a time is no test."""
    program = f"from hpc_adabatch.cli import main\ntry:\n    main({line})\nexcept SystemExit: pass"
    assert loaded(program, "torch", "scipy", "numpy", "matplotlib", "horovod") == []
