"""``adabatch init`` as it is typed, and asked in a terminal."""

from __future__ import annotations

import os
import pty
import re
import select
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hpc_adabatch.cli import main
from hpc_adabatch.command_line import parse_recipe
from hpc_adabatch.study.placement import directives

RUN = "#!/bin/bash\n#SBATCH --nodes=2\n#SBATCH --gres=gpu:v100:4\n#SBATCH --array=1-3\nmodule load gcc\nsrun x\n"


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run.slurm").write_text(RUN, encoding="utf-8")
    Path("my train.py").write_text("", encoding="utf-8")


def typed(*words: str, code: int = 0) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["init", *words])
    assert ended.value.code == code


def test_two_files_and_three_commands(capsys: pytest.CaptureFixture[str]) -> None:
    typed("new/mine", "--task", "cifar10", "--data", "data", "--gpu", "a100", "--nodes", "3", "--account=abc")
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in said[:2]] == [
        ["wrote", "new/mine/recipe.yaml"],
        ["wrote", "new/mine/run.sbatch"],
    ]
    assert said[2] == "type in new/mine:"
    commands = [line.partition("#")[0].strip() for line in said[3:]]
    assert commands == [
        "adabatch plan recipe.yaml --ranks 12",
        "sbatch run.sbatch doctor",
        "sbatch run.sbatch recipe.yaml",
    ]
    assert sorted(path.name for path in Path("new/mine").iterdir()) == ["recipe.yaml", "run.sbatch"]
    recipe = parse_recipe("train", ["new/mine/recipe.yaml"])[0]
    assert vars(recipe.task)["root"] == "../../data"  # as it is told from there
    asked = directives(Path("new/mine/run.sbatch").read_text(encoding="utf-8"))
    assert (asked["nodes"], asked["account"], asked["gres"]) == ("3", "abc", "gpu:a100:4")


