"""The grid of a study's cells, every one of them checked before anything is written.

    mode        global batch                            what is run, without --until     with it
    strong      the same for all node counts            measure                          train, policy fixed
    weak        in proportion to the nodes              measure                          train, policy fixed
    adaptive    the recipe's own rule                   train, the whole recipe          train
    follow      the same, on the nodes it is worth      train, the whole recipe          train

A run of mode follow begins on the fewest nodes; it is one cell, whatever job after job it goes through.

Repeats are the outermost loop: what is there when a study is cut short are whole repeats, and a machine that drifts
does so across all cells. Repeats that train differ in their seed, those that measure do not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..errors import require
from .cells import Cell, cell_name, variants
from .scaling.follow import span_of
from .spec import FIXED_MODES

if TYPE_CHECKING:
    from ..recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The common part of all cells of a study."""

    nodes: tuple[int, ...]
    """The node counts, in the order given."""
    ranks_per_node: int
    """The number of ranks on each node."""
    recipe: str
    """The recipe's path."""
    flags: tuple[str, ...]
    """Fields set for all cells, after the recipe."""
    until: str | None
    """The target that cells train to, METRIC=VALUE; None where steps are measured."""
    measured: tuple[str, ...]
    """The flags of a cell that measures: --warmup W --steps S."""
    zipped: Mapping[str, Sequence[str]]
    """Values by field, one for each node count."""
    following: tuple[str, ...]
    """The flags of a cell of mode follow: --nodes_follow FEWEST:MOST, and how; empty without that mode."""
    parse: Callable[[str, str, tuple[str, ...]], Recipe]
    """Reads a recipe, and remembers it: most cells differ in numbers of ranks alone."""


def cells_of(grid: Grid, modes: Sequence[str], vary: Mapping[str, Sequence[str]], repeats: int) -> tuple[Cell, ...]:
    """Returns the cells of a study, each checked.

    Args:
        grid: The common part of all cells.
        modes: The modes, each strong, weak, adaptive or follow.
        vary: Values by field; every combination is a variant.
        repeats: Jobs of each cell of the grid.

    Raises:
        InputError: A recipe that cannot be used, or a batch that its ranks cannot share evenly.
    """
    first: list[tuple[Cell, int]] = []
    for mode in modes:
        for label, chosen in variants(vary):
            follows = mode == "follow"
            for index in [grid.nodes.index(min(grid.nodes))] if follows else range(len(grid.nodes)):
                first.append(_first_cell(grid, mode, label, chosen, index))
    for cell, _ in first:
        _check_batch(
            cell, [other.ranks for other, _ in first if (other.mode, other.variant) == (cell.mode, cell.variant)]
        )
    return tuple(_repeat(cell, seed, repeat) for repeat in range(1, repeats + 1) for cell, seed in first)


def _first_cell(grid: Grid, mode: str, label: str, chosen: dict[str, str], index: int) -> tuple[Cell, int]:
    """Returns the first repeat of a cell, and the recipe's seed."""
    nodes = grid.nodes[index]
    verb = "measure" if mode in FIXED_MODES and grid.until is None else "train"
    flags = list(grid.flags)
    for field, value in [*chosen.items(), *((field, values[index]) for field, values in grid.zipped.items())]:
        flags.append(f"--{field}={value}")
    recipe = grid.parse(verb, grid.recipe, tuple(flags))
    global_batch = recipe.global_batch
    if mode in FIXED_MODES:
        if mode == "weak":
            global_batch = _in_proportion(global_batch, nodes, grid.nodes[0])
        if verb == "train":
            flags = [*_without_policy(flags), "--policy=fixed"]
        flags.append(f"--global_batch={global_batch}")
        recipe = grid.parse(verb, grid.recipe, tuple(flags))
    if mode == "follow":
        from ..run.follow import check_recipe

        check_recipe(recipe, span_of(grid.nodes))
        flags += grid.following
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


def _in_proportion(global_batch: int, nodes: int, first: int) -> int:
    grown, rest = divmod(global_batch * nodes, first)
    given = f"{global_batch} on {first} nodes, {global_batch * nodes / first:g} on {nodes}"
    step = first // math.gcd(first, nodes)
    allowed = f"a multiple of {step}"
    require(rest == 0, "global_batch", given, allowed, f"--global_batch {max(1, global_batch // step) * step}")
    return grown


def _without_policy(flags: list[str]) -> list[str]:
    """Returns the flags but for the recipe's rule, which such cells replace."""
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
    """Sees that every rank has as many samples as every other.

    Raises:
        InputError: The batch does not divide over the ranks; the line names the nearest batches that do.
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
    """Returns another repeat of the cell; one that trains has a seed of its own."""
    arguments = cell.arguments
    if cell.verb == "train":
        arguments = (*arguments, f"--seed={seed + repeat - 1}")
    name = cell_name(cell.mode, cell.nodes, cell.variant, repeat)
    return replace(cell, repeat=repeat, name=name, arguments=arguments)
