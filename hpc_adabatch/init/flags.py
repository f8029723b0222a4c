"""The flags of ``adabatch init``, and what they may be."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import require
from ..shipped import recipes
from .recipe import STARTS
from .resources import KINDS

_WORD = re.compile(r"[\w@.:+%=,&|*/-]+")
_NAME = "a word of letters, digits and @.:+%=,&|*/-"
TIME = re.compile(r"(?:\d{1,4}-)?\d{1,6}(?::\d{1,2}){0,2}")


@dataclass(frozen=True, kw_only=True)
class InitFlags:
    """The training, its nodes, and the words of the site."""

    task: str = ""
    """The task to learn: digits, cifar10, cifar100, image_folder, imagenet, text, or module:Class of your own."""
    recipe: str = ""
    """A recipe that ships (adabatch recipes), instead of a task."""
    script: str = ""
    """A script of your own with its arguments, in one word, instead of a task: 'train.py --lr 0.1'."""
    data: str = ""
    """The folder of the task's data; that of the recipe when not given."""
    queue: str = ""
    """The system that starts jobs: slurm or pbs; slurm when not given."""
    gpu: str = ""
    """The kind of GPU in a node: p100, v100, a100, h100, h200, b200, gh200, mi250, or none."""
    nodes: int | None = None
    """The number of nodes."""
    ranks_per_node: int | None = None
    """The ranks on each node, one for each GPU; as many as the template has when not given."""
    cores: int | None = None
    """The cores of a rank; as many as the template has when not given."""
    time: str = ""
    """The time limit of the job, such as 04:00:00."""
    account: str = ""
    """The account, or project, that is charged."""
    partition: str = ""
    """The partition; under PBS the queue."""
    modules: str = ""
    """Modules to load, in one word: 'gcc cuda openmpi'."""

    def check(self) -> None:
        """Sees that each flag can be used.

        Raises:
            InputError: The first one that cannot.
        """
        chosen = [name for name in ("task", "recipe", "script") if getattr(self, name)]
        require(len(chosen) <= 1, " and ".join(chosen), "together", "one of task, recipe and script")
        own = re.fullmatch(r"[\w.]+:\w+", self.task)
        tasks = ", ".join(STARTS)
        require(
            not self.task or self.task in STARTS or bool(own),
            "task",
            self.task,
            f"{tasks}, module:Class",
            "--task digits",
        )
        known = ", ".join(recipes())
        require(not self.recipe or self.recipe in recipes(), "recipe", self.recipe, known, "adabatch recipes")
        require(self.script.isprintable(), "script", self.script, "words of one line", "--script 'train.py --lr 0.1'")
        require(self.data.isprintable(), "data", self.data, "a folder", "--data DIR")
        require(self.queue in ("", "slurm", "pbs"), "queue", self.queue, "slurm, pbs", "--queue slurm")
        require(self.gpu in ("", *KINDS), "gpu", self.gpu, ", ".join(KINDS), "--gpu v100")
        for name in ("nodes", "ranks_per_node", "cores"):
            value = getattr(self, name)
            require(value is None or 1 <= value <= 100_000, name, value, "1 or more", f"--{name} 4")
        require(not self.time or bool(TIME.fullmatch(self.time)), "time", self.time, "HH:MM:SS", "--time 04:00:00")
        for name in ("account", "partition"):
            value = getattr(self, name)
            require(not value or bool(_WORD.fullmatch(value)), name, value, _NAME, f"--{name} NAME")
        words = self.modules.split()
        require(all(map(_WORD.fullmatch, words)), "modules", self.modules, "names of modules", "--modules 'gcc cuda'")
