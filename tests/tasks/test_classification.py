"""Label smoothing: as in the paper's formula in training, absent from the test loss."""

from __future__ import annotations

from math import nan

import pytest
import torch
from torch.utils.data import TensorDataset

from hpc_adabatch.cluster import SingleProcess
from hpc_adabatch.errors import InputError
from hpc_adabatch.run.evaluation import evaluate
from hpc_adabatch.tasks import Cifar10, Digits, ImageFolder, ImageNet
from hpc_adabatch.tasks.augment import NoAugmentation, Prepare
from hpc_adabatch.tasks.task import TaskData

OUTPUTS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 1.0, -2.0]])
TARGETS = torch.tensor([0, 2])


def test_smoothing_by_the_formula() -> None:
    """(1 - e) times the cross-entropy with the target, e times the mean of that with every class."""
    losses = OUTPUTS.exp().sum(1, keepdim=True).log() - OUTPUTS  # (samples, classes)
    plain = torch.stack([losses[0, 0], losses[1, 2]]).mean()
    task = Digits(label_smoothing=0.2)
    torch.testing.assert_close(task.loss(OUTPUTS, TARGETS), 0.8 * plain + 0.2 * losses.mean())
    torch.testing.assert_close(task.evaluation_loss(OUTPUTS, TARGETS), plain)
    torch.testing.assert_close(Digits().loss(OUTPUTS, TARGETS), plain)


def test_smoothing_is_least_at_the_smoothed_target() -> None:
    """With 3 classes and e = 0.3 the best answer is 0.8, 0.1, 0.1, not certainty."""
    task, target = ImageFolder(label_smoothing=0.3), torch.tensor([0])
    best = torch.tensor([[0.8, 0.1, 0.1]]).log()
    for other in (best * 1.1, best * 0.9, torch.tensor([[9.0, 0.0, 0.0]])):
        assert task.loss(other, target) > task.loss(best, target)
    assert Digits().loss(torch.tensor([[9.0, 0.0, 0.0]]), target) < Digits().loss(best, target)


def test_the_test_set_is_measured_without_smoothing() -> None:
    inputs = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([0, 1, 2, 0, 1, 2, 0])
    data = TaskData(
        train=TensorDataset(inputs, targets),
        test=TensorDataset(inputs, targets),
        augment=NoAugmentation(Prepare((), ())),
        prepare=lambda stored: stored,  # type: ignore[arg-type]
        sample_shape=(3,),
        n_classes=3,
    )
    model = torch.nn.Identity()
    found = [
        evaluate(model, model, Digits(label_smoothing=e), data, SingleProcess(), batch=3)["loss"] for e in (0.0, 0.9)
    ]
    assert found[0] == found[1] == pytest.approx(torch.nn.functional.cross_entropy(inputs, targets).item())


@pytest.mark.parametrize("task", [Digits, Cifar10, ImageFolder, ImageNet])
@pytest.mark.parametrize("smoothing", [-0.1, 1.0, nan])
def test_smoothing_out_of_range_is_refused_in_one_line(task: type[Digits], smoothing: float) -> None:
    with pytest.raises(InputError, match=r"^task\.label_smoothing: given .*; type --task\.label_smoothing 0\.1$"):
        task(label_smoothing=smoothing)
