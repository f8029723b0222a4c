"""From flags to cells: names, batches, placement, and what is refused before anything is written."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from hpc_adabatch.errors import InputError
from hpc_adabatch.study.cells import Cell, cell_name, select, variants
from hpc_adabatch.study.flags import GridFlags
from hpc_adabatch.study.placement import directives, gpus_per_node, options, split_flags, time_limit_s
from hpc_adabatch.study.plan import make_study
from hpc_adabatch.study.spec import NAME, Study, check_name, from_json

sys.path.insert(0, str(Path(__file__).parent / "fakes"))
from planned import RECIPE, cells, planned, template

pytestmark = pytest.mark.long


@pytest.fixture
def make(tmp_path: Path) -> Any:
    """make(flags, vary=[...], zip=[...], recipe=[...]): the study."""

    def study(
        vary: tuple[str, ...] = (), zipped: tuple[str, ...] = (), recipe: tuple[str, ...] = (), **flags: Any
    ) -> Study:
        chosen = {"nodes": "1,2,4", "template": str(template(tmp_path)), "repeats": 1} | flags
        return make_study("scaling", GridFlags(**chosen), vary, zipped, (RECIPE, *recipe), tmp_path)

    return study


def batches(study: Study) -> dict[str, int]:
    return {cell.name: cell.global_batch for cell in study.cells}


def test_strong_keeps_the_global_batch_and_weak_grows_it_with_the_nodes(make: Any) -> None:
    study = make(mode="strong,weak", nodes="2,4,8", ranks_per_node=2, recipe=("--global_batch", "64"))
    assert batches(study) == {
        "strong_n002_r1": 64,
        "strong_n004_r1": 64,
        "strong_n008_r1": 64,
        "weak_n002_r1": 64,
        "weak_n004_r1": 128,
        "weak_n008_r1": 256,
    }
    assert [cell.ranks for cell in study.cells[:3]] == [4, 8, 16]
    for cell in study.cells:
        assert cell.verb == "measure"
        assert f"--global_batch={cell.global_batch}" in cell.arguments
        assert cell.arguments[-4:] == ("--warmup", "20", "--steps", "200")


def test_with_a_target_strong_trains_with_the_batch_fixed_and_adaptive_with_the_recipes_rule(make: Any) -> None:
    flags = ("--policy.factor", "4", "--policy.interval=3", "--optimizer.lr", "0.1")
    study = make(mode="strong,adaptive", nodes="1", until="accuracy=0.92", recipe=flags)
    strong, adaptive = study.cells
    assert strong.arguments == (
        *("--optimizer.lr", "0.1", "--policy=fixed", "--global_batch=16", "--until=accuracy=0.92", "--seed=0"),
    )
    assert adaptive.arguments == (*flags, "--until=accuracy=0.92", "--seed=0")
    assert (strong.verb, adaptive.verb) == ("train", "train")


def test_follow_is_one_cell_that_begins_on_the_fewest_nodes(make: Any) -> None:
    study = make(mode="adaptive,follow", nodes="4,2,8", follow="--efficiency=0.5 --wait_s 30", sbatch="--time=01:00:00")
    *_, cell = study.cells
    assert [one.name for one in study.cells] == ["adaptive_n004_r1", "adaptive_n002_r1", "adaptive_n008_r1", cell.name]
    assert (cell.name, cell.mode, cell.nodes, cell.ranks, cell.verb) == ("follow_n002_r1", "follow", 2, 2, "train")
    assert cell.arguments == ("--nodes_follow=2:8", "--efficiency=0.5", "--wait_s", "30", "--seed=0")
    assert study.node_hours([cell]) == 8.0  # it may come to them, in more jobs than one
    assert study.hours_in_words([cell]).endswith(
        "node-hours, each run whose nodes follow counted as one job on the most"
    )
    assert study.hours_in_words(study.cells[:1]) == "at most 4.00 node-hours"
    until = make(mode="follow", nodes="1,2", vary=("optimizer.lr=0.1,0.2",), repeats=2, until="accuracy=0.9")
    assert [one.arguments for one in until.cells[1:3]] == [
        ("--optimizer.lr=0.2", "--nodes_follow=1:2", "--until=accuracy=0.9", "--seed=0"),
        ("--optimizer.lr=0.1", "--nodes_follow=1:2", "--until=accuracy=0.9", "--seed=1"),
    ]
    assert from_json(until.to_json()) == until


def test_repeats_come_outermost_and_train_from_other_seeds(make: Any) -> None:
    study = make(mode="strong,adaptive", nodes="1,2", repeats=2, recipe=("--seed", "7"))
    assert [cell.name for cell in study.cells] == [
        *("strong_n001_r1", "strong_n002_r1", "adaptive_n001_r1", "adaptive_n002_r1"),
        *("strong_n001_r2", "strong_n002_r2", "adaptive_n001_r2", "adaptive_n002_r2"),
    ]
    seeds = {cell.repeat: cell.arguments[-1] for cell in study.cells if cell.mode == "adaptive"}
    assert seeds == {1: "--seed=7", 2: "--seed=8"}
    assert all("--seed=7" not in cell.arguments for cell in study.cells if cell.mode == "strong")


def test_zip_gives_each_node_count_its_own_value_and_no_variant(make: Any) -> None:
    study = make(vary=("optimizer.momentum=0.8,0.9",), zipped=("optimizer.lr=0.1,0.2,0.4",))
    of_two = [cell for cell in study.cells if cell.nodes == 2]
    assert {cell.variant for cell in study.cells} == {"momentum-0.8", "momentum-0.9"}
    assert all("--optimizer.lr=0.2" in cell.arguments for cell in of_two)
    assert len(study.cells) == 6


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ({"ranks_per_node": 3, "nodes": "1"}, "given 16, which does not divide over 3 ranks; allowed: nearest that "
         "divide over 3 ranks: 15 or 18; type --global_batch 15"),
        ({"nodes": "1,2,3"}, "does not divide over 3 ranks; allowed: nearest that divide over 1, 2, 3 ranks: 12 or 18"),
        ({"nodes": "32"}, "nearest that divide over 32 ranks: 32; type --global_batch 32"),
        ({"mode": "weak", "nodes": "3,4"}, "given 16 on 3 nodes, 21.3333 on 4; allowed: a multiple of 3; type"),
        ({"mode": "weak", "nodes": "1,64"}, "given 1024; allowed: at most 256, the recipe's max_global_batch"),
        ({"mode": "fast"}, "mode: given fast; allowed: strong, weak, adaptive, follow"),
        ({"mode": "follow", "nodes": "2"}, "nodes: given 2 with mode follow; allowed: the fewest and the most of such"),
        ({"mode": "follow", "recipe": ("--policy", "fixed")}, "nodes_follow: given 1:4 with a batch that is 16 "
         "throughout; allowed: a rule that changes the batch; type --policy adabatch"),
        ({"mode": "follow", "zipped": ("optimizer.lr=1,2,4",)}, "zip: given optimizer.lr with mode follow, which has"),
        ({"mode": "follow", "where": "local"}, "mode: given follow with --where local; allowed: --where slurm"),
        ({"mode": "follow", "follow": "--efficiency=2"}, "efficiency: given 2.0; allowed: more than 0, 1 at most"),
        ({"mode": "follow", "follow": "--wait_s=-1"}, "wait_s: given -1.0; allowed: 0 s or more"),
        ({"mode": "follow", "follow": "--probe=none.json"}, "probe: given none.json"),
        ({"mode": "follow", "follow": "--network=measured"}, "network: given measured; allowed: a probe on 2 nodes"),
        ({"mode": "follow", "follow": "--nodes_follow=1:9"}, "follow: given --nodes_follow=1:9; allowed: the node "
         "counts of the study"),
        ({"mode": "follow", "follow": "--eficiency=1"}, "eficiency: given a flag that study plan --follow does not"),
        ({"mode": "follow", "follow": "now"}, "follow: given now; allowed: flags alone"),
        ({"mode": "follow", "follow": "--probe='x"}, "follow: given --probe='x; allowed: flags whose quotes close"),
        ({"mode": "adaptive", "follow": "--wait_s=1"}, "follow: given --wait_s=1; allowed: nothing without mode"),
        ({"nodes": "1,2,2"}, "nodes: given 1,2,2; allowed: each once"),
        ({"nodes": "0,1"}, "nodes: given 0,1; allowed: 1 or more"),
        ({"nodes": "one"}, "nodes: given one; allowed: whole numbers"),
        ({"repeats": 0}, "repeats: given 0; allowed: 1 or more"),
        ({"until": "perplexity=3"}, "until: given perplexity=3; allowed: accuracy=VALUE, the metric of this task"),
        ({"vary": ("policy=fixed,big_batch",), "until": "accuracy=0.9"}, "vary: given policy; allowed: another field: "
         "mode strong trains with policy fixed; type --mode adaptive"),
        ({"vary": ("optimizer.lr",)}, "vary: given optimizer.lr; allowed: FIELD=a,b"),
        ({"vary": ("epochs=ten,2",)}, "epochs: given ten; allowed: an integer"),
        ({"zipped": ("optimizer.lr=0.1,0.2",)}, "zip: given 2 values; allowed: 3, one a node count"),
        ({"zipped": ("global_batch=8,16,32",)}, "zip: given global_batch; allowed: another field: mode strong sets it"),
        ({"recipe": ("--epohcs", "3")}, "epohcs: given a field that does not exist"),
        ({"recipe": ("--out", "x")}, "out: given a field that does not exist"),
        ({"recipe": ("--config", "x.yaml")}, "config: given a second recipe"),
        ({"sbatch": "--nodes=3"}, "sbatch: given --nodes, which the study sets; allowed: --nodes of the study"),
        ({"sbatch": "-J name"}, "sbatch: given name; allowed: flags of one word each"),
        ({"sbatch": "--comment='open"}, "allowed: flags whose quotes close"),
        ({"sbatch": "--time=soon"}, "time: given soon; allowed: Slurm's times"),
        ({"sbatch": "--gres=gpu:v100:4", "ranks_per_node": 8}, "ranks_per_node: given 8; allowed: at most 4, the GPUs "
         "that the job asks for on each node"),
        ({"sbatch": "--gpus=4"}, "template: given --gpus=4; allowed: --gpus-per-node, which holds for any number"),
        ({"where": "local", "sbatch": "--account=a"}, "allowed: only --time with --where local"),
        ({"where": "local", "launcher": "srun"}, "launcher: given srun; allowed: mpirun with --where local"),
        ({"template": "nowhere.sbatch"}, "template: given nowhere.sbatch (FileNotFoundError)"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_said_with_what_can(make: Any, flags: dict[str, Any], line: str) -> None:
    with pytest.raises(InputError) as caught:
        make(**flags)
    assert line in str(caught.value)


def test_a_template_that_counts_tasks_over_all_nodes_is_refused(make: Any, tmp_path: Path) -> None:
    """sbatch would start so many ranks on any number of nodes, whatever --ntasks-per-node says."""
    path = template(tmp_path.parent, "#!/bin/bash\n#SBATCH --nodes=2\n#SBATCH -n 2\nexec true\n")
    with pytest.raises(InputError, match=r"template: given --ntasks=2; allowed: --ntasks-per-node"):
        make(template=str(path))


@pytest.mark.parametrize("name", ["a b", 'quo"te', "new\nline", "../up", "-flag", "", "x" * 65, "a'b", "ä"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(InputError) as caught:
        check_name(name)
    assert "letters, digits" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_study_is_what_it_was_after_the_file(make: Any) -> None:
    study = make(vary=("optimizer.lr=0.1,0.2",), zipped=("seed=1,2,3",), until=None, sbatch="--time=5 --comment='a b'")
    assert from_json(study.to_json()) == study
    assert study.sbatch == ("--time=5", "--comment=a b")
    with pytest.raises(InputError, match=r"study\.json"):
        from_json(study.to_json()[:-40])


def test_the_most_node_hours_follow_the_flag_before_the_template(make: Any) -> None:
    assert make(nodes="1,2").time_limit_s == 600
    study = make(nodes="1,2,4", repeats=5, sbatch="--time=00:20:00")
    assert study.node_hours(study.cells) == pytest.approx((1 + 2 + 4) * 5 / 3)


# --- pieces -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 1800),
        ("5:30", 330),
        ("1:00:00", 3600),
        ("2-0", 172800),
        ("1-2:30", 95400),
        ("1-02:03:04", 93784),
        ("UNLIMITED", None),
        ("", None),
    ],
)
def test_slurms_times(text: str, seconds: float | None) -> None:
    """The forms and their meanings are those of sbatch's manual page, --time."""
    assert time_limit_s(text) == seconds


