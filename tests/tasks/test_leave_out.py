"""Images that are left out: all others keep their places, in memory and read one by one, with the files or without."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hpc_adabatch.cli import main
from hpc_adabatch.cluster import SingleProcess
from hpc_adabatch.command_line import parse_recipe
from hpc_adabatch.errors import InputError
from hpc_adabatch.run.recipe_run import RecipeRun
from hpc_adabatch.tasks import ImageFolder
from hpc_adabatch.tasks.leave_out import applied
from hpc_adabatch.tasks.vision import datasets

RECIPE = str(Path(__file__).resolve().parents[2] / "recipes" / "quickstart.yaml")
NAMES = ["a.png", "b.png", "c/a.png", "c.png", "c/z/y.png", "d.png"]  # torchvision lists folders by their whole paths


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes, six images to train on and six to test in each; each of a grey of its own."""
    for place, part in enumerate(("train", "val")):
        for number, name in enumerate(("cat", "cat dog")):
            for index, image in enumerate(NAMES):
                path = tmp_path / "images" / part / name / image
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("L", (4, 4), 10 * index + 80 * number + 5 * place).save(path)
    return tmp_path / "images"


def greys(data: Any) -> list[int]:
    return [int(image.max()) for image, _ in data]


def test_all_other_images_keep_their_places_whether_the_files_are_there_or_not(root: Path, tmp_path: Path) -> None:
    whole = ImageFolder(root=str(root)).load()
    left_out = ["train/cat/c/a.png", "train/cat dog/a.png", f"{root}/train/cat dog/d.png", "val/cat/b.png"]
    (tmp_path / "list").write_text("\n".join(left_out) + "\n\n", encoding="utf-8")
    at = [greys(whole.train).index(grey) for grey in (20, 80, 130)]
    found = []
    for there in (True, False):
        for memory_gb in (4.0, 0.0):
            data = ImageFolder(root=str(root), leave_out=str(tmp_path / "list"), memory_gb=memory_gb).load()
            found.append((greys(data.train), greys(data.test)))
            assert data.told == f"{tmp_path / 'list'}: 3 training and 1 test image(s) left out; " + (
                "in training others of their classes stand in"
            )
        if there:
            for name in left_out:
                (root / name).unlink()
    assert found == [found[0]] * 4
    train, test = found[0]
    assert [target for _, target in data.train] == [target for _, target in whole.train] == [0] * 6 + [1] * 6
    for place, (before, now) in enumerate(zip(greys(whole.train), train, strict=True)):
        assert (now == before) == (place not in at)
        assert now // 80 == before // 80  # of the same class
    assert Counter(train).most_common(1)[0][1] == 2
    assert test == [grey for grey in greys(whole.test) if grey != 15]


PARTS = st.text(st.sampled_from("ab/.C 0"), min_size=1, max_size=4).filter(lambda text: text.strip("/. ") == text != "")


@given(st.sets(st.tuples(st.sampled_from(["x", "x y", "z"]), PARTS), min_size=2, max_size=30), st.data())
def test_places_are_kept_and_the_others_of_a_class_take_turns(
    images: set[tuple[str, str]], data: st.DataObject
) -> None:
    everyone = sorted(f"train/{folder}/{name}.png" for folder, name in images)
    places = applied(set(), everyone, trains=True)
    left_out = data.draw(st.sets(st.sampled_from(everyone)))
    gone = data.draw(st.sets(st.sampled_from(sorted(left_out)))) if left_out else set()
    there = data.draw(st.permutations([name for name in everyone if name not in gone]))
    of_class = {folder: [name for name in everyone if name.split("/")[1] == folder] for folder in ("x", "x y", "z")}
    if any(names and left_out.issuperset(names) for names in of_class.values()):
        with pytest.raises(InputError, match=r"^task\.leave_out: given all training images of"):
            applied(left_out, there, trains=True)
        return
    found = applied(left_out, there, trains=True)
    assert len(found) == len(places)
    for before, now in zip(places, found, strict=True):
        assert (before == now) == (before not in left_out)
        assert now not in left_out
        assert now.split("/")[1] == before.split("/")[1]
    for names in of_class.values():
        kept = [name for name in names if name not in left_out]
        times = Counter(name for name in found if name in kept)
        assert sorted(times) == kept
        assert max(times.values(), default=0) <= -(-len(names) // max(1, len(kept)))


def test_places_are_those_of_torchvision(root: Path) -> None:
    listed = [path[len(str(root)) + 1 :] for path, _ in datasets.ImageFolder(str(root / "train")).samples]
    assert applied(set(), sorted(listed, reverse=True), trains=True) == listed


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("cat/a.png", "allowed: a text file with a path below task.root in each line, such as train/CLASS/FILE"),
        ("train/cow/a.png", "given .*: train/cow/a.png; allowed: paths of images in class folders"),
        ("train/cat/notes.txt", "given .*: train/cat/notes.txt; allowed: paths of images in class folders"),
        (
            "\n".join(f"train/cat/{name}" for name in NAMES),
            "given all training images of cat; allowed: one left of each",
        ),
    ],
)
def test_a_list_that_fits_no_image_is_refused_in_one_line(line: str, said: str, root: Path, tmp_path: Path) -> None:
    (tmp_path / "list").write_text(line, encoding="utf-8")
    with pytest.raises(InputError, match=rf"^task\.leave_out: .*{said}"):
        ImageFolder(root=str(root), leave_out=str(tmp_path / "list")).load()
    with pytest.raises(InputError, match=r"^task\.leave_out: given .*nowhere \(FileNotFoundError\)"):
        ImageFolder(root=str(root), leave_out=str(tmp_path / "nowhere")).load()


