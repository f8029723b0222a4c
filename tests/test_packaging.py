"""The wheel and the sdist: what they hold, that one makes the other, and one version everywhere."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest
import yaml

import hpc_adabatch as hab
from hpc_adabatch import shipped

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parent.parent
BESIDE = ("setup.py", "pyproject.toml", "README.md", "LICENSE", "docs/pip.md")


def called(*line: object, cwd: Path) -> str:
    done = subprocess.run(list(map(str, line)), cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def copied(target: Path) -> Path:
    """The files of this tree that an sdist is made of, and some that it must not have."""
    for name in BESIDE:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target / name)
    for room in ("hpc_adabatch", "recipes", "slurm", "pbs", "launch", "tests/init"):
        shutil.copytree(ROOT / room, target / room, ignore=shutil.ignore_patterns("__pycache__"))
    (target / "recipes" / "notes.txt").write_text("mine", encoding="utf-8")
    return target


def content(wheel: Path) -> dict[str, tuple[bytes, int]]:
    """The bytes and the mode of each file of a wheel."""
    with zipfile.ZipFile(wheel) as opened:
        return {each.filename: (opened.read(each), each.external_attr >> 16) for each in opened.infolist()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel of this tree, and its sdist."""
    folder = copied(tmp_path_factory.mktemp("built") / "tree")
    called(sys.executable, "setup.py", "-q", "sdist", "bdist_wheel", cwd=folder)
    (wheel,), (sdist,) = (folder / "dist").glob("*.whl"), (folder / "dist").glob("*.tar.gz")
    return wheel, sdist


def test_the_wheel_has_what_ships_with_its_modes_and_no_more(built: tuple[Path, Path]) -> None:
    found = content(built[0])
    share = {name.removeprefix("hpc_adabatch/share/"): each for name, each in found.items() if "/share/" in name}
    wanted = [path for room in ("recipes", "slurm", "pbs") for path in (ROOT / room).iterdir()]
    wanted += [ROOT / "launch" / name for name in ("job", "run", "network", "queue/pbs", "queue/slurm")]
    assert sorted(share) == sorted(path.relative_to(ROOT).as_posix() for path in wanted)
    for path in wanted:
        data, mode = share[path.relative_to(ROOT).as_posix()]
        assert data == path.read_bytes()
        assert (mode & 0o111 != 0) == (path.stat().st_mode & 0o111 != 0), path
    assert {name.partition("/")[0] for name in found} == {"hpc_adabatch", f"hpc_adabatch-{hab.__version__}.dist-info"}
    assert "hpc_adabatch/py.typed" in found
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "hpc_adabatch").rglob("*.py")}
    assert {name for name in found if name.endswith(".py")} == modules


def test_the_sdist_makes_the_same_wheel(built: tuple[Path, Path], tmp_path: Path) -> None:
    wheel, sdist = built
    with tarfile.open(sdist) as opened:
        names = opened.getnames()
    shutil.unpack_archive(sdist, tmp_path)
    assert not [name for name in names if "/tests/" in name or name.endswith("notes.txt")]
    folder = tmp_path / f"hpc_adabatch-{hab.__version__}"
    called(sys.executable, "setup.py", "-q", "bdist_wheel", cwd=folder)
    (again,) = (folder / "dist").glob("*.whl")
    assert again.name == wheel.name
    assert content(again) == content(wheel)


def test_an_editable_installation_copies_nothing(tmp_path: Path) -> None:
    """It reads recipes where they lie, and so shows their changes."""
    folder = copied(tmp_path / "tree")
    called(sys.executable, "-m", "venv", "--without-pip", "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    called(sys.executable, "setup.py", "-q", "editable_wheel", "-d", tmp_path, cwd=folder)  # what pip install -e does
    (wheel,) = tmp_path.glob("*.whl")
    called(
        sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index", wheel, cwd=tmp_path
    )
    assert not (folder / "hpc_adabatch" / "share").exists()
    program = "import hpc_adabatch.shipped as s; print(s.root(), s.in_checkout(), 'quickstart' in s.recipes())"
    assert called(python, "-I", "-c", program, cwd=tmp_path).split() == [str(folder), "True", "True"]


def test_the_description_stands_alone(built: tuple[Path, Path]) -> None:
    """It was the README, whose links lead to files that somebody with a wheel has not got."""
    found = message_from_bytes(content(built[0])[f"hpc_adabatch-{hab.__version__}.dist-info/METADATA"][0])
    assert found["Version"] == hab.__version__
    text = str(found.get_payload())
    assert text.strip() == (ROOT / "docs" / "pip.md").read_text(encoding="utf-8").strip()
    assert [link for link in re.findall(r"\]\(([^)]+)\)", text) if not link.startswith("https://")] == []
    paths = re.findall(r"(?<![\w/.-])(?:recipes|slurm|pbs|docs|launch)/[\w.-]+", text)
    assert set(paths) <= {"launch/install"}  # in a checkout, it says


def test_one_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert str(citation["version"]) == hab.__version__
    assert {"cff-version", "message", "title", "authors", "license"} <= citation.keys()
    assert citation["license"] == "Apache-2.0"
    texts = [
        (ROOT / name).read_text(encoding="utf-8") for name in ("setup.py", "pyproject.toml", "hpc_adabatch/cli.py")
    ]
    assert [text for text in texts if hab.__version__ in text] == []


def test_what_ships_is_told_in_one_place() -> None:
    assert shipped.root() == ROOT
    assert set(shipped.recipes()) == {path.stem for path in (ROOT / "recipes").iterdir()}