def test_nothing_is_written_over_and_nothing_left_half(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine").mkdir()
    Path("mine/run.sbatch").write_text("mine", encoding="utf-8")
    typed("mine", "--task", "digits", "--gpu", "none", code=2)
    assert "FOLDER: given mine, which has a run.sbatch" in capsys.readouterr().err
    assert [path.name for path in Path("mine").iterdir()] == ["run.sbatch"]
    typed("run.slurm", "--task", "digits", "--gpu", "none", code=2)
    assert "FOLDER: given run.slurm (" in capsys.readouterr().err


def test_from_an_older_script(capsys: pytest.CaptureFixture[str]) -> None:
    typed("mine", "--from", "run.slurm", "--script", "'my train.py' --lr 0.1", "--partition", "p1")
    said = capsys.readouterr().out
    assert "not taken over: --array=1-3" in said
    assert "sbatch run.sbatch python '../my train.py' --lr 0.1" in said
    assert [path.name for path in Path("mine").iterdir()] == ["run.sbatch"]
    asked = directives(Path("mine/run.sbatch").read_text(encoding="utf-8"))
    assert (asked["nodes"], asked["ntasks-per-node"], asked["partition"]) == ("2", "4", "p1")


def test_in_this_folder_and_for_pbs(capsys: pytest.CaptureFixture[str]) -> None:
    typed(".", "--recipe", "quickstart", "--gpu", "h100", "--queue=pbs", "--modules", "gcc cuda/12")
    said = capsys.readouterr().out
    assert "\ntype:\n" in said
    assert 'qsub -v ADABATCH_WORDS="recipe.yaml" run.pbs' in said
    assert "\nmodule load gcc cuda/12\n" in Path("run.pbs").read_text(encoding="utf-8")


@pytest.mark.parametrize("argument", ["a,b", "two words", "it's", 'say "no"', "$HOME", "`id`", "back\\slash", "plain"])
def test_words_reach_the_job_of_pbs_as_they_are(argument: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Through the shell that the command is typed in, qsub's list of variables, and launch/queue/pbs."""
    typed(".", "--script", shlex.join(["my train.py", argument]), "--gpu", "none", "--queue", "pbs")
    command = capsys.readouterr().out.splitlines()[-1].partition("    # ")[0].strip()
    shown = subprocess.run(
        ["bash", "-c", f'qsub() {{ printf %s "$2"; }}; {command}'], capture_output=True, text=True, check=True
    )
    variables = re.sub(r"'[^']*'", "", shown.stdout)  # what qsub splits at commas
    assert "," not in variables or "," not in argument
    words = subprocess.run(
        ["xargs", "-n", "1", "printf", "%s\n"],
        input=shown.stdout.partition("=")[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert words.stdout.splitlines() == ["python", "my train.py", argument]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((), "FOLDER: given nothing; .*type adabatch init my-run "),
        (("a\nb", "--task=digits", "--gpu=none"), "FOLDER: given "),
        (("x",), "task: given nothing; allowed: a task, a recipe or a script; type --task digits"),
        (("x", "--task=digits"), "gpu: given nothing; allowed: p100, .*, none; type --gpu v100"),
        (("x", "--task=digit"), "task: given digit; allowed: digits, .*, module:Class; type --task digits"),
        (("x", "--task=digits", "--recipe=quickstart"), "task and recipe: given together"),
        (("x", "--recipe=quick"), "recipe: given quick; allowed: .*quickstart"),
        (("x", "--script=none.py", "--gpu=none"), "script: given none.py; allowed: a file that is there"),
        (("x", "--script='", "--gpu=none"), "script: given '; allowed: words whose quotes close"),
        (("x", "--script=my train.py", "--gpu=none"), "script: given my train.py; allowed: a file that is there"),
        (("x", "--task=digits", "--gpu=v101"), "gpu: given v101; allowed: p100"),
        (("x", "--task=digits", "--gpu=none", "--nodes=0"), "nodes: given 0; allowed: 1 or more; type --nodes 4"),
        (("x", "--task=digits", "--gpu=none", "--nodes=x"), "nodes: given x; allowed: an integer or null"),
        (("x", "--task=digits", "--gpu=none", "--time=soon"), "time: given soon; allowed: HH:MM:SS"),
        (("x", "--task=digits", "--gpu=none", "--account=a b"), "account: given a b; allowed: a word"),
        (("x", "--task=digits", "--gpu=none", "--modules=$(x)"), "modules: given .*; allowed: names of modules"),
        (("x", "--task=digits", "--gpu=none", "--data=d"), "data: given with digits; allowed: none"),
        (("x", "--script=run.slurm", "--gpu=none", "--data=d"), "data: given with a script; allowed: a task"),
        (("x", "--task=digits", "--from=none"), r"from: given none \(FileNotFoundError\); allowed: a batch script"),
        (("x", "--task=digits", "--from=my train.py"), "from: given a file without #SBATCH"),
        (("x", "--colour=red"), "colour: given a flag that init does not have; allowed: --task, "),
        (("x", "y", "--task=digits", "--gpu=none"), "command line|y: given"),
    ],
)
def test_one_line_for_each_mistake(words: tuple[str, ...], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    typed(*words, code=2)
    said = capsys.readouterr().err
    assert re.match(f"adabatch: error: (?:{line})", said), said
    assert said.count("\n") == 1
    assert not Path("x").exists()


def in_a_terminal(words: list[str], answers: dict[str, str]) -> str:
    """What the command prints where somebody answers: each question by its first words."""
    leader, follower = pty.openpty()
    environment = os.environ | {
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
        "TERM": "dumb",
        "COLUMNS": "200",
    }
    line = [sys.executable, "-m", "hpc_adabatch", "init", *words]
    process = subprocess.Popen(line, stdin=follower, stdout=follower, stderr=follower, env=environment, close_fds=True)
    os.close(follower)
    said, left, until = "", dict(answers), time.monotonic() + 120
    while time.monotonic() < until:
        if select.select([leader], [], [], 0.2)[0]:
            try:
                said += os.read(leader, 4096).decode()
            except OSError:  # it has ended
                break
        for question in [question for question in left if question in said]:
            os.write(leader, f"{left.pop(question)}\n".encode())
    process.wait(timeout=30)
    os.close(leader)
    assert process.returncode == 0, said
    assert left == {}, said
    return said


@pytest.mark.long
def test_questions_in_a_terminal() -> None:
    answers = {"Folder to write into": "asked", "What trains": "imagenet", "Folder of its data": "/scratch/imagenet"}
    answers |= {
        "What starts jobs": "",
        "Kind of GPU": "h100",
        "Nodes": "4",
        "GPUs of a node": "8",
        "Time limit": "",
        "Account": "abc",
    }
    answers |= {"Partition": "", "Modules": "gcc cuda"}
    assert "sbatch run.sbatch recipe.yaml" in in_a_terminal([], answers)
    asked = directives(Path("asked/run.sbatch").read_text(encoding="utf-8"))
    found = [asked.get(name) for name in ("nodes", "gres", "time", "account", "partition")]
    assert found == ["4", "gpu:h100:8", "04:00:00", "abc", None]
    assert "  root: /scratch/imagenet\n" in Path("asked/recipe.yaml").read_text(encoding="utf-8")


@pytest.mark.long
def test_only_what_is_not_known_is_asked() -> None:
    said = in_a_terminal(
        ["asked", "--from", "run.slurm"],
        {"What trains": "'my train.py' --lr 1", "Time limit": "01:00:00", "Account": "", "Partition": ""},
    )
    assert "Nodes" not in said
    assert "sbatch run.sbatch python '../my train.py' --lr 1" in said
