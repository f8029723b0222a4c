"""What each rank is bound to, of nodes that there are: four GH200, eight halves of MI250X, two cores of a laptop."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hpc_adabatch.doctor.binding import Binding, Gpu, bindings, look, numa_nodes, ranges


def node(root: Path, **cpulists: str) -> Path:
    """A /sys whose NUMA nodes have these cores; those with memory alone have none."""
    for name, cpulist in cpulists.items():
        folder = root / "sys/devices/system/node" / name
        folder.mkdir(parents=True)
        (folder / "cpulist").write_text(f"{cpulist}\n", encoding="ascii")
    return root


@pytest.mark.parametrize(
    ("numbers", "words"),
    [([], ""), ([3], "3"), ([0, 1, 2, 3], "0-3"), ([8, 0, 1, 2, 10], "0-2,8,10"), ([0, 2, 4], "0,2,4")],
)
def test_numbers_in_the_kernels_short_form(numbers: list[int], words: str) -> None:
    assert ranges(numbers) == words


def test_numa_nodes_of_cores(tmp_path: Path) -> None:
    root = node(tmp_path, node0="0-71", node1="72-143", node2="144-215", node3="216-287", node4="", node10="")  # GH200
    assert numa_nodes(frozenset(range(72, 144)), root) == (1,)
    assert numa_nodes(frozenset({71, 72}), root) == (0, 1)
    root = node(tmp_path / "b", node0="0-3,8-11", node1="4-7,12-15")  # second threads of cores have the higher numbers
    assert numa_nodes(frozenset({11}), root) == (0,)
    assert numa_nodes(frozenset({1}), tmp_path / "nothing") == ()


def test_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = sorted(os.sched_getaffinity(0))
    found = look(3)
    assert (found.local_rank, sorted(found.cores), found.of) == (3, mine, os.cpu_count())
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {4, 5})
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    found = look(0, node(tmp_path, node0="0-3,8-11", node1="4-7,12-15"))
    assert found.words == "cores 4-5, NUMA 1, no GPU"


def rank(local: int, cores: range, numa: tuple[int, ...], gpu: Gpu | None, host: str = "n1", of: int = 64) -> Binding:
    return Binding(host, local, frozenset(cores), of, numa, gpu)


def told(ranks: list[Binding]) -> list[tuple[str, str]]:
    return [(check.found, check.mend) for check in bindings(ranks)]


def test_ranks_bound_alike_have_one_line() -> None:
    """As many lines as there are ranks on a node, however many nodes there are."""
    ranks = [
        rank(local, range(16 * local, 16 * local + 16), (local,), Gpu(local, f"{host}-{local}", local), host)
        for host in ("n1", "n2", "n3")
        for local in range(4)
    ]
    assert told(ranks)[:2] == [
        ("ranks 0,4,8: cores 0-15, NUMA 0, GPU 0 (NUMA 0)", ""),
        ("ranks 1,5,9: cores 16-31, NUMA 1, GPU 1 (NUMA 1)", ""),
    ]
    assert len(told(ranks)) == 4


def test_a_gpu_on_another_numa_node_has_the_map_that_mends_it() -> None:
    """MI250X: the GPU of number 0 hangs on NUMA node 3, so ranks in order of their cores are all far from theirs."""
    near = (3, 3, 1, 1, 0, 0, 2, 2)
    ranks = [rank(n, range(8 * n, 8 * n + 8), (n // 2,), Gpu(n, str(n), numa)) for n, numa in enumerate(near)]
    found = told(ranks)
    wrong = [number for number, (_, mend) in enumerate(found) if mend]
    assert wrong == [0, 1, 4, 5, 6, 7]  # ranks 2 and 3 are where they should be
    assert {mend for _, mend in found if mend} == {
        "--cpu-bind=map_ldom:3,3,1,1,0,0,2,2 in SRUN_FLAGS, in place of its --cpu-bind; mpirun --bind-to none"
    }


def test_two_ranks_on_one_gpu_are_wrong_and_one_gpu_a_rank_is_not_though_each_sees_one_alone() -> None:
    """--gpus-per-task=1 shows each rank one GPU, number 0: counting those that a rank sees called that too few."""
    shared = [rank(n, range(64), (0,), Gpu(0, "GPU-a", 0)) for n in range(2)]
    assert [mend for _, mend in told(shared)] == ["sbatch --gres=gpu:2, a GPU for each rank; or fewer ranks a node"]
    own = [rank(n, range(64), (0,), Gpu(0, f"GPU-{n}", 0)) for n in range(2)]
    assert told(own) == [("ranks 0-1: all 64 cores (not bound), NUMA 0, GPU 0 (NUMA 0)", "")]
    others = [rank(0, range(64), (0,), Gpu(0, "GPU-a", 0), host) for host in ("n1", "n2")]  # of two containers
    assert [mend for _, mend in told(others)] == [""]


def test_what_is_not_known_is_said_and_is_not_wrong() -> None:
    found = told([rank(0, range(2), (), Gpu(0, "x", None), of=8), rank(1, range(2, 4), (1,), Gpu(1, "y", None), of=8)])
    assert found == [
        ("rank 0: cores 0-1, NUMA not known, GPU 0 (NUMA not known)", ""),
        ("rank 1: cores 2-3, NUMA 1, GPU 1 (NUMA not known)", ""),
    ]
