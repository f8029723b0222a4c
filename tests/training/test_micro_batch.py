"""Micro-batches that are found, and made smaller, in one process; with ranks in launch/test_smaller_passes.py.

Allocations fail for real: a loss asks for more memory than any machine has.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import Dataset, IterableDataset, TensorDataset

import hpc_adabatch as hab
from hpc_adabatch.cluster import SingleProcess
from hpc_adabatch.cluster.room import lacks_memory
from hpc_adabatch.study.job import last_cue
from hpc_adabatch.training import attempt
from hpc_adabatch.training.journal import Journal, read
from hpc_adabatch.training.micro_batch import MicroBatch, Verdict, doublings

DRAW = torch.Generator().manual_seed(0)
DATA = TensorDataset(torch.randn(300, 6, generator=DRAW), torch.randint(3, (300,), generator=DRAW))
FOREVER = 10**9


@pytest.fixture(autouse=True)
def _however_busy_the_machine_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt, "LONG_S", 1e9)


def exhaust() -> None:
    """Asks for an exbibyte."""
    torch.empty(2**60, dtype=torch.uint8)


class OneByOne(Dataset[Any]):
    def __len__(self) -> int:
        return 300

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return DATA[index][0] + torch.rand(()), DATA[index][1]


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter([DATA[number] for number in range(300)])


def together(samples: list[Any]) -> tuple[torch.Tensor, ...]:
    return tuple(torch.stack(parts) for parts in zip(*samples, strict=True))


class Script:
    """A script's training with everything that draws numbers or keeps a state, and a memory for so many samples.

    Args:
        max_micro_batch: That of the batches.
        journal: The journal's file.
        room: The samples of a pass for which there is memory, by step and by pass within the step.
    """

    def __init__(
        self,
        max_micro_batch: object,
        journal: Path | None = None,
        room: Callable[[int, int], int] = lambda *_: FOREVER,
        **how: Any,
    ) -> None:
        torch.manual_seed(3)
        random.seed(4)
        np.random.seed(5)
        self.model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.4), nn.Linear(8, 3))
        self._room, self.sizes = room, list[int]()
        of_batches = {"max_global_batch": 64, **how.pop("batches", {})}
        arguments: dict[str, Any] = {
            "optimizer": torch.optim.Adam(self.model.parameters(), lr=0.01),
            "policy": hab.NoiseScale(window=100, dwell=1, shrink=True),
            "options": hab.LoopOptions(measure_every=2),
        }
        batches = hab.AdaptiveBatches(
            **{"dataset": DATA, "global_batch": 24, "seed": 3, "max_micro_batch": max_micro_batch, **of_batches}
        )
        self.training = hab.AdaptiveTraining(
            self.model, batches=batches, cluster=SingleProcess(), journal=Journal(journal), **(arguments | how)
        )

    def loss(self, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(inputs))
        noise = torch.rand(()) + random.random() + float(np.random.random())
        outputs = self.model(inputs + 0.1 * noise)
        if len(inputs) > self._room(self.training.steps, len(self.sizes)):
            exhaust()
        return cross_entropy(outputs, targets)

    def train(self, until: int) -> None:
        for epoch in self.training.epochs(100):
            for step in self.training.epoch(epoch):
                self.sizes = []
                if self.training.micro_batch.is_auto:
                    step.backward_all(self.loss)
                else:
                    for inputs, targets in step:
                        step.backward(self.loss(inputs, targets))
                step.update()
                if self.training.steps == until:
                    return

    def state(self) -> dict[str, Any]:
        kept = self.training.state_dict()
        del kept["micro_batch"]
        return {**kept, "rng": torch.get_rng_state(), "python": random.getstate(), "numpy": np.random.get_state()}


def same(one: Any, other: Any) -> bool:
    """Bit by bit, whatever there is in dictionaries, lists and tuples."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, torch.Tensor | np.ndarray):
        return torch.equal(torch.as_tensor(one), torch.as_tensor(other))
    return one == other or (one != one and other != other)


