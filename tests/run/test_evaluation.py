"""Every test sample once, whatever the passes."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import Dataset, TensorDataset

from hpc_adabatch.cluster import SingleProcess
from hpc_adabatch.run.evaluation import evaluate
from hpc_adabatch.tasks import Digits, TaskData

pytestmark = pytest.mark.long


class Listed(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """The same samples, read one by one."""

    def __init__(self, whole: TensorDataset) -> None:
        self._whole = whole

    def __len__(self) -> int:
        return len(self._whole)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, ...]:  # type: ignore[override]
        return self._whole[index]


@pytest.mark.parametrize("batch", [1, 7, 359, 360, 1000])
@pytest.mark.parametrize("in_memory", [True, False])
def test_the_metric_is_that_of_the_whole_test_set(batch: int, in_memory: bool) -> None:
    if batch == 1 and not in_memory:
        batch = 50
    task = Digits()
    data = task.load()
    torch.manual_seed(0)
    model = task.model("small_cnn", data)
    test = data.test if in_memory else Listed(data.test)  # type: ignore[arg-type]
    split = TaskData(**{**data.__dict__, "test": test})
    found = evaluate(model, model, task, split, SingleProcess(), batch=batch)
    images, targets = data.test.tensors  # type: ignore[attr-defined]
    with torch.no_grad():
        outputs = model(data.prepare(images))
    assert found["samples"] == 360
    assert found["accuracy"] == pytest.approx((outputs.argmax(1) == targets).double().mean().item(), abs=1e-9)
    assert found["loss"] == pytest.approx(torch.nn.functional.cross_entropy(outputs, targets).item(), rel=1e-5)
    assert model.training
