"""From flags to a study: the grid of its cells, every one of them checked before anything is written.

    mode        global batch                            what is run, without --until     with it
    strong      the same for all node counts            measure                          train, policy fixed
    weak        in proportion to the nodes              measure                          train, policy fixed
    adaptive    the recipe's own rule                   train, the whole recipe          train

Repeats are the outermost loop: what is there when a study is cut short are whole repeats, and a machine that drifts
does so across all cells. Repeats that train differ in their seed, those that measure do not.

Not here: reading flags (checks.py, nodes.py), names of cells (cells.py), what a node is asked for (placement.py).
"""

from __future__ import annotations

import functools
import math
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import require
from .cells import Cell, cell_name, variants
from .checks import asked, check_fields, check_recipe, parse_fields, parse_modes, parse_zipped
from .flags import GridFlags
from .nodes import node_counts
from .placement import split_flags, time_limit_s
from .spec import Study, check_name

if TYPE_CHECKING:
    from ..recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class _Grid:
    """What a cell is made from."""

    nodes: tuple[int, ...]
    ranks_per_node: int
    recipe: str
    flags: tuple[str, ...]
    until: str | None
    measured: tuple[str, ...]  # --warmup W --steps S
    zipped: dict[str, tuple[str, ...]]
    parse: Callable[[str, str, tuple[str, ...]], Recipe]  # remembers: most cells differ in numbers of ranks alone


def make_study(
    name: str, flags: GridFlags, vary: Sequence[str], zipped: Sequence[str], recipe: Sequence[str], directory: Path
) -> Study:
    """The study that these flags ask for.

    Args:
        name: of the study.
        flags: the grid.
        vary: FIELD=a,b of each --vary.
        zipped: FIELD=a,b,c of each --zip.
        recipe: RECIPE [--FIELD VALUE ...].
        directory: where jobs start, and from which relative paths are told.

    Raises:
        InputError: the first thing that cannot be used.
    """
    check_name(name)
    modes = parse_modes(flags.mode)
    nodes = node_counts(flags.nodes)
    for field, least in (("ranks_per_node", 1), ("repeats", 1), ("warmup", 0), ("steps", 1)):
        value = getattr(flags, field)
        require(value >= least, field, value, f"{least} or more", f"--{field} {max(least, 2)}")
    check_recipe(recipe)
    words = split_flags(flags.sbatch)
    request = asked(flags, words)
    grid = _Grid(
        nodes=nodes,
        ranks_per_node=flags.ranks_per_node,
        recipe=recipe[0],
        flags=tuple(recipe[1:]),
        until=flags.until,
        measured=("--warmup", str(flags.warmup), "--steps", str(flags.steps)),
        zipped=parse_zipped(zipped, nodes),
        parse=functools.cache(_parse),
    )
    varied = parse_fields("vary", vary)
    check_fields(varied, grid.zipped, modes, flags.until)
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
        zipped=grid.zipped,
        where=flags.where,
        template=flags.template if flags.where == "slurm" else "",
        launcher=flags.launcher or ("srun" if flags.where == "slurm" else "mpirun"),
        sbatch=words,
        time_limit_s=time_limit_s(request.get("time", "")),
        recipe=recipe[0],
        flags=grid.flags,
        directory=str(directory),
        cells=_cells(grid, modes, varied, flags.repeats),
    )


def _cells(grid: _Grid, modes: tuple[str, ...], vary: dict[str, tuple[str, ...]], repeats: int) -> tuple[Cell, ...]:
    first: list[tuple[Cell, int]] = []
    for mode in modes:
        for label, chosen in variants(vary):
            for index in range(len(grid.nodes)):
                first.append(_first_cell(grid, mode, label, chosen, index))
    for cell, _ in first:
        _check_batch(
            cell, [other.ranks for other, _ in first if (other.mode, other.variant) == (cell.mode, cell.variant)]
        )
    return tuple(_repeat(cell, seed, repeat) for repeat in range(1, repeats + 1) for cell, seed in first)


