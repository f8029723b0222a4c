"""What ``adabatch init`` does: reads flags and perhaps a batch script, asks, writes two files, says what to type."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from ..errors import InputError, reading, require
from ..files import write_new
from ..verb_words import Word, read
from . import recipe, resources, template
from .flags import InitFlags
from .questions import ask, ask_folder, in_terminal
from .resources import KINDS, Resources

EXAMPLES = """examples:
  adabatch init mine --task digits --gpu v100 --nodes 2 --account PROJECT --partition GPU
  adabatch init mine --recipe imagenet-resnet50-adabatch --data /scratch/imagenet --gpu a100 --modules 'gcc cuda nccl'
  adabatch init mine --from run.slurm --script 'train.py --lr 0.1'
  adabatch init                                                        asks, in a terminal"""
FOLDER = Word("FOLDER", "The folder to write into; what lies there stays as it is.", needed=False)
FROM = {
    "from": "A batch script of Slurm or PBS whose nodes, GPUs, time, account, partition and modules are taken over."
}


def main(arguments: Sequence[str]) -> int:
    """Writes a recipe and a batch script. Returns 0.

    Args:
        arguments: The words after ``init``.

    Raises:
        InputError: A flag, the batch script or the folder cannot be used; nothing is written.
    """
    name, given = read("init", arguments, InitFlags, FOLDER, texts=FROM, examples=EXAMPLES)
    source = given.pop("from")
    flags = InitFlags(**given)
    flags.check()
    known = _known(source)
    complete = name and (flags.task or flags.recipe or flags.script) and (flags.gpu or known.gpu)
    if not complete and in_terminal():
        name = name or ask_folder()
        flags = ask(flags, known)
        flags.check()
    require(
        bool(name) and name.isprintable(),
        "FOLDER",
        name or "nothing",
        "the folder to write into",
        "adabatch init my-run --task digits --gpu v100",
    )
    files, commands = made(flags, known, Path(name))
    write(Path(name), files)
    for line in told(Path(name), files, commands, known):
        print(line)
    return 0


def _known(source: str) -> Resources:
    """Returns what a batch script asks for; nothing where none is given."""
    if not source:
        return Resources()
    with reading("from", source, "a batch script of Slurm or PBS that can be read", "--from run.slurm"):
        text = Path(source).read_text(encoding="utf-8")
    return resources.read(text)


def made(flags: InitFlags, known: Resources, folder: Path) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Returns the texts of the files by name, and the commands to type, each with what it is for.

    Args:
        flags: The flags, with the answers.
        known: The resources of a batch script that was given.
        folder: The folder of the files.

    Raises:
        InputError: Something is missing, or does not fit the rest.
    """
    what = flags.task or flags.recipe or flags.script
    require(bool(what), "task", "nothing", "a task, a recipe or a script", "--task digits")
    wanted = _wanted(flags).over(known).over(Resources(queue="slurm"))
    require(bool(wanted.gpu), "gpu", "nothing", ", ".join(KINDS), "--gpu v100")
    script = template.fill(wanted)
    batch, ranks = template.FILES[wanted.queue], template.ranks_of(script)
    if flags.script:
        require(not flags.data, "data", "with a script", "a task or a recipe that reads it", "--task image_folder")
        words = _script_from(folder, flags.script)
        first = (
            (f"sbatch --test-only {batch}", "whether Slurm takes it")
            if wanted.queue == "slurm"
            else (words, "alone, here")
        )
        return {batch: script}, [first, *_submitting(wanted.queue, batch, words)]
    fits = not flags.data or recipe.has_data(flags.task, flags.recipe)
    require(fits, "data", f"with {what}", "none: write the fields of the task into the recipe")
    place, bfloat16 = _data_from(folder, flags.data), KINDS[wanted.gpu][1] == "bfloat16"
    text = recipe.recipe_for(flags.task, flags.recipe, place, bfloat16=bfloat16)
    first = (f"adabatch plan {recipe.FILE} --ranks {ranks}", "batches and rates to come, on this machine")
    return {recipe.FILE: text, batch: script}, [first, *_submitting(wanted.queue, batch, recipe.FILE)]


def _wanted(flags: InitFlags) -> Resources:
    """Returns what the flags ask for; they have the names of the fields, but for the modules."""
    loaded = (f"module load {' '.join(flags.modules.split())}",) if flags.modules.split() else ()
    names = {each.name for each in fields(flags)} & {each.name for each in fields(Resources)}
    return Resources(environment=loaded, **{name: getattr(flags, name) for name in names})


def _submitting(queue: str, batch: str, words: str) -> list[tuple[str, str]]:
    """Returns the command that looks and the command that trains."""
    looks, trains = (f"sbatch {batch} {each}" if queue == "slurm" else _qsub(batch, each) for each in ("doctor", words))
    return [
        (looks, "what the ranks find: binding, network, files"),
        (trains, "trains; stops with a checkpoint before its time is up, and goes on"),
    ]


def _qsub(batch: str, words: str) -> str:
    """Returns the command for PBS, which takes words by a variable, and a comma within them for the next variable."""
    text = " ".join(f"'{word}'" if "," in word else shlex.quote(word) for word in shlex.split(words))
    held = f'"{text}"' if not re.search(r'["$`\\!]', text) else shlex.quote(text)
    return f"qsub -v ADABATCH_WORDS={held} {batch}"


def _script_from(folder: Path, script: str) -> str:
    """Returns the command of a script as it is typed in the folder."""
    try:
        words = shlex.split(script)
    except ValueError as error:
        raise InputError(
            "script", script, f"words whose quotes close ({error})", "--script 'train.py --lr 0.1'"
        ) from error
    program = [] if not words or not Path(words[0]).name.startswith("python") else [words.pop(0)]
    there = bool(words) and Path(words[0]).is_file()
    require(there, "script", script, "a file that is there, and its arguments", "--script 'train.py --lr 0.1'")
    return shlex.join([*(program or ["python"]), _from(folder, words[0]), *words[1:]])


def _data_from(folder: Path, data: str) -> str:
    return _from(folder, data) if data else ""


def _from(folder: Path, path: str) -> str:
    """Returns a path as it is written in the folder; an absolute one stays."""
    return path if Path(path).is_absolute() else os.path.relpath(path, folder)


def write(folder: Path, files: dict[str, str]) -> None:
    """Writes files into a folder: none, where one of them is there.

    Raises:
        InputError: One of them is there, or the folder cannot be written.
        StorageError: There is no room for them.
    """
    for name in files:
        given, allowed = f"{folder}, which has a {name}", f"a folder without {' and '.join(files)}"
        require(not os.path.lexists(folder / name), "FOLDER", given, allowed, "another folder")
    for name, text in files.items():
        write_new(folder / name, text, "FOLDER", "another folder")


def told(folder: Path, files: dict[str, str], commands: list[tuple[str, str]], known: Resources) -> list[str]:
    """Returns the lines that say what was written, and what to type."""
    about = {recipe.FILE: "the recipe: a field a line, each also a flag of adabatch train"}
    site = "the batch script: what a site changes stands between its two marks"
    lines = [f"wrote {folder / name}    {about.get(name, site)}" for name in files]
    if known.left:
        lines.append(f"not taken over: {' '.join(known.left)}")
    width = max(len(command) for command, _ in commands)
    where = "type:" if folder == Path() else f"type in {folder}:"
    return [*lines, where, *(f"    {command:{width}}    # {why}" for command, why in commands)]
