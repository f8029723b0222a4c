"""Files and words that a user may give, damaged: each is answered by one line and exit code 2, or is of use.

    python tests/fuzz.py [--cases 5000] [--seed 0] [--only WORD]

A case is drawn by its number alone, so it can be done again by itself. Everything happens in this process: the command
is called as a function, and a run is built but not trained.

    Target    a file (or the words of a command) that is good, and who reads it
    damage    another content of the file, or something else in its place
    answer    used, told, or what is wrong with the answer
"""

from __future__ import annotations

import argparse
import atexit
import copy
import io
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import yaml
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent / "study" / "fakes"))

from planned import cells, finish, planned

from hpc_adabatch.cli import main
from hpc_adabatch.cluster import SingleProcess
from hpc_adabatch.command_line import CHOICES, defaults, parse_recipe
from hpc_adabatch.errors import InputError
from hpc_adabatch.recipe import Recipe
from hpc_adabatch.run import owner
from hpc_adabatch.run.recipe_run import RecipeRun
from hpc_adabatch.run.result import write_result
from hpc_adabatch.study import submissions
from hpc_adabatch.study.flags import NodesFlags
from hpc_adabatch.study.folder import StudyFolder
from hpc_adabatch.tasks import ImageFolder
from hpc_adabatch.training import checkpoint
from hpc_adabatch.training.journal import read

TESTS = Path(__file__).resolve().parent
QUICKSTART = str(TESTS.parent / "recipes" / "quickstart.yaml")
RIDGE = ["--task=ridge", "--model=linear", "--task.samples=96", "--task.features=3", "--optimizer.momentum=0.9"]
JOURNALS = sorted((TESTS / "journals").glob("*.jsonl"))
PATIENCE_S = 120.0  # for one case, on a machine with other work; most take a few milliseconds

OTHERS: list[Any] = [
    *(None, True, False, -1, 0, 1, 7, 1.5, 10**30, -(10**400), 1e308, 5e-324, float("nan"), float("inf"), -0.0),
    *("", "x[/red]", "[bold]x", "\x1b[31mred", "a\nb", "null", "nan", "1e999", "../..", "-x", "ä\u202eb", "9" * 5000),
    *([], [[]], [1, "a"], [None], {}, {"a": 1}, {"": {}}, [[[[[[1]]]]]]),
]
YAML_VALUES = [
    *("!!python/object/apply:os.mkdir [owned]", "!!python/name:os.system", "!!python/object/new:list [[1]]"),
    *("!!set {a, b}", "!!binary aGFsbG8=", "!!omap [a: 1]", "!own x", "!!int x", "!!float [1]", "2024-01-01"),
    *("2024-13-45", ".nan", ".inf", "-.inf", "0x10", "1_000", "1:30", "~", "[", "{a: }", "*none", "&a [*a]", "<<: 1"),
    *("? [a, b]\n  : 1", "|\n  a\n  b", "'", '"\\x"', "@a", "%a", "yes", "08", "\t1"),
]


# --- damage


def another(path: Path, draw: random.Random) -> bytes:
    """Returns another content for a file: a value, a line or bytes of it are others."""
    ways = [other_bytes, other_bytes, other_lines]
    own: dict[str, list[Callable[[bytes, random.Random], bytes]]] = {".yaml": [other_yaml] * 6}
    own |= {suffix: [] for suffix in (".pt", ".sbatch", ".txt", *IMAGES)}
    ways += own.get(path.suffix, [other_value] * 6 + [twice])
    return draw.choice(ways)(path.read_bytes(), draw)


def other_value(text: bytes, draw: random.Random) -> bytes:
    """Returns JSON with one value replaced, removed or added; of JSON lines, in one line."""
    lines = text.decode().splitlines() if text.count(b"\n{") else [text.decode()]
    at = draw.randrange(len(lines))
    tree = {"": json.loads(lines[at])}
    change(tree, draw, OTHERS)
    lines[at] = json.dumps(tree.get("", draw.choice(OTHERS)))
    return "\n".join([*lines, ""]).encode()