WAYS: dict[str, dict[str, Any]] = {
    "tensors": {},
    "read one by one": {"batches": {"dataset": OneByOne()}},
    "collated": {"batches": {"dataset": OneByOne(), "collate": together}},
    "a stream": {"batches": {"dataset": Stream(), "samples_per_epoch": 300}},
    "draws": {"batches": {"weights": [1.0 + number % 3 for number in range(300)]}},
    "transformed": {"batches": {"transform": lambda inputs, keys: inputs + (keys % 7)[:, None] / 7}},
    "AdaScale, clipped": {"learning_rate": hab.LearningRate("adascale"), "options": hab.LoopOptions(clip_norm=0.5)},
    "a search for the step": {"step_size": hab.Armijo(alpha=0.3)},
    "float16": {"scaler": torch.amp.GradScaler("cpu", init_scale=2.0**8)},
}


@pytest.mark.parametrize("how", WAYS.values(), ids=WAYS)
def test_looking_for_a_size_leaves_no_trace(how: dict[str, Any], tmp_path: Path) -> None:
    """A run that has found 16 is the run that was given 16: weights, statistics, samples, all that is drawn later."""
    found = Script("auto", tmp_path / "journal.jsonl", lambda *_: 20, **copy.deepcopy(how))
    found.train(until=8)
    state = found.state()
    given = Script(16, **copy.deepcopy(how))
    given.train(until=8)
    assert found.training.micro_batch.largest == 16
    assert same(state, given.state())
    (told,) = (line for line in read(tmp_path / "journal.jsonl") if line["kind"] == "micro_batch")
    assert told["reason"] == "found before training: 32 do not fit on rank 0"
    assert told["tried"] == [1, 2, 4, 8, 16, 32]
    assert told["seconds"] > 0
    assert (told["step"], told["micro_batch"], told["passes"]) == (0, 12, 2)


