"""Every block of code of the README and of docs/: it runs, as it stands, or left_alone.py says why not.

A page is one session in a folder of its own, from its first block to its last. Commands of ``adabatch`` are carried
out, training with fewer epochs; blocks with the name of a file in their first line are written there, so that later
commands find them; and what a page shows as output is what its commands have just said, but for numbers. A command that
is not carried out is read by the parser of its verb all the same.

Pages write RECIPE, RUN, DIR and FILE for what a reader has: files of these names lie in each folder.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from hpc_adabatch import command_line, commands, verb_flags
from hpc_adabatch.cli import VERBS, main
from hpc_adabatch.study import cli as study
from hpc_adabatch.verb_words import Word, read

sys.path.insert(0, str(Path(__file__).parent))  # tests/ has no packages
from blocks import Block, blocks, lines
from blocks import commands as commands_of
from left_alone import ANY, LEFT, SAID_BY_RANKS

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in ROOT.glob("docs/*.md"))]
HARMLESS = ("diff", "echo", "python")
BLOCKS = [block for page in PAGES for block in blocks(ROOT / page, page)]
RANKS = [(b.page, line) for b in BLOCKS for line in lines(b) if line.startswith("mpirun ") and "ring.yaml" not in line]


def why_left(page: str, text: str) -> str | None:
    """Returns why a block or a command of a page is left alone; None where it is not."""
    text = masked(text)
    whys = [(where, why) for where, begins, why in LEFT if where in (ANY, page) and text.startswith(masked(begins))]
    return max(whys)[1] if whys else None  # that of the page itself first


def masked(text: str) -> str:
    """Returns a line with every number replaced, and its spaces joined."""
    return re.sub(r"\d[\d.,]*\d|\d", "#", " ".join(text.split()))


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what pages call RECIPE, RUN, DIR and FILE, and with the repository's own folders."""
    folder = tmp_path_factory.mktemp("things")
    for name in ("recipes", "slurm", "pbs", "launch", "benchmarks", "examples"):
        (folder / name).symlink_to(ROOT / name)
    for part, images in (("train", 1030), ("val", 4)):
        for kind in ("cat", "dog"):
            (folder / "DIR" / part / kind).mkdir(parents=True)
            for number in range(images):
                Image.new("L", (8, 8), number % 256).save(folder / "DIR" / part / kind / f"{number}.jpg")
    recipe = {"task": {"name": "image_folder", "root": "DIR"}, "model": "narrow_cnn", "global_batch": 128, "epochs": 2}
    (folder / "RECIPE").write_text(yaml.safe_dump(recipe | {"policy": "noise_scale"}), encoding="utf-8")
    (folder / "FILE").write_text("a few words that come again and again , as words do\n" * 300, encoding="utf-8")
    (folder / "OLD.sbatch").write_text(
        "#!/bin/bash\n#SBATCH --nodes=2 --gres=gpu:v100:4\nsrun true\n", encoding="utf-8"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert ended("train", "quickstart", "--out=RUN", "--epochs=2", "--policy=noise_scale", "--measure_every=5") == 0
    return folder


def ended(*words: str) -> object:
    """Carries a command of adabatch out. Returns the code that it ended with."""
    with pytest.raises(SystemExit) as caught:
        main(words)
    return caught.value.code


@pytest.fixture
def here(things: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for one page, in which its reader stands."""
    for thing in things.iterdir():
        if thing.name in ("RUN", "RECIPE", "FILE"):
            (shutil.copytree if thing.is_dir() else shutil.copy)(thing, tmp_path / thing.name)
        else:
            (tmp_path / thing.name).symlink_to(thing.resolve())
    monkeypatch.chdir(tmp_path)
    command_line._parser.cache_clear()
    yield tmp_path
    command_line._parser.cache_clear()


def understood(words: list[str]) -> None:
    """Has the parser of its verb read a command of ``adabatch`` that is not carried out."""
    verb, rest = words[0], words[1:]
    flags = VERBS[verb].flags
    if verb == "study":
        verb, own = rest[0], rest[1 : rest.index("--")] if "--" in rest else rest[1:]
        kinds = {"plan": study.GridFlags, "collect": study.FolderFlags}
        kind = kinds.get(verb) or getattr(study, f"{verb.title()}Flags")
        study.parse(verb, own, kind, study._GRIDS if verb == "plan" else None)
    elif verb in ("watch", "export"):
        read(verb, rest, getattr(verb_flags, f"{verb.title()}Flags"), Word("RUN", "", many=verb == "export"))
    elif flags is None:
        pytest.fail(f"nothing reads {words} without carrying it out")
    elif verb == "train" or commands._is_of_recipe(rest):
        command_line.parse_recipe(verb, rest, verb_flags.TrainFlags if verb == "train" else flags())
    else:
        command_line.parse_flags(verb, rest, flags())


def of_adabatch(words: list[str]) -> list[str] | None:
    """Returns the words that ``adabatch`` gets, also behind a launcher or from a batch script; None of another one."""
    if "adabatch" in words:
        return words[words.index("adabatch") + 1 :]
    if words[0] == "./launch/quickstart":
        return ["train", "quickstart", *words[1:]]
    script = next((word for word in words if re.fullmatch(r"(?:slurm|pbs)/\w+\.(?:sbatch|pbs)", word)), None)
    if script is None:
        return None
    assert (ROOT / script).exists()
    inside = next((word.partition("=")[2] for word in words if word.startswith("ADABATCH_WORDS=")), "").split()
    inside = inside or words[words.index(script) + 1 :]
    if inside[:1] in ([], ["python"]):
        return None
    return inside if inside[0] in VERBS else ["train", *inside]


def shorter(words: list[str]) -> list[str]:
    """Returns the words of a command with fewer epochs, where it trains."""
    return [*words, f"--epochs={3 if '--resume' in words else 2}"] if words[0] == "train" else words


def carry_out(line: str) -> str:
    """Carries out a line of a shell. Returns what it said."""
    assert line.split()[0] in HARMLESS, f"{line}: neither a command of adabatch nor in LEFT"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    words = ["bash", "-c", line]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def is_known(words: list[str]) -> None:
    """Sees that the scripts of the repository that a command names are there, and read its flags."""
    for word in words:
        if re.fullmatch(r"(?:\./)?(?:launch|slurm|pbs|benchmarks|examples|recipes)/[\w./-]+", word):
            assert (ROOT / word).exists(), words
            if word.endswith(".py"):
                text = (ROOT / word).read_text(encoding="utf-8")
                flags = [flag.partition("=")[0] for flag in words if flag.startswith("--")]
                assert [flag for flag in flags if f'"{flag}"' not in text] == [], words


def shell(block: Block, capfd: pytest.CaptureFixture[str]) -> str:
    """Carries out the commands of a block that may be, and has the others read. Returns what was said."""
    said = ""
    for line in lines(block):
        if why_left(block.page, line) and not re.search(r"\badabatch\b|\.(?:py|sbatch|pbs)\b", line):
            continue
        for words in commands_of(line):
            is_known(words)
            inside, left = of_adabatch(words), why_left(block.page, " ".join(words))
            if left is None and inside is None:
                said += carry_out(line)
            elif left is None:
                code, heard = ended(*shorter(inside)), "".join(capfd.readouterr())
                assert code == 0 or (code == 1 and inside[0] == "doctor"), (words, heard)  # that may find something
                said += heard
            elif inside is not None and "::" not in left:
                understood(inside)
    return said


def is_shown(block: Block, said: str) -> None:
    """Sees that the lines of a block were said, but for their numbers, and for what dots stand for."""
    heard = {masked(line) for line in said.splitlines()}
    for line in map(masked, block.text.splitlines()):
        begin, dots, end = line.partition("...")
        alike = any(each.startswith(begin) and each.endswith(end) for each in heard)
        assert alike if dots else line in heard, (block.page, line, said)


def written(block: Block) -> Path:
    """Writes a file whose name is its first line. Returns its path."""
    name = re.fullmatch(r"# ([\w.-]+\.(?:py|yaml))", block.first)
    assert name, f"{block.page}:{block.line}: say the name of the file in the first line, or add a line to LEFT"
    path = Path(name[1])
    path.write_text(block.text + "\n", encoding="utf-8")
    return path


def differs(block: Block) -> None:
    """Sees that a difference is one of two files."""
    sides: dict[str, list[str]] = {}
    for line in block.text.splitlines():
        if name := re.fullmatch(r"(\+\+\+|---) (\S+)", line):
            sides[name[1][0]] = (ROOT / name[2]).read_text(encoding="utf-8").splitlines()
        else:
            assert all(line[1:] in sides[side] for side in sides if line[0] in (side, " ")), line


@pytest.mark.long
@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("page", PAGES)
def test_the_blocks_of_a_page_run(page: str, capfd: pytest.CaptureFixture[str]) -> None:
    said = ""
    for block in (each for each in BLOCKS if each.page == page):
        if block.kind == "shell":
            said = shell(block, capfd)
        elif why_left(page, block.first) is not None:
            continue
        elif block.kind == "python":
            said = carry_out(f"python {written(block)}")
        elif block.kind == "yaml":
            written(block)
        elif block.kind == "diff":
            differs(block)
        elif block.kind == "text":
            is_shown(block, said)
        else:
            pytest.fail(f"{page}:{block.line}: a block of {block.kind or 'nothing'}: write a line into LEFT")


@pytest.mark.launch
@pytest.mark.parametrize(("page", "line"), RANKS)
def test_commands_for_ranks(page: str, line: str, adabatch: Any, tmp_path: Path) -> None:
    """On two ranks, whatever the page says: they share the cores."""
    (words,) = commands_of(line)
    inside = of_adabatch(words)
    assert inside is not None
    said = adabatch(*shorter(inside), "--out", tmp_path / "out").stdout
    shown = next((b for b in BLOCKS if b.page == page and why_left(page, b.first) == SAID_BY_RANKS), None)
    if shown is not None and inside[0] in ("measure", "noise"):
        is_shown(shown, said)


def test_every_line_of_the_table_is_needed() -> None:
    """A reason for a block that is not there any more would hide the next one that begins alike."""
    texts = [(block.page, block.first) for block in BLOCKS]
    texts += [(block.page, line) for block in BLOCKS if block.kind == "shell" for line in lines(block)]
    texts += [(page, part.strip()) for page, line in texts for part in re.split("&&|;", line)]
    texts = [(page, masked(text)) for page, text in texts]
    for where, begins, _ in LEFT:
        assert any(where in (ANY, page) and text.startswith(masked(begins)) for page, text in texts), (where, begins)


def test_the_tests_that_the_table_names_are_there() -> None:
    for _, _, why in LEFT:
        for path, name in re.findall(r"(tests/[\w/]*\w(?:\.py)?)(?:::(\w+))?", why):
            assert (ROOT / path).exists(), why
            assert not name or f"def {name}(" in (ROOT / path).read_text(encoding="utf-8"), why