def other_yaml(text: bytes, draw: random.Random) -> bytes:
    """Returns YAML with one value replaced, removed or added."""
    tree = {"": yaml.safe_load(text)}
    change(tree, draw, [*OTHERS, *["\0yaml"] * len(OTHERS)])
    written = yaml.safe_dump(tree.get(""), sort_keys=False)
    return written.replace('"\\0yaml"', draw.choice(YAML_VALUES)).encode()


def change(tree: Any, draw: random.Random, others: list[Any]) -> None:
    """Replaces, removes, moves or adds one value, somewhere in nested dictionaries and lists."""
    node, key = draw.choice(places := list(values(tree)))
    way = draw.random()
    if way < 0.2:
        del node[key]
    elif way < 0.3 and isinstance(node, dict):
        node[draw.choice(["", "x[/red]", "name", "a b", "kind", "\u2028"])] = draw.choice(others)
    elif way < 0.4:
        other, place = draw.choice(places)
        node[key] = copy.deepcopy(other[place])
    elif way < 0.5:
        node[key] = [node[key]]
    elif way < 0.55:
        node[key] = -node[key] if isinstance(node[key], int | float) else str(node[key])
    else:
        node[key] = draw.choice(others)


def values(node: Any) -> Iterator[tuple[Any, Any]]:
    """Yields the place of each value in nested dictionaries and lists: what holds it, and its key."""
    for key in list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
        yield node, key
        yield from values(node[key])


def twice(text: bytes, draw: random.Random) -> bytes:
    """Returns JSON one of whose keys comes twice."""
    found = draw.choice(list(re.finditer(rb'"(\w+)": ', text)) or [None])
    if found is None:
        return text * 2
    again = found[0] + json.dumps(draw.choice(OTHERS)).encode() + b", "
    return text[: found.start()] + again + text[found.start() :]


def other_lines(text: bytes, draw: random.Random) -> bytes:
    """Returns the lines with one twice, removed, moved, or the last without its end."""
    lines = text.splitlines(keepends=True)
    at, to = draw.randrange(len(lines)), draw.randrange(len(lines))
    way = draw.randrange(5)
    if way == 0:
        lines.insert(to, lines[at])
    elif way == 1:
        lines.insert(to, lines.pop(at))
    elif way == 2:
        del lines[at : at + draw.randrange(1, 9)]
    elif way == 3:
        lines[at] = draw.choice([b"\n", b"null\n", b"[]\n", b"{}\n", b"[" * 100_000 + b"\n", b"1" * 9000 + b"\n"])
    else:
        lines[-1] = lines[-1].rstrip(b"\n")
    return b"".join(lines)


def other_bytes(text: bytes, draw: random.Random) -> bytes:
    """Returns the bytes cut short, with some changed, zero, added or random."""
    at = draw.randrange(len(text))
    some = draw.randbytes(draw.choice([1, 3, 64]))
    return (
        text[:at],
        text[:at] + bytes([draw.randrange(256)]) + text[at + 1 :],
        text[:at] + bytes([text[at] ^ (1 << draw.randrange(8))]) + text[at + 1 :],
        text[:at] + bytes(min(64, len(text) - at)) + text[at + 64 :],
        text[:at] + some + text[at:],
        b"\xef\xbb\xbf" + text,
        text.decode(errors="replace").encode("utf-16"),
        draw.randbytes(draw.choice([1, 100, 5000])),
        b"",
        text[:at] + b"\xff\xfe" + text[at:],
        text[at:],
        text.replace(b"\n", b"\r\n"),
    )[draw.randrange(12)]


def other_place(path: Path, draw: random.Random) -> None:
    """Puts something else in the place of a file: nothing, a folder, a link to nowhere, to itself, or to another."""
    path.unlink()
    way = draw.randrange(6)
    if way == 1:
        path.mkdir()
    elif way == 2:
        path.mkdir()
        (path / "a").write_text("1")
    elif way == 3:
        path.symlink_to("nowhere")
    elif way == 4:
        path.symlink_to(path.name)
    elif way == 5:
        path.symlink_to(os.devnull)


