"""The flags of ``plan``, read and checked one by one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ..errors import require
from ..verb_words import Word, read
from .flags import FollowFlags, GridFlags
from .placement import split_words
from .spec import FIXED_MODES, MODES


def parse_modes(text: str) -> tuple[str, ...]:
    """Returns the modes of ``--mode strong,adaptive``.

    Raises:
        InputError: A word that is no mode, or a mode that comes twice.
    """
    modes = tuple(part.strip() for part in text.split(","))
    for mode in modes:
        require(mode in MODES, "mode", mode or "nothing", ", ".join(MODES), "--mode strong,adaptive")
    require(len(set(modes)) == len(modes), "mode", text, "each once", "--mode strong,adaptive")
    return modes


def check_recipe(recipe: Sequence[str]) -> None:
    """Sees that the words are RECIPE [--FIELD VALUE ...].

    Raises:
        InputError: The words are of another form.
    """
    hint = "adabatch study plan NAME ... -- quickstart --epochs 3"
    require(bool(recipe), "RECIPE", "nothing", "a recipe and its fields after --", hint)
    require(not recipe[0].startswith("-"), "RECIPE", recipe[0], "the recipe first", hint)
    other = any(word.partition("=")[0] == "--config" for word in recipe)
    require(not other, "config", "a second recipe", "one recipe, which is copied into the study", hint)
    for word in recipe:
        prints = word.partition("=")[0] in ("--help", "-h", "--print_config")
        require(not prints, "RECIPE", word, "a recipe and its fields", hint)


def parse_fields(flag: str, texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Returns the values by field of a flag such as --vary FIELD=a,b.

    Raises:
        InputError: A text of another form, or a field or a value that comes twice.
    """
    found: dict[str, tuple[str, ...]] = {}
    for text in texts:
        field, sign, values = text.partition("=")
        hint = f"--{flag} optimizer.lr=0.1,0.2"
        require(
            bool(sign and values) and re.fullmatch(r"\w+(\.\w+)*", field) is not None, flag, text, "FIELD=a,b", hint
        )
        require(field not in found, flag, text, f"{field} once", hint)
        found[field] = tuple(values.split(","))
        require(len(set(found[field])) == len(found[field]), flag, text, "each value once", hint)
    return found


def parse_zipped(texts: Sequence[str], nodes: tuple[int, ...]) -> dict[str, tuple[str, ...]]:
    """Returns the values by field of --zip FIELD=a,b,c, in the order of the node counts.

    Raises:
        InputError: A text of another form, or more or fewer values than node counts.
    """
    found: dict[str, tuple[str, ...]] = {}
    for text in texts:
        field, _, values = text.partition("=")
        count = len(values.split(","))
        hint = f"--zip {field or 'optimizer.lr'}={','.join(['VALUE'] * len(nodes))}"
        require(count == len(nodes), "zip", f"{count} values", f"{len(nodes)}, one a node count", hint)
        require(field not in found, "zip", text, f"{field} once", hint)
        found[field] = tuple(values.split(","))
        require(re.fullmatch(r"\w+(\.\w+)*", field) is not None, "zip", text, "FIELD=a,b", hint)
    return found


def check_fields(
    vary: dict[str, tuple[str, ...]], zipped: dict[str, tuple[str, ...]], modes: tuple[str, ...], until: str | None
) -> None:
    """Sees that no field varies which the study itself sets.

    Raises:
        InputError: A field varies that the study sets.
    """
    for flag, fields in (("vary", vary), ("zip", zipped)):
        for field in fields:
            require(flag == "vary" or field not in vary, flag, field, "a field that is not varied too")
            alone = flag == "vary" or "follow" not in modes
            require(alone, flag, f"{field} with mode follow, which has no one node count", "--vary", "--mode adaptive")
            fixed = [mode for mode in modes if mode in FIXED_MODES]
            batch = field == "global_batch" and flag == "zip" and bool(fixed)
            require(not batch, flag, field, f"another field: mode {' '.join(fixed)} sets it", "--mode adaptive")
            policy = field.split(".")[0] == "policy" and until is not None and bool(fixed)
            require(
                not policy, flag, field, f"another field: mode {' '.join(fixed)} trains with policy fixed",
                "--mode adaptive",
            )  # fmt: skip


def parse_follow(flags: GridFlags, modes: tuple[str, ...], nodes: tuple[int, ...]) -> tuple[str, ...]:
    """Returns the flags of a run whose nodes follow, those of ``--follow '--efficiency=0.5'``; none without that mode.

    Raises:
        InputError: There is one node count alone, or a flag, a probe or a network that cannot be used.
    """
    words = split_words("follow", flags.follow, "--follow '--efficiency=0.5'")
    if "follow" not in modes:
        require(not words, "follow", flags.follow, "nothing without mode follow", "--mode adaptive,follow")
        return ()
    hint = "--nodes 1,2,4"
    require(len(nodes) > 1, "nodes", f"{nodes[0]} with mode follow", "the fewest and the most of such a run", hint)
    recipe, given = read("study plan --follow", words, FollowFlags, Word("RECIPE", "No word.", needed=False))
    require(recipe is None, "follow", recipe, "flags alone", "--follow '--efficiency=0.5'")
    own = given.pop("nodes_follow")
    require(own is None, "follow", f"--nodes_follow={own}", "the node counts of the study", hint)
    from ..run.machine import network_of, read_probe
    from .scaling.follow import check_terms, span_of

    check_terms(given["efficiency"], given["wait_s"])
    probe = read_probe(Path(given["probe"])) if given["probe"] is not None else None
    network_of(given["network"], flags.ranks_per_node, probe)
    return (f"--nodes_follow={span_of(nodes)}", *words)
