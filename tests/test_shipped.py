"""What ships beside the modules: listed, copied, and trained by its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpc_adabatch import shipped
from hpc_adabatch.cli import main
from hpc_adabatch.command_line import parse_recipe

ROOT = Path(__file__).resolve().parent.parent


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["recipes", *words])
    assert ended.value.code == code
    found = capsys.readouterr()
    return found.err if code else found.out


def test_every_recipe_is_listed_with_a_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys).splitlines()
    assert [line.split()[0] for line in lines] == sorted(path.stem for path in (ROOT / "recipes").glob("*.yaml"))
    for line in lines:
        name, _, about = line.partition(" ")
        assert 20 < len(about.strip()) < 120, name
    assert len({line.split(maxsplit=1)[1] for line in lines}) == len(lines)


def test_a_copy_is_the_recipe_and_never_lies_over_another_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said(capsys, "quickstart") == "wrote quickstart.yaml; type: adabatch train quickstart.yaml\n"
    assert Path("quickstart.yaml").read_bytes() == (ROOT / "recipes" / "quickstart.yaml").read_bytes()
    Path("quickstart.yaml").write_text("mine", encoding="utf-8")
    assert "quickstart.yaml, which is there already" in said(capsys, "quickstart", code=2)
    assert Path("quickstart.yaml").read_text(encoding="utf-8") == "mine"
    assert said(capsys, "quickstart", "--to", "new/mine.yaml").startswith("wrote new/mine.yaml")
    assert "to: given" in said(capsys, "quickstart", "--to", "quickstart.yaml/x", code=2)
    assert "NAME: given quickstar; allowed: cifar10-alexnet-adabatch, " in said(capsys, "quickstar", code=2)
    assert "NAME: given nothing" in said(capsys, "--to", "x", code=2)


def test_a_name_is_a_recipe_where_no_file_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    by_name, by_path = (parse_recipe("train", [word]) for word in ("quickstart", str(ROOT / "recipes/quickstart.yaml")))
    assert (by_name[0].name, by_name[2]) == ("quickstart", by_path[2])
    Path("quickstart").write_text("global_batch: 8\nepochs: 3\n", encoding="utf-8")
    assert parse_recipe("train", ["quickstart"])[0].options.epochs == 3


def test_templates_are_those_of_slurm_and_the_one_of_pbs() -> None:
    names = {path.stem for path in (ROOT / "slurm").iterdir()} | {"pbs"}
    assert set(shipped.templates()) == names


def test_an_installed_package_reads_its_own_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And advises pip, because there is no launch/install beside it."""
    (tmp_path / "hpc_adabatch" / "share" / "recipes").mkdir(parents=True)
    (tmp_path / "hpc_adabatch" / "share" / "recipes" / "mine.yaml").write_text("# Mine: a test.\n", encoding="utf-8")
    assert shipped.in_checkout()
    assert shipped.installing("torch") == "./launch/install"
    monkeypatch.setattr(shipped, "_PACKAGE", tmp_path / "hpc_adabatch")
    assert list(shipped.recipes()) == ["mine"]
    assert not shipped.in_checkout()
    assert shipped.installing("torch") == "pip install torch"


@pytest.mark.parametrize(
    ("text", "about"),
    [
        ("# A net (1712.02029), of one GPU. More.\nepochs: 1\n", "A net (1712.02029), of one GPU"),
        ("# One line\n# and another; the rest\n", "One line and another"),
        ("# One\n", "One"),
        ("epochs: 1\n", ""),
    ],
)
def test_what_a_recipe_is_about(text: str, about: str) -> None:
    assert shipped.about(text) == about