def damage(path: Path, draw: random.Random) -> None:
    """Damages a file that is good."""
    if draw.random() < 0.06:
        other_place(path, draw)
    else:
        path.write_bytes(another(path, draw))


# --- answers


class Late(BaseException):
    """No answer in time; nothing takes this for a fault of a file."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raises an error in a block that takes longer."""

    def late(*_: object) -> None:
        raise Late(f"no answer within {seconds:g} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def terminal(errors: str) -> io.TextIOWrapper:
    """Returns an output such as a process has, which is kept."""
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors=errors, write_through=True)


def printed(stream: io.TextIOWrapper) -> str:
    assert isinstance(stream.buffer, io.BytesIO)
    return stream.buffer.getvalue().decode()


def answer(use: Callable[[], object]) -> str:
    """Returns ``used``, ``told``, or what is wrong with the answer.

    A line is one that names the field, what was given and what is allowed, and has no characters but those that
    are printed; exit codes of ``study status``, 3 and 4, tell of the study.
    """
    out, said = terminal("strict"), terminal("backslashreplace")
    code: object = 0
    try:
        with within(PATIENCE_S), redirect_stdout(out), redirect_stderr(said):
            use()
    except SystemExit as error:
        code = error.code
    except InputError as error:
        code = 2
        said.write(f"adabatch: error: {error}\n")
    except (Exception, Late):
        return traceback.format_exc()
    text = printed(said)
    if code in (0, 3, 4, 75):
        return "used" if "Traceback" not in text else text
    if code != 2:
        return f"exit code {code}: {text}"
    line = re.fullmatch(r"adabatch: error: [^\n]*: given [^\n]*; allowed: [^\n]+\n", text)
    return "told" if line and text[:-1].isprintable() else f"not one line: {text!r}"


def adabatch(*words: object) -> Callable[[], None]:
    return lambda: main([str(word) for word in words])


# --- targets


Use = Callable[[], object]


@dataclass(frozen=True)
class Target:
    """Something that is good, and who reads it."""

    path: Path
    """The file."""
    use: Use
    """What reads it."""


def a_study(folder: Path) -> StudyFolder:
    _, made = planned(folder, where="local", launcher="mpirun", template="", sbatch=())
    first, second, third, _ = made.load().cells
    submissions.write(made, first.name, 1, command=["a", "b"])
    submissions.write(made, first.name, 1, exit_code=0, stopped="")
    submissions.write(made, second.name, 1, command=["a"])
    submissions.write(made, second.name, 1, error="no such file", refused=True)
    submissions.write(made, third.name, 1, job_id="81")
    submissions.write(made, third.name, 1, seen="FAILED", reason="exit 1", submitted_s=1.0, began_s=2.0, ended_s=9.5)
    finish(made, first.name)
    return made


def of_study(name: str) -> Callable[[Path, random.Random], Target]:
    def make(folder: Path, draw: random.Random) -> Target:
        made = a_study(folder)
        paths = {
            "study.json": made.study,
            "submissions.jsonl": made.submissions,
            "result.json": made.cell(made.load().cells[0].name) / "result.json",
        }
        verb = draw.choice([["status"], ["status", "--json"], ["collect"], ["submit", "--dry_run"]])
        return Target(paths[name], adabatch("study", verb[0], "scaling", *verb[1:], "--folder", made.path.parent))

    return make


def a_trained_cell(name: str) -> Callable[[Path, random.Random], Target]:
    """A study one of whose cells trained: what its report shows of the run's files."""

    def make(folder: Path, draw: random.Random) -> Target:
        _, made = planned(folder, cells(mode="adaptive"), where="local", launcher="mpirun", template="", sbatch=())
        cell = made.make_cell(made.load().cells[0].name)
        shutil.copy(draw.choice(JOURNALS), cell / "journal.jsonl")
        write_result(cell / "result.json", read(cell / "journal.jsonl"), wall_s=3.0, samples_per_s=100.0)
        return Target(cell / name, adabatch("study", "report", "scaling", "--folder", made.path.parent))

    return make


