"""Files and names from elsewhere are data: nothing in them is carried out, neither by Python nor by a shell."""

from __future__ import annotations

import ast
import json
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from hpc_adabatch import yaml_core
from hpc_adabatch.cluster import SingleProcess
from hpc_adabatch.command_line import parse_recipe
from hpc_adabatch.errors import InputError
from hpc_adabatch.run import restart
from hpc_adabatch.study.local import command
from hpc_adabatch.study.place import Order
from hpc_adabatch.study.places import place_of
from hpc_adabatch.study.slurm.submit import sbatch_command
from hpc_adabatch.training import checkpoint

sys.path.insert(0, str(Path(__file__).resolve().parent / "study" / "fakes"))
from planned import ROOT, cells, fake_slurm, planned

pytestmark = pytest.mark.long

QUICKSTART = str(ROOT / "recipes" / "quickstart.yaml")


class Custom:
    """A class that torch does not know; unpickling it makes a folder."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("how", ["with our line", "of torch alone", "a bare pickle"])
def test_a_checkpoint_with_a_class_of_its_own_is_refused_and_not_carried_out(how: str, tmp_path: Path) -> None:
    folder, owned = tmp_path / "checkpoint", tmp_path / "owned"
    state = {"weights": torch.zeros(2), "more": Custom(str(owned))}
    folder.mkdir()
    if how == "with our line":
        checkpoint.save(folder, state)
    elif how == "of torch alone":
        torch.save(state, folder / "last.pt")
    else:
        (folder / "last.pt").write_bytes(pickle.dumps(state["more"]))
    with pytest.raises(InputError, match=r"^resume: given .*last.pt is .*; allowed: a whole checkpoint"):
        checkpoint.load(folder, SingleProcess())
    assert not owned.exists()
    if how == "of torch alone":  # it would have been
        torch.load(folder / "last.pt", weights_only=False)
        assert owned.exists()


def test_no_module_can_unpickle_or_read_yaml_that_makes_objects() -> None:
    """torch.load only with weights_only, yaml by its safe loader, no pickle, no eval, no shell of subprocess."""
    forbidden = {"eval", "exec", "os.system", "os.popen", "yaml.load", "yaml.unsafe_load", "yaml.full_load"}
    wrong = []
    for path in sorted((ROOT / "hpc_adabatch").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
                if path.name == "parcel.py":
                    continue  # it reads what a worker of this process has written to it, and no file
                wrong += [
                    f"{path.name}: {name}" for name in names if name in ("pickle", "dill", "cloudpickle", "shelve")
                ]
            if isinstance(node, ast.Call):
                name, options = ast.unparse(node.func), {word.arg: ast.unparse(word.value) for word in node.keywords}
                safe = options.get("weights_only") == "True" or name != "torch.load"
                if (path.name, name, options.get("Loader")) == ("yaml_core.py", "yaml.load", "_Loader"):
                    continue  # a safe one: below
                if name in forbidden or not safe or options.get("shell", "False") != "False":
                    wrong.append(f"{path.name}: {ast.unparse(node)}")
    assert wrong == []
    assert issubclass(yaml_core._Loader, yaml.SafeLoader | getattr(yaml, "CSafeLoader", yaml.SafeLoader))


TAGS = [
    "!!python/object/apply:os.mkdir [{owned}]",
    "!!python/object/new:os.mkdir [{owned}]",
    "!!python/object:os.mkdir {{}}",
    "!!python/name:os.mkdir",
    "!!python/module:os",
    "!!python/tuple [1, 2]",
    "!own {owned}",
]


@pytest.mark.parametrize("tag", TAGS)
def test_tags_of_yaml_are_refused_and_not_carried_out(tag: str, tmp_path: Path) -> None:
    owned = tmp_path / "owned"
    text = tag.format(owned=owned)
    recipe, section = tmp_path / "recipe.yaml", tmp_path / "section.yaml"
    recipe.write_text(f"global_batch: 16\nseed: {text}\n", encoding="utf-8")
    section.write_text(f"gamma: {text}\n", encoding="utf-8")
    lines = [
        [str(recipe)],
        [QUICKSTART, f"--seed={text}"],
        [QUICKSTART, f"--config={recipe}"],
        [QUICKSTART, f"--config={text}"],
        [QUICKSTART, f"--learning_rate={section}"],
        [QUICKSTART, f"--learning_rate={text}"],
        [QUICKSTART, f"--policy.factor={text}"],
    ]
    for line in lines:
        with pytest.raises(InputError):
            parse_recipe("train", line)
    resolved = parse_recipe("train", [QUICKSTART])[2]
    with pytest.raises((InputError, ValueError)):  # of a checkpoint: run.py makes it one line
        restart.check_same(f"{resolved}\nx: {text}\n", resolved)
    assert not owned.exists()


ODD = [
    *("a b", " a", "a ", "a  b", "a\tb", "a\nb", "\n", "", '"', "'", "\"'", "''", "it's", '"a" b', "\\", "a\\", "\\n"),
    *("$HOME", "${HOME}", "$(mkdir owned)", "`mkdir owned`", "a;mkdir owned", "a&&mkdir owned", "a|mkdir owned"),
    *(
        "a & mkdir owned",
        "> owned",
        "< owned",
        "a\nmkdir owned\n",
        "*",
        "?",
        "[a-z]",
        "{a,b}",
        "~",
        "~root",
        "#a",
        "a #b",
    ),
    *("!!", "!a", "%s", "%j", "-n", "--out", "=", "ä", "\u202e", "a" * 300),
]


def arguments() -> tuple[str, ...]:
    return tuple(f"--name={odd}" for odd in ODD)


def test_odd_names_come_through_the_shell_of_a_dry_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(ODD) >= 40
    fake = fake_slurm(tmp_path, monkeypatch)
    first = replace(cells()[0], arguments=arguments())
    study, folder = planned(tmp_path, (first,), sbatch=tuple(f"--comment={odd}" for odd in ODD))
    lines = list(place_of(study, folder).lines(Order(cells=study.cells)))
    subprocess.run(["bash", "-ec", "\n".join(lines)], check=True, cwd=tmp_path)
    assert [job["arguments"] for job in fake.jobs()] == [sbatch_command(study, folder, study.cells[0], 1)[1:]]
    assert not list(tmp_path.rglob("owned"))


def test_odd_names_come_through_the_shell_of_a_study_on_this_machine(tmp_path: Path) -> None:
    (tmp_path / "launch").mkdir()
    program = tmp_path / "launch" / "run"
    program.write_text(f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n", encoding="utf-8")
    program.chmod(0o755)
    first = replace(cells()[0], arguments=arguments())
    study, folder = planned(tmp_path, (first,), where="local", launcher="mpirun", template="", sbatch=())
    lines = list(place_of(study, folder).lines(Order(cells=study.cells)))
    done = subprocess.run(["bash", "-ec", "\n".join(lines)], check=True, cwd=tmp_path, capture_output=True, text=True)
    words = command(study, folder, study.cells[0])
    assert json.loads(done.stdout) == words[words.index(str(program)) + 1 :]
    assert not list(tmp_path.rglob("owned"))


def test_odd_names_come_through_a_batch_job_to_every_rank(tmp_path: Path) -> None:
    """launch/job and launch/run, with a srun that shows what it was given."""
    srun = tmp_path / "srun"
    srun.write_text(
        f"#!{sys.executable}\nimport json, sys\n"
        "if sys.argv[1:] == ['--mpi=list']:\n    print('pmix')\nelse:\n"
        "    open('given.json', 'w').write(json.dumps(sys.argv[1:]))\n",
        encoding="utf-8",
    )
    srun.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "ADABATCH_"))}
    environment |= {"PATH": f"{tmp_path}:{os.environ['PATH']}", "ADABATCH_LAUNCHER": "srun"}
    line = [ROOT / "launch" / "job", "noise", QUICKSTART, *arguments()]
    subprocess.run(line, check=True, cwd=tmp_path, env=environment, capture_output=True)
    given = json.loads((tmp_path / "given.json").read_text(encoding="utf-8"))
    assert given[-len(ODD) - 3 :] == ["adabatch", "noise", QUICKSTART, *arguments()]
    assert not list(tmp_path.rglob("owned"))


def test_a_task_that_a_checkpoint_names_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """module:Class is imported by the words of a flag or a recipe given now, never by those in a run's folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.py").write_text("raise SystemExit('carried out')", encoding="utf-8")
    _, _, now = parse_recipe("train", [QUICKSTART])
    for name, saved in (("task.name", "task: {name: 'evil:Task'}"), ("model", "model: 'evil:network'")):
        before = yaml.safe_load(now) | yaml.safe_load(saved)
        with pytest.raises(InputError, match=rf"^{name}: given .*; allowed: evil:\w+, as in the run that is resumed"):
            restart.check_same(yaml.safe_dump(before), now)
    assert "evil" not in sys.modules
    with pytest.raises(SystemExit, match="carried out"):  # it would have been
        parse_recipe("train", [QUICKSTART, "--task=evil:Task"])