def train(root: Path, out: Path, *flags: str) -> RecipeRun:
    small = ["--task=image_folder", f"--task.root={root}", "--task.memory_gb=0", "--model=narrow_cnn", "--policy=fixed"]
    recipe, _, resolved = parse_recipe("train", [RECIPE, *small, "--global_batch=4", *flags])
    run = RecipeRun(recipe, resolved, out, resume=True, cluster=SingleProcess())
    assert run.train() == 0
    return run


@pytest.mark.long
@pytest.mark.parametrize("workers", ["--workers=0", "--workers=1"])
def test_a_run_that_met_a_broken_image_goes_on_without_it(
    workers: str, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bug story: a traceback out of the loader's process, and advice (rm FILE) that moved all images after it."""
    train(root, tmp_path / "run", workers, "--epochs=1")
    broken = root / "train" / "cat" / "c.png"
    broken.write_bytes(broken.read_bytes()[:-30])
    with pytest.raises(InputError, match=rf"^task\.root: given {broken} \(OSError: .*truncated.*type echo (.*), then"):
        train(root, tmp_path / "run", workers, "--epochs=2")
    with pytest.raises(
        InputError, match=r"type echo train/cat/c\.png >> leave-out\.txt, then --task\.leave_out leave-out\.txt"
    ):
        train(root, tmp_path / "run", workers, "--epochs=2")
    (tmp_path / "list").write_text("train/cat/c.png\n", encoding="utf-8")
    flags = [workers, "--epochs=2", f"--task.leave_out={tmp_path / 'list'}"]
    run = train(root, tmp_path / "run", *flags)
    assert run.training.plan.samples_seen == 24
    out = " ".join(capsys.readouterr().out.split())
    assert f"task.leave_out {tmp_path / 'list'} instead of None: other images stand in for those left out" in out
    assert "1 training and 0 test image(s) left out" in out
    train(root, tmp_path / "run", *flags[:1], "--epochs=3", flags[2])  # with the same list nothing is said
    assert "instead of None" not in capsys.readouterr().out


def checked(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[object, str]:
    with pytest.raises(SystemExit) as caught:
        main(["check-data", RECIPE, *arguments])
    return caught.value.code, capsys.readouterr().out + capsys.readouterr().err


@pytest.mark.long
def test_all_images_are_read_before_a_run(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    flags = ["--task=image_folder", f"--task.root={root}", "--workers=1"]
    assert checked(flags, capsys) == (0, "0 of 24 images cannot be read\n")
    assert not Path("leave-out.txt").exists()
    (root / "val" / "cat" / "c" / "a.png").write_bytes(b"")
    Image.fromarray(np.zeros((4, 4), np.float32)).save(root / "train" / "cat" / "a.tif")
    code, out = checked(flags, capsys)
    assert code == 2
    assert out.splitlines()[-1] == "2 of 25 images cannot be read; to leave them out: --task.leave_out leave-out.txt"
    assert f"{root}/train/cat/a.tif (floating point)" in out
    assert Path("leave-out.txt").read_text(encoding="utf-8") == "train/cat/a.tif\nval/cat/c/a.png\n"
    assert len(ImageFolder(root=str(root), leave_out="leave-out.txt").load().test) == 11  # type: ignore[arg-type]
    code, out = checked([*flags, "--task.leave_out=leave-out.txt"], capsys)
    assert (code, out) == (0, "2 of 25 images cannot be read, and leave-out.txt leaves them out\n")
    (root / "train" / "cat" / "b.png").write_bytes(b"")
    assert checked([*flags, "--task.leave_out=leave-out.txt"], capsys)[0] == 2
    assert Path("leave-out.txt").read_text(encoding="utf-8").splitlines()[:2] == ["train/cat/a.tif", "train/cat/b.png"]


@pytest.mark.long
@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--task=digits"], "task: given digits; allowed: a task of image files"),
        (["--task=image_folder", "--task.root=images", "--out=taken"], "out: given taken, which is there already"),
        (["--task=image_folder", "--task.root=images", "--out=taken/list"], "out: given taken/list"),
    ],
)
def test_a_check_that_cannot_be_made_is_refused_in_one_line(
    flags: list[str], said: str, root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root.parent)
    Path("taken").write_text("precious", encoding="utf-8")
    with pytest.raises(SystemExit) as caught:
        main(["check-data", RECIPE, *flags])
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith(f"adabatch: error: {said}")
    assert Path("taken").read_text(encoding="utf-8") == "precious"