def probe_file(folder: Path) -> Path:
    path = folder / "probe.json"
    steps = [{"micro_batch": size, "forward_backward": {"median_s": 1e-4 * size}} for size in (16, 64, 256)]
    messages = {"fit": {"latency_s": 1e-4, "bandwidth_bytes_per_s": 1e9}}
    content = {"nodes": 2, "device_name": "a GPU", "steps": {"steps": steps}, "messages": messages}
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def file_plan(probe: Path) -> tuple[Recipe, NodesFlags]:
    """Returns a recipe and flags whose plan of nodes reads a probe's file."""
    recipe, _, _ = parse_recipe("plan", [QUICKSTART])
    return recipe, NodesFlags(nodes="1,2,4", probe=str(probe), network="measured", noise_scale=100.0)


def a_probe(folder: Path, draw: random.Random) -> Target:
    path = probe_file(folder)
    network = draw.choice(["measured", "v100"])
    flags = ["--probe", path, "--network", network, "--noise_scale", "100"]
    return Target(path, adabatch("plan", QUICKSTART, "--nodes", "1,2,4", *flags))


def from_run(folder: Path, draw: random.Random) -> Target:
    rule = draw.choice(["noise_scale", "big_batch", "cabs", "norm_test"])
    path = Path(shutil.copy(TESTS / "journals" / f"{rule}.jsonl", folder / "journal.jsonl"))
    flags = [
        ["--nodes", "1,2,4", "--probe", probe_file(folder)],
        ["--policy=noise_scale", "--global_batch=200", "--max_global_batch=600"],
        [
            *("--policy=fixed", "--global_batch=64", "--epochs=1", "--learning_rate.scaling=adascale"),
            "--learning_rate.reference_batch=16",
        ],
    ]
    return Target(path, adabatch("plan", QUICKSTART, *draw.choice(flags), "--from_run", folder))


def a_replay(folder: Path, draw: random.Random) -> Target:
    path = Path(shutil.copy(draw.choice(JOURNALS), folder / "journal.jsonl"))
    batch = read(path)[0]["global_batch"]
    words = ["--policy=replay", f"--policy.journal={path}", f"--global_batch={batch}", "--max_global_batch=1437"]
    return Target(path, adabatch("plan", QUICKSTART, "--epochs=3", *words))


def a_watched_run(folder: Path, draw: random.Random) -> Target:
    path = Path(shutil.copy(draw.choice(JOURNALS), folder / "journal.jsonl"))
    return Target(path, adabatch("watch", folder))


def an_exported_run(folder: Path, draw: random.Random) -> Target:
    path = Path(shutil.copy(draw.choice(JOURNALS), folder / "journal.jsonl"))
    return Target(path, adabatch("export", folder, "--to", folder / draw.choice(["run.csv", "run.parquet"])))


def a_report(name: str, *flags: str) -> Callable[[Path, random.Random], Target]:
    def make(folder: Path, draw: random.Random) -> Target:
        path = Path(shutil.copy(draw.choice(JOURNALS), folder / "journal.jsonl"))
        write_result(folder / "result.json", read(path), wall_s=3.0, samples_per_s=100.0)
        return Target(folder / name, adabatch("report", folder, *flags))

    return make


