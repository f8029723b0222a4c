"""From the flags of ``plan`` to a study, all of them checked."""

from __future__ import annotations

import functools
import secrets
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import require
from ..shipped import recipe_file
from .checks import check_fields, check_recipe, parse_fields, parse_follow, parse_modes, parse_zipped
from .flags import GridFlags
from .grid import Grid, cells_of
from .nodes import node_counts
from .placement import split_flags, time_limit_s
from .places import PLACES
from .spec import Study, check_name

if TYPE_CHECKING:
    from ..recipe import Recipe


def make_study(
    name: str, flags: GridFlags, vary: Sequence[str], zipped: Sequence[str], recipe: Sequence[str], directory: Path
) -> Study:
    """Returns the study that these flags ask for.

    Args:
        name: The study's name.
        flags: The grid, and how a cell is started.
        vary: FIELD=a,b of each --vary.
        zipped: FIELD=a,b,c of each --zip.
        recipe: RECIPE [--FIELD VALUE ...].
        directory: The folder that jobs start in, and that relative paths are told from.

    Raises:
        InputError: The first thing that cannot be used.
    """
    check_name(name)
    modes = parse_modes(flags.mode)
    nodes = node_counts(flags.nodes)
    for field, least in (("ranks_per_node", 1), ("repeats", 1), ("warmup", 0), ("steps", 1)):
        value = getattr(flags, field)
        require(value >= least, field, value, f"{least} or more", f"--{field} {max(least, 2)}")
    check_recipe(recipe)
    words = split_flags(flags.sbatch)
    terms = PLACES[flags.where].terms(flags, words, directory)
    each = parse_zipped(zipped, nodes)
    following = parse_follow(flags, modes, nodes)
    grid = Grid(
        nodes=nodes,
        ranks_per_node=flags.ranks_per_node,
        recipe=str(recipe_file(recipe[0])),
        flags=tuple(recipe[1:]),
        until=flags.until,
        measured=("--warmup", str(flags.warmup), "--steps", str(flags.steps)),
        zipped=each,
        following=following,
        parse=functools.cache(_parse),
    )
    varied = parse_fields("vary", vary)
    check_fields(varied, each, modes, flags.until)
    return Study(
        name=name,
        key=secrets.token_hex(3),
        created=datetime.now().astimezone().isoformat(timespec="seconds"),
        modes=modes,
        nodes=nodes,
        ranks_per_node=flags.ranks_per_node,
        repeats=flags.repeats,
        warmup=flags.warmup,
        steps=flags.steps,
        until=flags.until,
        vary=varied,
        zipped=each,
        where=flags.where,
        template=terms.template,
        launcher=terms.launcher,
        sbatch=words,
        time_limit_s=time_limit_s(terms.asked.get("time", "")),
        recipe=grid.recipe,
        flags=grid.flags,
        directory=str(directory),
        cells=cells_of(grid, modes, varied, flags.repeats),
    )


def _parse(verb: str, recipe: str, flags: tuple[str, ...]) -> Recipe:
    from ..command_line import parse_recipe  # torch loads with it

    return parse_recipe(verb, [recipe, *flags])[0]