@pytest.mark.parametrize("how", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("tight", [4, 5])  # of which one is measured
def test_a_step_that_ran_out_of_memory_is_made_again_bit_by_bit(
    tight: int, how: dict[str, Any], tmp_path: Path
) -> None:
    """As if the run had stopped before that step, and gone on in passes of half the size."""

    def room(step: int, passes: int) -> int:
        return 16 if step < tight or passes == 1 else 8  # the second pass of the step fails

    found = Script("auto", tmp_path / "journal.jsonl", room, **copy.deepcopy(how))
    found.train(until=10)
    state = found.state()
    first = Script(16, **copy.deepcopy(how))
    first.train(until=tight)
    first.training.save(tmp_path)
    second = Script(8, **copy.deepcopy(how))
    assert second.training.load(tmp_path)
    second.train(until=10)
    told = [line for line in read(tmp_path / "journal.jsonl") if line["kind"] == "micro_batch"]
    assert [(line["step"], line["max_micro_batch"]) for line in told] == [(0, 16), (tight, 8)]
    assert told[1]["reason"] == "passes of up to 16 samples were too large for 1 rank(s): all make the step again"
    assert last_cue(told[1]["reason"]) is None
    assert same(state, second.state())


def test_a_step_out_of_memory_while_it_is_lengthened_is_made_again_whole(tmp_path: Path) -> None:
    how: dict[str, Any] = {"policy": hab.BigBatch(theta=0.6), "options": None, "batches": {"max_global_batch": 200}}

    def room(step: int, passes: int) -> int:
        return 16 if step < 3 or passes < 4 else 8  # of two passes before it is lengthened

    found = Script("auto", tmp_path / "journal.jsonl", room, **how)
    found.train(until=6)
    state = found.state()
    lines = read(tmp_path / "journal.jsonl")
    assert any(line["kind"] == "step" for line in lines)
    at = [(line["step"], line["max_micro_batch"]) for line in lines if line["kind"] == "micro_batch"]
    assert at == [(0, 16), (at[1][0], 8)]
    first = Script(16, **how)
    first.train(until=at[1][0])
    first.training.save(tmp_path)
    second = Script(8, **how)
    assert second.training.load(tmp_path)
    second.train(until=6)
    assert same(state, second.state())


def test_a_transform_may_run_out_of_memory_too() -> None:
    """After a step that has searched its size, in which a pass is never made again."""
    most = [FOREVER]

    def transform(inputs: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        if len(inputs) > most[0]:
            exhaust()
        return inputs

    script = Script("auto", batches={"transform": transform}, step_size=hab.Armijo(alpha=0.3))
    script.train(until=3)
    assert script.training.micro_batch.largest == 64
    most[0] = 10
    script.train(until=4)
    assert script.training.micro_batch.largest == 6
    assert max(script.sizes) == 6


def test_a_run_that_goes_on_looks_for_nothing_and_is_the_same(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def room(step: int, *_: int) -> int:
        return 20 if step < 3 else 10

    whole = Script("auto", room=room)
    whole.train(until=5)
    whole.training.save(tmp_path)
    whole.train(until=9)
    expected = whole.state()
    again = Script("auto", tmp_path / "journal.jsonl", room)
    assert again.training.load(tmp_path)
    assert (again.training.micro_batch.largest, again.training.micro_batch.is_known) == (8, True)
    capfd.readouterr()
    again.train(until=9)
    assert capfd.readouterr().err == ""
    assert [line for line in read(tmp_path / "journal.jsonl") if line["kind"] == "micro_batch"] == []
    assert same(again.state(), expected)


def test_a_number_and_auto_may_take_each_others_place(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    found = Script("auto", room=lambda *_: 16)
    found.train(until=2)
    found.training.save(tmp_path / "found")
    given = Script(4)
    assert given.training.load(tmp_path / "found")
    assert given.training.micro_batch.largest == 4
    assert "max_micro_batch 4 instead of auto" in capfd.readouterr().err
    given.train(until=4)
    given.training.save(tmp_path / "given")
    found = Script("auto", room=lambda *_: 16)
    assert found.training.load(tmp_path / "given")
    assert not found.training.micro_batch.is_known
    found.train(until=6)
    assert found.training.micro_batch.largest == 16


def test_what_was_found_on_other_hardware_stays_and_is_said() -> None:
    here = Script("auto").training.micro_batch
    assert list(here.told()) == []
    here.load_state_dict({"found": 24, "on": "Tesla V100-SXM2-16GB"})
    assert here.largest == 24
    (line,) = here.told()
    assert line.startswith("max_micro_batch auto stays 24, as found on Tesla V100-SXM2-16GB; this is cpu")
    for wrong in (0, -1, 1.5, "12"):
        with pytest.raises((ValueError, TypeError)):
            here.load_state_dict({"found": wrong, "on": "cpu"})


def test_no_size_is_tried_that_no_step_can_need() -> None:
    for policy, most in ((hab.Fixed(), 24), (hab.Schedule(text="0:24 100sa:40"), 40), (hab.AdaBatch(), 64)):
        script = Script("auto", policy=policy, options=None)
        script.train(until=1)
        assert script.training.micro_batch.largest == most


@pytest.mark.parametrize(
    ("most", "sizes"), [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (8, [1, 2, 4, 8]), (9, [1, 2, 4, 8, 9])]
)
def test_doublings(most: int, sizes: list[int]) -> None:
    assert doublings(most) == sizes


FITS, FILLS, LACKS, REFUSES = Verdict.FITS, Verdict.FILLS, Verdict.LACKS, Verdict.REFUSES


class Ranks(SingleProcess):
    """One process that hears what others say."""

    def __init__(self, *others: dict[int, Verdict]) -> None:
        super().__init__()
        self.others, self.asked = others, list[int]()

    def gather(self, item: Any) -> list[Any]:
        return [item, *(other.get(self.asked[-1], FITS) for other in self.others)]


@pytest.mark.parametrize(
    ("others", "found", "tried"),
    [
        ([{}, {}], 64, 64),
        ([{}, {16: LACKS}], 8, 16),
        ([{8: LACKS}, {16: LACKS}], 4, 8),
        ([{32: FILLS}, {}], 32, 32),
        ([{32: FILLS}, {32: LACKS}], 16, 32),
        ([{1: REFUSES, 2: REFUSES}, {16: LACKS}], 8, 16),
    ],
)
def test_the_rank_with_the_least_memory_decides(others: list[dict[int, Verdict]], found: int, tried: int) -> None:
    ranks, script = Ranks(*others), Script("auto")
    micro_batch = MicroBatch(script.training.batches, hab.AdaBatch(), ranks)

    def attempt(samples: int) -> Verdict:
        ranks.asked.append(samples)
        return FITS

    told = micro_batch.find(attempt)
    assert (micro_batch.largest, told["max_micro_batch"], told["tried"][-1]) == (found, found, tried)
    assert ranks.asked == told["tried"]


@pytest.mark.usefixtures("in_a_script")
def test_where_not_even_one_sample_fits_it_is_one_line() -> None:
    before, after = (Script("auto", room=room) for room in (lambda *_: 0, lambda step, *_: 0 if step else 8))
    line = r"^max_micro_batch: given auto, which has tried 1 and 2 sample\(s\) a pass; allowed: a network that fits"
    with pytest.raises(hab.InputError, match=line):
        before.train(until=1)
    with pytest.raises(hab.InputError, match=r"one sample|batch normalisation of one position") as raised:
        after.train(until=2)
    assert raised.value.shared


def test_a_pass_that_takes_long_is_large_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt, "LONG_S", 0.0)
    script = Script("auto")
    script.train(until=1)
    assert script.training.micro_batch.largest == 2  # batch normalisation refuses 1


def test_a_network_that_takes_no_small_passes_is_tried_with_larger_ones() -> None:
    script = Script("auto", room=lambda *_: 20)
    script.model[3].register_forward_pre_hook(refuse_fewer_than_five)
    script.train(until=2)
    assert script.training.micro_batch.largest == 16


def refuse_fewer_than_five(_: nn.Module, inputs: tuple[torch.Tensor]) -> None:
    if len(inputs[0]) < 5:
        raise ValueError("five at least")


def test_a_fault_of_the_network_is_no_size_that_does_not_fit() -> None:
    script = Script("auto")
    script.model[3].register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="a fault"):
        script.train(until=1)
    script = Script("auto")
    script.train(until=1)
    script.model[3].register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="a fault"):
        script.train(until=2)


def fail(*_: object) -> None:
    raise RuntimeError("a fault")


def test_with_a_number_running_out_of_memory_ends_as_before() -> None:
    script = Script(16, room=lambda *_: 8)
    step = next(script.training.epoch(0))
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        step.backward_all(script.loss)


@pytest.mark.usefixtures("in_a_script")
def test_a_loop_of_ones_own_is_told_what_to_write() -> None:
    step = next(Script("auto").training.epoch(0))
    line = (
        r"^max_micro_batch: given auto, in a loop over the micro-batches; allowed: a number there; or step.backward_all"
    )
    with pytest.raises(hab.InputError, match=line):
        list(step)


def test_losses_with_weights_and_samples_of_any_form() -> None:
    data = [{"x": row, "y": int(target)} for row, target in DATA]
    weights = []
    for how in (4, "auto"):
        torch.manual_seed(0)
        model = nn.Linear(6, 3)
        batches = hab.AdaptiveBatches(data, 12, max_micro_batch=how, seed=1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        loop = hab.AdaptiveTraining(model, optimizer, batches, cluster=SingleProcess())

        def loss(samples: dict[str, torch.Tensor], model: nn.Module = model) -> tuple[torch.Tensor, torch.Tensor]:
            if len(samples["y"]) > 7:
                exhaust()
            return cross_entropy(model(samples["x"]), samples["y"]), (samples["y"] > 0).sum()

        for step in loop.epoch(0):
            step.backward_all(loss)
            step.update()
        assert loop.micro_batch.largest == 4
        weights.append(model.weight)
    assert torch.equal(*weights)


@pytest.mark.parametrize(
    ("error", "lacks"),
    [
        (MemoryError(), True),
        (torch.cuda.OutOfMemoryError("CUDA out of memory."), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("can't allocate memory"), False),
    ],
)
def test_what_says_that_memory_was_too_small(error: Exception, lacks: bool) -> None:
    assert lacks_memory(error) == lacks
    with pytest.raises(RuntimeError) as raised:
        exhaust()
    assert lacks_memory(raised.value)