RULES = """
adabatch: {factor: 2, interval: 6, lr_factor: 0.75, warmup_epochs: 0}
schedule: {text: "0:16 2ep:64 4.5ep:128"}
smith: {milestones: [2, 4], decay: 0.2}
seesaw: {milestones: [2, 4], decay: 0.5}
plateau: {factor: 2, patience: 2, threshold: 0.1}
noise_scale: {window: 2000, dwell: 2, growth: 2, tolerance: 0.1, fraction: 1.0}
big_batch: {theta: 1.0}
fixed: {}
"""
RATES = """
- {}
- {scaling: sqrt, warmup: legw, warmup_epochs: 1, reference_batch: 8, decay: poly, power: 2, final: 0.01}
- {warmup: auto, decay: cosine, decay_start: 15, epochs: 20}
- {scaling: linear, reference_batch: 16, warmup: fixed, warmup_epochs: 2, warmup_start: 0.1, decay: cosine, epochs: 5}
- {decay: steps, milestones: [2, 4], gamma: 0.1}
- {preset: goyal, reference_batch: 16}
- {scaling: adascale, reference_batch: 8}
"""


def a_recipe(folder: Path, draw: random.Random) -> Target:
    content = yaml.safe_load(Path(QUICKSTART).read_text(encoding="utf-8"))
    rules = yaml.safe_load(RULES)
    rule = draw.choice(list(rules))
    content |= {
        "epochs": 5,
        "policy": {"name": rule, **rules[rule]},
        "learning_rate": draw.choice(yaml.safe_load(RATES)),
    }
    if draw.random() < 0.3:
        content["optimizer"] = {"name": draw.choice(["lars", "lamb", "adam"]), "lr": 0.1, "weight_decay": 1e-4}
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return Target(path, lambda: of_recipe([str(path)]))


def of_recipe(words: list[str]) -> None:
    """Reads a recipe; what it resolves to is itself the recipe of the same run; then its plan."""
    _, _, resolved = parse_recipe("train", words)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        path.write_text(resolved, encoding="utf-8")
        try:
            again = parse_recipe("train", [str(path)])[2]
        except InputError as error:
            raise AssertionError(f"what it resolves to is refused: {error}") from error
    assert again == resolved, f"what it resolves to is another recipe:\n{resolved}\n{again}"
    main(["plan", *words])


def a_section(folder: Path, draw: random.Random) -> Target:
    """The files of --learning_rate and --config."""
    path = folder / "section.yaml"
    flag = draw.choice(["learning_rate", "config"])
    content = draw.choice(yaml.safe_load(RATES)[1:])
    path.write_text(yaml.safe_dump(content if flag == "learning_rate" else {"epochs": 3, "learning_rate": content}))
    return Target(path, adabatch("plan", QUICKSTART, f"--{flag}", path))


WORDS = [
    *("", "0", "1", "-1", "-0", "1.5", "1e3", "1e999", "nan", "inf", "9" * 40, "9" * 5000, "0x10", "1_000", "true"),
    *("null", "none", "x[/red]", "[bold]", "\x1b[31mred", "a\nb", "[1,2]", "[[1]]", "{}", "{a: 1}", "[", "{", "'", '"'),
    *("!!python/object/apply:os.mkdir [owned]", "!!set {a}", "&a [*a]", "- 1", "a: 1", "ä", "\udcff", "\u202e", "\0x"),
    *("/dev/null", "/", "..", "~", "%s", "{0}", "$HOME", "`id`", "-x", "--x", "=", "@x", "2024-01-01", "0:16 2ep:64"),
]


def flags_of_a_recipe(draw: random.Random) -> list[str]:
    chosen = {field: draw.choice([default, *classes]) for field, (classes, default) in CHOICES.items()}
    if chosen["task"] in ("imagenet", "cifar10", "text", "image_folder"):
        chosen["task"] = "digits"
    words = [f"--{field}={name}" for field, name in chosen.items()]
    fields = [name for name in defaults(chosen) if not name.endswith(".name")]
    for _ in range(draw.randrange(1, 4)):
        name = draw.choice(fields)
        value = draw.choice(WORDS)
        words += draw.choice(
            [[f"--{name}={value}"], [f"--{name}", value], [f"--{name}"], [value]][: draw.choice([1, 4])]
        )
    return words


def flags(_: Path, draw: random.Random) -> Use:
    words = flags_of_a_recipe(draw)
    return lambda: of_recipe([QUICKSTART, *words])