def _first_cell(grid: _Grid, mode: str, label: str, chosen: dict[str, str], index: int) -> tuple[Cell, int]:
    """The first repeat of a cell, and the recipe's seed."""
    nodes = grid.nodes[index]
    verb = "train" if mode == "adaptive" or grid.until is not None else "measure"
    flags = list(grid.flags)
    for field, value in [*chosen.items(), *((field, values[index]) for field, values in grid.zipped.items())]:
        flags.append(f"--{field}={value}")
    recipe = grid.parse(verb, grid.recipe, tuple(flags))
    global_batch = recipe.global_batch
    if mode != "adaptive":
        if mode == "weak":
            global_batch = _in_proportion(global_batch, nodes, grid.nodes[0])
        if verb == "train":
            flags = [*_without_policy(flags), "--policy=fixed"]
        flags.append(f"--global_batch={global_batch}")
        recipe = grid.parse(verb, grid.recipe, tuple(flags))
    if grid.until is not None:
        from ..run.target import parse_target

        parse_target(grid.until, recipe.task)
        flags.append(f"--until={grid.until}")
    largest = recipe.options.max_global_batch
    allowed = f"at most {largest}, the recipe's max_global_batch"
    hint = f"--max_global_batch {global_batch}"
    require(largest is None or global_batch <= largest, "global_batch", global_batch, allowed, hint)
    cell = Cell(
        name=cell_name(mode, nodes, label, 1),
        mode=mode,
        nodes=nodes,
        ranks=nodes * grid.ranks_per_node,
        variant=label,
        repeat=1,
        verb=verb,
        arguments=(*flags, *(grid.measured if verb == "measure" else ())),
        global_batch=global_batch,
    )
    return cell, recipe.options.seed


def _parse(verb: str, recipe: str, flags: tuple[str, ...]) -> Recipe:
    from ..command_line import parse_recipe

    return parse_recipe(verb, [recipe, *flags])[0]


def _in_proportion(global_batch: int, nodes: int, first: int) -> int:
    grown, rest = divmod(global_batch * nodes, first)
    given = f"{global_batch} on {first} nodes, {global_batch * nodes / first:g} on {nodes}"
    step = first // math.gcd(first, nodes)
    allowed = f"a multiple of {step}"
    require(rest == 0, "global_batch", given, allowed, f"--global_batch {max(1, global_batch // step) * step}")
    return grown


def _without_policy(flags: list[str]) -> list[str]:
    """The flags but for the recipe's rule, which such cells replace."""
    kept: list[str] = []
    drops_value = False
    for flag in flags:
        name, sign, _ = flag.partition("=")
        policy = name == "--policy" or name.startswith("--policy.")
        if not policy and not drops_value:
            kept.append(flag)
        drops_value = policy and not sign
    return kept


def _check_batch(cell: Cell, ranks: list[int]) -> None:
    """Whether every rank has as many samples as every other.

    Raises:
        InputError: they have not; with the nearest batches that all of these numbers of ranks share evenly.
    """
    divisor = math.lcm(*ranks) if cell.mode != "weak" else cell.ranks
    below, above = cell.global_batch // divisor * divisor, -(-cell.global_batch // divisor) * divisor
    nearest = " or ".join(str(size) for size in (below, above) if size > 0)
    over = f"over {cell.ranks} ranks" if divisor == cell.ranks else f"over {', '.join(map(str, ranks))} ranks"
    require(
        cell.global_batch % cell.ranks == 0,
        "global_batch",
        f"{cell.global_batch}, which does not divide over {cell.ranks} ranks",
        f"nearest that divide {over}: {nearest}",
        f"--global_batch {below or above}",
    )


def _repeat(cell: Cell, seed: int, repeat: int) -> Cell:
    """The same cell once more; what is learned is learned from another seed."""
    arguments = cell.arguments
    if cell.verb == "train":
        arguments = (*arguments, f"--seed={seed + repeat - 1}")
    name = cell_name(cell.mode, cell.nodes, cell.variant, repeat)
    return replace(cell, repeat=repeat, name=name, arguments=arguments)


def ranks_text(study: Study) -> str:
    """What the check of the batches found, in words."""
    found = []
    for mode in study.modes:
        cells = [cell for cell in study.cells if cell.mode == mode]
        batches, ranks = sorted({cell.global_batch for cell in cells}), sorted({cell.ranks for cell in cells})
        batch = str(batches[0]) if len(batches) == 1 else f"{batches[0]}..{batches[-1]}"
        over = str(ranks[0]) if len(ranks) == 1 else f"{ranks[0]}..{ranks[-1]}"
        found.append(f"{mode}: global batch {batch} divides over {over} ranks: ok")
    return "\n".join(found)