def test_directives_end_at_the_first_command_and_comments_are_none() -> None:
    text = (
        "#!/bin/bash\n# words\n#SBATCH -N2 --gres=gpu:v100:4  # four\n##SBATCH --account=X\n\n"
        "#SBATCH --mem 0\nmodule load x\n#SBATCH --time=9\n"
    )
    assert directives(text) == {"nodes": "2", "gres": "gpu:v100:4", "mem": "0"}
    assert options(("-t5", "-p", "debug", "--exclusive")) == {"time": "5", "p": "debug", "exclusive": ""}


@pytest.mark.parametrize(
    ("asked", "gpus"),
    [
        ({"gres": "gpu:4"}, 4),
        ({"gres": "gpu:v100:2,craynetwork:1"}, 2),
        ({"gres": "shard:7,gpu"}, 1),
        ({"gpus-per-node": "a100:8"}, 8),
        ({"gres": "craynetwork:1"}, None),
        ({}, None),
    ],
)
def test_gpus_of_a_node(asked: dict[str, str], gpus: int | None) -> None:
    assert gpus_per_node(asked) == gpus


def test_flags_of_sbatch_are_words_of_their_own() -> None:
    assert split_flags("--account=abc --comment='two words' -pdebug") == (
        "--account=abc",
        "--comment=two words",
        "-pdebug",
    )