SCHEDULES = ["0:16 2ep:64 4.5ep:128", "0:16 3000sa:64", "0:16"]


def a_schedule(_: Path, draw: random.Random) -> Use:
    text = draw.choice(SCHEDULES)
    for _ in range(draw.randrange(1, 3)):
        at = draw.randrange(len(text) + 1)
        some = draw.choice(["", *"0123456789:.-+ eEpsax\n\tä٣²\u00a0", "ep", "sa", "9" * 30, "9" * 400, "0:0", "1e5"])
        text = text[:at] + some + text[at + draw.randrange(2) :]
    return lambda: of_recipe([QUICKSTART, "--global_batch=null", "--policy=schedule", f"--policy.text={text}"])


def own_flags(folder: Path, draw: random.Random) -> Use:
    """The flags of the commands themselves."""
    made = a_study(folder)
    (folder / "out").mkdir()
    lines: list[list[str]] = [
        ["plan", QUICKSTART, "--nodes=1,2,4", f"--probe={probe_file(folder)}", "--noise_scale=100", "--ranks=2"],
        ["plan", QUICKSTART, "--ranks=2"],
        ["report", str(folder / "out")],
        ["study", "status", "scaling", f"--folder={made.path.parent}", "--stall=600", "--json"],
        [
            "study",
            "submit",
            "scaling",
            f"--folder={made.path.parent}",
            "--dry_run",
            "--cells=nodes<=4",
            "--retry=failed",
        ],
        ["study", "collect", "scaling", f"--folder={made.path.parent}"],
        ["study", "predict", "scaling", f"--folder={made.path.parent}", "--nodes=4"],
        ["study", "cancel", "scaling", f"--folder={made.path.parent}", "--cells=mode=strong"],
        [
            *("study", "plan", "new", "--nodes=1,2", "--mode=strong,weak", "--repeats=2", "--steps=5", "--warmup=1"),
            *(f"--template={folder / 'own.sbatch'}", "--sbatch=--time=5 --account=abc", f"--folder={folder}"),
            *("--vary=optimizer.lr=0.1,0.2", "--zip=seed=1,2", "--", QUICKSTART, "--epochs=3"),
        ],
    ]
    line = list(draw.choice(lines))
    for _ in range(draw.randrange(1, 3)):
        at = draw.randrange(len(line))
        name, sign, value = line[at].partition("=")
        cut = draw.randrange(len(value) + 1)
        ways = [
            [],
            [draw.choice(WORDS)],
            [line[at], draw.choice(WORDS)],
            [f"{name}={draw.choice(WORDS)}"],
            [f"{name}={draw.choice(WORDS)}"],
            [f"{name}={value[:cut]}{draw.choice(WORDS)}{value[cut:]}"],
            [line[at], line[at]],
            [name, value] if sign else [name + draw.choice(WORDS)],
        ]
        line[at : at + 1] = draw.choice(ways)
        line = line or [""]
    # neither verbs that start something, nor a look that never ends
    if line[0] not in ("plan", "report", "study") or ("submit" in line and "--dry_run" not in line):
        line = ["plan", *line]
    line = [word for word in line if not word.startswith("--watch") and "measure" not in word]
    return adabatch(*line)


def a_template(folder: Path, draw: random.Random) -> Target:
    path = folder / "own.sbatch"
    shutil.copy(draw.choice(sorted((TESTS.parent / "slurm").glob("*.sbatch"))), path)
    words = ["--nodes", "1,2", "--template", path, "--repeats", "1", "--folder", folder, "--", QUICKSTART]
    return Target(path, adabatch("study", "plan", "new", *words))


def an_older_script(folder: Path, draw: random.Random) -> Target:
    """A batch script that ``adabatch init`` reads: of ours, and so also one that it has written."""
    path = folder / "own.sbatch"
    shutil.copy(draw.choice([*sorted(TESTS.parent.glob("slurm/*.sbatch")), TESTS.parent / "pbs" / "gpu.pbs"]), path)
    words = ["--task=digits", *draw.choice([[], ["--gpu=v100"], ["--queue=pbs", "--gpu=v100"]]), f"--from={path}"]
    return Target(path, adabatch("init", folder / "made", *words))


