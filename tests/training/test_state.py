"""A script's checkpoints: whatever decides the next step is in them, and what is not theirs is refused in one line."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import TensorDataset

import hpc_adabatch as hab
from hpc_adabatch.cluster import SingleProcess
from hpc_adabatch.training import checkpoint

DRAW = torch.Generator().manual_seed(0)
DATA = TensorDataset(torch.randn(200, 6, generator=DRAW), torch.randint(3, (200,), generator=DRAW))


class Mixed:
    """A script's training: dropout, batch normalisation, a batch that follows the noise, an average of the weights."""

    def __init__(self, **given: Any) -> None:
        self.model = nn.Sequential(
            nn.Linear(6, 8), nn.BatchNorm1d(8, momentum=None), nn.ReLU(), nn.Dropout(0.4), nn.Linear(8, 3)
        )
        self.ema = AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
        arguments: dict[str, Any] = {
            "optimizer": hab.LAMB(hab.parameter_groups(self.model, weight_decay=1e-3), lr=0.02),
            "batches": hab.AdaptiveBatches(DATA, 12, max_global_batch=60, max_micro_batch=5, seed=3),
            "cluster": SingleProcess(),
            "policy": hab.NoiseScale(window=100, dwell=1, shrink=True),
            "learning_rate": hab.LearningRate("sqrt", warmup="legw", warmup_epochs=1),
            "options": hab.LoopOptions(measure_every=2),
            "also": {"ema": self.ema},
        }
        self.training = hab.AdaptiveTraining(self.model, **arguments | given)
        self.batches: list[int] = []

    def train(self, until: int) -> None:
        """Goes on to a step, drawing noise from three generators."""
        for epoch in self.training.epochs(100):
            for step in self.training.epoch(epoch):
                for inputs, targets in step:
                    noise = torch.rand(()) + random.random() + float(np.random.random())
                    step.backward(nn.functional.cross_entropy(self.model(inputs + 0.1 * noise), targets))
                step.update()
                self.ema.update_parameters(self.model)
                self.batches.append(len(step.batch))
                if self.training.steps == until:
                    return


def seed(number: int) -> None:
    torch.manual_seed(number)
    random.seed(number)
    np.random.seed(number)


def test_training_goes_on_from_the_middle_of_an_epoch_bit_by_bit(tmp_path: Path) -> None:
    """Bug story: with dropout or a rule that measures, a script's run that went on took 75 steps instead of 73."""
    seed(1)
    whole = Mixed()
    whole.train(until=9)
    whole.training.save(tmp_path)
    assert 0 < whole.training.plan.cursor < 200
    whole.train(until=40)
    assert len(set(whole.batches)) > 4
    after = torch.get_rng_state()

    seed(2)
    again = Mixed()
    assert again.training.load(tmp_path)
    assert again.training.steps == 9
    again.train(until=40)
    assert again.batches == whole.batches[9:]
    for one, other in ((again.model, whole.model), (again.ema, whole.ema)):
        for name, value in other.state_dict().items():
            assert torch.equal(one.state_dict()[name], value), name
    assert torch.equal(torch.get_rng_state(), after)


def test_where_nothing_is_saved_training_begins(tmp_path: Path) -> None:
    assert not Mixed().training.load(tmp_path / "nothing")