FIELDS = some.sampled_from(["policy", "optimizer.lr", "optimizer.name", "seed"])
VALUES = some.lists(some.text(alphabet="ab0.1/:_ -,'\n", min_size=0, max_size=8), min_size=1, max_size=4, unique=True)


@given(some.dictionaries(FIELDS, VALUES, max_size=3))
def test_labels_are_folders_and_differ(vary: dict[str, list[str]]) -> None:
    found = variants(vary)
    labels = [label for label, _ in found]
    assert len(set(labels)) == len(labels)
    assert all(re.fullmatch(r"[A-Za-z0-9.+-]*", label) for label in labels)
    assert all(len(cell_name("adaptive", 4096, label, 100)) < 100 for label in labels)


def test_labels_of_names_and_of_numbers() -> None:
    assert [label for label, _ in variants({"policy": ["fixed", "big_batch"], "optimizer.lr": ["0.1"]})] == [
        "fixed+lr-0.1",
        "big-batch+lr-0.1",
    ]
    assert variants({}) == [("", {})]


def grid() -> list[Cell]:
    return [
        replace(cell, name=cell_name(mode, cell.nodes, variant, cell.repeat), variant=variant)
        for mode in ("strong", "weak")
        for variant in ("fixed", "big-batch")
        for cell in cells((1, 2, 4, 16), 3, mode)
    ]


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("", lambda _: True),
        ("nodes<=4", lambda c: c.nodes <= 4),
        ("nodes<16, nodes > 1", lambda c: 1 < c.nodes < 16),
        ("nodes=1|16,mode=strong", lambda c: c.nodes in (1, 16) and c.mode == "strong"),
        ("variant=big-batch,repeat!=2", lambda c: c.variant == "big-batch" and c.repeat != 2),
        ("mode!=weak|strong", lambda _: False),
        ("repeat>=3", lambda c: c.repeat >= 3),
    ],
)
def test_filters(text: str, holds: Any) -> None:
    assert select(grid(), text) == [cell for cell in grid() if holds(cell)]


@pytest.mark.parametrize(
    "text", ["nodes", "nodes<=four", "ranks=3", "mode<=strong", "nodes<=1|2", "__import__('os')", ","]
)
def test_filters_that_are_none(text: str) -> None:
    with pytest.raises(InputError, match="cells: given"):
        select(grid(), text)


@pytest.fixture(scope="module")
def one_study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return planned(tmp_path_factory.mktemp("study"))[0]


@given(some.from_regex(NAME, fullmatch=True), some.integers(1, 9))
def test_no_two_cells_share_a_jobs_name(one_study: Study, name: str, attempt: int) -> None:
    """Slurm is asked by name; squeue --name takes commas between."""
    study = replace(one_study, name=name, cells=tuple(grid()))
    names = [study.job_name(cell.name, number) for cell in study.cells for number in range(1, attempt + 1)]
    assert len(set(names)) == len(names)
    assert all("," not in found and " " not in found and len(found) < 260 for found in names)
    for cell in study.cells:
        assert sum(found.startswith(study.job_prefix(cell.name)) for found in names) == attempt