IMAGES = {".png": ["L", "LA", "P", "RGBA", "I;16"], ".jpg": ["L", "RGB", "CMYK"], ".tif": ["RGB", "I;16", "F"]}
IMAGES |= {".bmp": ["RGB", "P"], ".webp": ["RGB"], ".ppm": ["L", "I"]}


def images(folder: Path, draw: random.Random) -> Path:
    """Returns one of the images of a folder, of any kind."""
    suffix = draw.choice(list(IMAGES))
    for part in ("train", "val"):
        for name in ("a", "b"):
            (folder / part / name).mkdir(parents=True)
            for number in range(2):
                image = Image.frombytes("L", (8, 8), draw.randbytes(64)).convert(draw.choice(IMAGES[suffix]))
                image.save(folder / part / name / f"{number}{suffix}")
    return folder / "train" / draw.choice("ab") / f"0{suffix}"


def an_image(folder: Path, draw: random.Random) -> Target:
    return Target(images(folder, draw), lambda: ImageFolder(root=str(folder), image_size=8).load())


def a_leave_out_list(folder: Path, draw: random.Random) -> Target:
    name, path = images(folder, draw).relative_to(folder), folder / "list.txt"
    path.write_text(f"{name}\nval/a/1{name.suffix}\n{folder}/val/b/0{name.suffix}\n", encoding="utf-8")
    return Target(path, lambda: ImageFolder(root=str(folder), image_size=8, leave_out=str(path)).load())


_saved: dict[str, Path] = {}  # what takes long to make, made once


def trained() -> Path:
    """The folder of a run that ended, with its checkpoint."""
    if "run" not in _saved:
        folder = Path(tempfile.mkdtemp(prefix="fuzz-")) / "run"
        atexit.register(shutil.rmtree, folder.parent)
        words = [
            QUICKSTART,
            *RIDGE,
            "--policy=noise_scale",
            "--epochs=2",
            "--max_micro_batch=16",
            "--policy.window=100",
        ]
        recipe, _, resolved = parse_recipe("train", words)
        with redirect_stdout(io.StringIO()):
            RecipeRun(recipe, resolved, folder, resume=False, cluster=SingleProcess()).train()
        _saved["run"] = folder
    return _saved["run"]


def resumed(folder: Path) -> RecipeRun:
    """Builds the run of ``trained``, to go on; no further."""
    words = [QUICKSTART, *RIDGE, "--policy=noise_scale", "--epochs=3", "--max_micro_batch=16", "--policy.window=100"]
    recipe, _, resolved = parse_recipe("train", words)
    run = RecipeRun.__new__(RecipeRun)
    try:
        with mock.patch.multiple(owner, GONE_S=0.05, LOOK_S=0.01):  # not two minutes for one that cannot be read
            run.__init__(recipe, resolved, folder, resume=True, cluster=SingleProcess())  # type: ignore[misc]
    finally:
        run.folder.owner.release()
    return run


def resumed_rightly(folder: Path) -> None:
    """Resumes; the weights are bit by bit those of one of the checkpoints that were saved."""
    own = resumed(folder).training.model.state_dict()
    files = sorted((trained() / "checkpoint").glob("*.pt"))
    kept = [torch.load(path, weights_only=True)["training"]["model"] for path in files]
    assert any(all(torch.equal(own[name], state[name]) for name in own) for state in kept), "other weights"


def file_of_a_run(name: str) -> Callable[[Path, random.Random], Target]:
    def make(folder: Path, _: random.Random) -> Target:
        shutil.copytree(trained(), folder / "run")
        path = folder / "run" / name
        if name == "owner.json":
            path.write_text(
                json.dumps({"host": "n1", "space": "a b", "pid": 7, "started": "1", "job": "81", "restarts": 0})
            )
        use = resumed_rightly if name.startswith("checkpoint") else resumed
        return Target(path, lambda: use(folder / "run"))

    return make


