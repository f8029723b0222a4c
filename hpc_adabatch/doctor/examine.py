"""All that the ranks find, as one table: rank 0 prints it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..cluster import Cluster, SingleProcess, start
from ..cluster.start import engine_of, known_launch
from ..errors import InputError
from ..recipe import Recipe
from .binding import bindings, look
from .check import Check
from .gpus import gpus
from .job import job
from .limits import limits
from .network import network
from .place import place
from .software import software
from .storage import storage


def examine(recipe: Recipe | None, out: Path) -> int:
    """Prints what all ranks found; returns 0 when nothing is wrong, else 1.

    Where the ranks cannot join, rank 0 prints why, and what it found alone.

    Args:
        recipe: The recipe whose data and engine are looked at; None without one.
        out: The folder for the output, which may not exist yet.

    Raises:
        InputError: The ranks cannot join; not on rank 0.
    """
    found, wanted = known_launch(), recipe.options.engine if recipe is not None else None
    engine = engine_of(found, wanted)
    joined: list[Check] = []
    try:
        cluster = start(wanted)
    except InputError as error:
        if found is not None and found.rank > 0:
            raise
        cluster = SingleProcess()
        alone = "; what follows is what rank 0 sees alone" if found is not None else ""
        joined = [Check("ranks join", f"no: {error.field}: given {error.given}{alone}", error.hint or error.allowed)]
    everyone = cluster.gather([*joined, *_all(cluster, engine, recipe, out)])
    code = cluster.tell(_show(everyone) if cluster.leads else None)
    cluster.stop()
    return code


def _all(cluster: Cluster, engine: str, recipe: Recipe | None, out: Path) -> Iterator[Check]:
    yield from place(cluster, engine)
    bound = cluster.gather(look(cluster.local_rank))
    yield from bindings(bound) if cluster.leads else ()
    yield from gpus()
    yield from network(cluster.n_nodes, engine)
    yield from storage(cluster, recipe, out)
    yield from job() if cluster.leads else ()
    yield from limits(cluster)
    yield from software(engine)


def _show(everyone: Sequence[Sequence[Check]]) -> int:
    """Prints what was found, each thing once; returns 1 where something is wrong, else 0."""
    counts = Counter(check for checks in everyone for check in checks)
    looked = Counter(what for checks in everyone for what in {check.what for check in checks})
    for check, ranks in counts.items():
        some = "" if ranks == looked[check.what] else f"  ({ranks} of {looked[check.what]} ranks)"
        print(f"{'wrong' if check.mend else 'ok':6} {check.what:18} {check.found}{some}")
        if check.mend:
            print(f"{'':6} {'':18} type: {check.mend}")
    wrong = sum(bool(check.mend) for check in counts)
    print(f"{wrong} thing(s) wrong" if wrong else "nothing is wrong")
    return 1 if wrong else 0