def test_a_damaged_file_gives_way_to_the_one_before(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = Mixed()
    for until in (3, 5):
        run.train(until)
        run.training.save(tmp_path)
    content = bytearray((tmp_path / "last.pt").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "last.pt").write_bytes(content)
    again = Mixed()
    assert again.training.load(tmp_path)
    assert again.training.steps == 3
    assert capfd.readouterr().err == f"adabatch: {tmp_path}/last.pt is damaged: kept as damaged.pt\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["damaged.pt", "previous.pt"]
    (tmp_path / "previous.pt").write_bytes(content)
    with pytest.raises(hab.InputError, match=r"given .*: previous.pt is damaged; allowed: a whole checkpoint"):
        Mixed().training.load(tmp_path)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"policy": hab.NoiseScale(window=100, dwell=2, shrink=True)}, "policy.dwell: given 2; allowed: 1, as in"),
        ({"policy": hab.AdaBatch()}, "policy: given AdaBatch; allowed: NoiseScale, as in the run that is resumed"),
        ({"learning_rate": hab.LearningRate("linear")}, "learning_rate.scaling: given 'linear'; allowed: 'sqrt'"),
        ({"options": hab.LoopOptions(measure_every=2, clip_norm=1.0)}, "clip_norm: given 1.0; allowed: None"),
        ({"batches": hab.AdaptiveBatches(DATA, 12, max_global_batch=60, seed=4)}, "seed: given 4; allowed: 3"),
        (
            {"batches": hab.AdaptiveBatches(TensorDataset(*DATA[:199]), 12, max_global_batch=60, seed=3)},
            "dataset: given 199 samples with the digest .*; allowed: 200 samples",
        ),
        ({"also": {"average": nn.Linear(1, 1)}}, "also.average: given an object without saved state; allowed: ema"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused_by_name(given: dict[str, Any], line: str, saved: Path) -> None:
    other = Mixed(**given)
    with pytest.raises(hab.InputError, match=f"^{line}"):
        other.training.load(saved)
    assert other.training.steps == 0


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a checkpoint after three steps."""
    folder = tmp_path_factory.mktemp("saved")
    run = Mixed()
    run.train(until=3)
    run.training.save(folder)
    return folder


def test_what_leaves_the_steps_alone_may_differ_and_smaller_passes_are_said(
    saved: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    options = hab.LoopOptions(measure_every=2, journal_every=3, checkpoint_steps=7)
    batches = hab.AdaptiveBatches(DATA, 12, max_global_batch=60, max_micro_batch=4, seed=3)
    assert Mixed(options=options, batches=batches).training.load(saved)
    assert capfd.readouterr().err.count("adabatch: max_micro_batch 4 instead of 5: passes of other sizes") == 1


def test_another_network_is_one_line(saved: Path) -> None:
    run = Mixed()
    run.model[0] = nn.Linear(7, 8)
    with pytest.raises(hab.InputError, match=r"checkpoint: given .*; allowed: the checkpoint of such a training"):
        run.training.load(saved)


def test_a_checkpoint_is_not_taken_within_a_step(tmp_path: Path) -> None:
    run = Mixed()
    for step in run.training.epoch(0):
        for inputs, targets in step:
            step.backward(nn.functional.cross_entropy(run.model(inputs), targets))
        with pytest.raises(RuntimeError, match=r"left without update\(\)"):
            run.training.save(tmp_path)
        break
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path, small_files: Any) -> None:
    run = Mixed()
    run.train(until=1)
    run.training.save(tmp_path)
    run.train(until=2)
    with small_files(2000), pytest.raises(hab.StorageError, match=r"last.pt cannot be written: File too large"):
        run.training.save(tmp_path)
    again = Mixed()
    assert again.training.load(tmp_path)
    assert again.training.steps == 1


class Best:
    """A script's own state."""

    def __init__(self, best: object) -> None:
        self.best = best

    def state_dict(self) -> dict[str, object]:
        return {"best": [self.best]}

    def load_state_dict(self, state: dict[str, list[object]]) -> None:
        (self.best,) = state["best"]


def test_what_no_file_can_hold_is_refused_where_it_is_saved(tmp_path: Path) -> None:
    """It would be noticed when it is read, and then be lost."""
    with pytest.raises(hab.InputError, match=r"^also.best: given a state with Path in it|with PosixPath in it"):
        Mixed(also={"best": Best(tmp_path)}).training.save(tmp_path)
    Mixed(also={"best": Best(0.5)}).training.save(tmp_path)
    best = Best(None)
    assert Mixed(also={"best": best}).training.load(tmp_path)
    assert best.best == 0.5
    with pytest.raises(hab.InputError, match=r"^also.best: given float: 0.5; allowed: an object with state_dict"):
        Mixed(also={"best": 0.5})


@pytest.mark.parametrize(("name", "wrong"), [("global_batch", 0), ("steps", -1), ("cursor", 201), ("epoch", -2)])
def test_numbers_out_of_their_ranges_are_one_line(name: str, wrong: int, saved: Path) -> None:
    """Bug story: a whole file with a batch of 0 ended in an IndexError."""
    state = torch.load(saved / "last.pt", weights_only=True)
    (state["training"]["plan"] if name in ("cursor", "epoch") else state["training"])[name] = wrong
    checkpoint.save(saved, state)
    with pytest.raises(hab.InputError, match=r"^checkpoint: given .*ValueError.*; allowed: the checkpoint of such a"):
        Mixed().training.load(saved)