def a_state(folder: Path, draw: random.Random) -> Use:
    """A whole checkpoint with another value in it: of another program, or of another release."""
    shutil.copytree(trained(), folder / "run")
    where = folder / "run" / "checkpoint"
    tree = {"": torch.load(where / "last.pt", weights_only=True)}
    node, key = draw.choice(list(values(tree)))
    way = draw.random()
    if way < 0.3 and isinstance(node, dict):
        del node[key]
    elif way < 0.4 and isinstance(node[key], torch.Tensor):
        node[key] = draw.choice([node[key][:1], node[key].double(), node[key].bool(), torch.tensor(1.0)])
    else:
        node[key] = draw.choice([*OTHERS, torch.zeros(2), (1, 2)])
    checkpoint.save(where, tree.get("", []))  # type: ignore[arg-type]
    (where / "previous.pt").unlink(missing_ok=True)
    return lambda: resumed(folder / "run")


FILES: dict[str, Callable[[Path, random.Random], Target]] = {
    "recipe": a_recipe,
    "section of a recipe": a_section,
    "study.json": of_study("study.json"),
    "submissions.jsonl": of_study("submissions.jsonl"),
    "result.json of a cell": of_study("result.json"),
    "template": a_template,
    "script of init": an_older_script,
    "probe.json": a_probe,
    "journal of --from_run": from_run,
    "journal of replay": a_replay,
    "journal of report": a_report("journal.jsonl"),
    "result.json of report": a_report("result.json"),
    "journal of a page": a_report("journal.jsonl", "--html"),
    "result.json of a page": a_report("result.json", "--html"),
    "journal that is watched": a_watched_run,
    "journal that is exported": an_exported_run,
    "journal of a study's report": a_trained_cell("journal.jsonl"),
    "checkpoint": file_of_a_run("checkpoint/last.pt"),
    "journal of a resumed run": file_of_a_run("journal.jsonl"),
    "owner.json": file_of_a_run("owner.json"),
    "image": an_image,
    "list of images": a_leave_out_list,
}
INPUTS: dict[str, Callable[[Path, random.Random], Use]] = {
    "fields": flags,
    "schedule": a_schedule,
    "flags": own_flags,
    "state": a_state,
}
NAMES = [*FILES, *INPUTS]


def case(name: str, number: int, folder: Path) -> tuple[str, bytes]:
    """Does a case in an empty folder. Returns its answer, and the content of the damaged file."""
    draw = random.Random(f"{name} {number}")
    if name in INPUTS:
        return answer(INPUTS[name](folder, draw)), b""
    target = FILES[name](folder, draw)
    damage(target.path, draw)
    content = target.path.read_bytes() if target.path.is_file() else b"(no file)"
    return answer(target.use), content


def do(
    names: list[str], cases: int, *, seed: int = 0, say: Callable[[str], object] = print
) -> Counter[tuple[str, str]]:
    """Does cases of each target in turn. Returns how many answers there were of each kind."""
    found: Counter[tuple[str, str]] = Counter()
    before = Path.cwd()
    for number in range(cases):
        name = names[number % len(names)]
        with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
            try:
                os.chdir(folder)
                given, content = case(name, seed + number, Path(folder))
                owned = Path(folder, "owned").exists()
            finally:
                os.chdir(before)
        given = "a tag was carried out" if owned else given
        kind = given if given in ("used", "told") else "wrong"
        found[name, kind] += 1
        if kind == "wrong":
            say(f"--- {name} {seed + number}\n{content[:600]!r}\n{given}")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="")
    asked = parser.parse_args()
    chosen = [name for name in NAMES if asked.only in name]
    counts = do(chosen, asked.cases, seed=asked.seed)
    for name in chosen:
        print(f"{name:30}", *(f"{kind} {counts[name, kind]:5}" for kind in ("told", "used", "wrong")))
    sys.exit(any(kind == "wrong" for _, kind in counts))
