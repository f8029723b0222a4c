"""A script's scores: each sample counts once, and what is no score of samples is refused in one line."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import Dataset, TensorDataset

import hpc_adabatch as hab
from hpc_adabatch.cluster import SingleProcess

DRAW = torch.Generator().manual_seed(0)
INPUTS, LABELS = torch.randn(23, 5, generator=DRAW), torch.randint(3, (23,), generator=DRAW)
MODEL = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 3))


class Dicts(Dataset[dict[str, Any]]):
    """The same samples as dicts, read one by one."""

    def __len__(self) -> int:
        return len(INPUTS)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"x": INPUTS[index], "label": int(LABELS[index]), "name": f"sample {index}"}


def of_pair(inputs: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
    outputs = MODEL(inputs)
    return {
        "loss": cross_entropy(outputs, labels, reduction="none"),
        "accuracy": outputs.argmax(1) == labels,
        "absolute": outputs.abs(),  # of shape (samples, 3): their sum counts
    }


def of_dict(sample: dict[str, Any]) -> dict[str, torch.Tensor]:
    assert all(name.startswith("sample ") for name in sample["name"])
    return of_pair(sample["x"], sample["label"])


@pytest.mark.parametrize("batch", [1, 5, 23, 100])
@pytest.mark.parametrize(("dataset", "score"), [(TensorDataset(INPUTS, LABELS), of_pair), (Dicts(), of_dict)])
def test_scores_are_means_over_all_samples(dataset: Any, score: Any, batch: int) -> None:
    MODEL.train()
    MODEL[1].eval()  # frozen by the script, and left so
    found = hab.evaluate(score, dataset, model=MODEL, cluster=SingleProcess(), batch=batch)
    assert [module.training for module in MODEL] == [True, False, True, True]
    assert MODEL.training
    with torch.no_grad():
        outputs = MODEL.eval()(INPUTS)
    assert found == {
        "loss": pytest.approx(cross_entropy(outputs, LABELS).item(), rel=1e-6),
        "accuracy": pytest.approx((outputs.argmax(1) == LABELS).double().mean().item()),
        "absolute": pytest.approx(outputs.abs().sum(1).mean().item(), rel=1e-6),
    }


WRONG: dict[str, tuple[Any, str]] = {
    "a mean": (
        lambda outputs, labels: cross_entropy(outputs, labels),
        r"\(\); allowed: a tensor of shape \(4, \.\.\.\)",
    ),
    "a list": (lambda outputs, _: [0.1] * len(outputs), r"list; .*type cross_entropy\(.*reduction=\"none\"\)"),
    "too few": (lambda outputs, _: outputs[:1], r"\(1, 3\); allowed: a tensor of shape \(4, \.\.\.\)"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_number_for_each_sample_is_refused(case: str) -> None:
    """A mean over each batch would weigh the samples of the last one more than others."""
    values, line = WRONG[case]
    dataset = TensorDataset(INPUTS, LABELS)
    with pytest.raises(hab.InputError, match=f"^score.loss: given {line}"):
        hab.evaluate(
            lambda inputs, labels: {"loss": values(MODEL(inputs), labels)},
            dataset,
            model=MODEL,
            cluster=SingleProcess(),
            batch=4,
        )


@pytest.mark.parametrize(("batch", "workers"), [(4, 0), (10, 0), (3, 1)])
def test_samples_of_different_lengths_are_collated_as_in_training(batch: int, workers: int) -> None:
    words = [torch.arange(1.0, 2 + index % 5) for index in range(10)]

    def padded(samples: list[torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"words": nn.utils.rnn.pad_sequence(samples, batch_first=True)}

    def score(found: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"sum": found["words"].sum(1), "words": found["words"] > 0}

    how = {"batch": batch, "workers": workers}
    found = hab.evaluate(score, words, model=MODEL, cluster=SingleProcess(), **how, collate=padded)  # type: ignore[arg-type]
    assert found == {"sum": 7.0, "words": 3.0}  # 1, 3, 6, 10 and 15 of 1 to 5 words


def test_a_stream_and_an_empty_dataset_are_refused() -> None:
    with pytest.raises(hab.InputError, match=r"^dataset: given generator; allowed: a map-style dataset, which has"):
        hab.evaluate(of_pair, (pair for pair in ()), model=MODEL, cluster=SingleProcess())  # type: ignore[arg-type]
    dataset = TensorDataset(INPUTS[:0], LABELS[:0])
    with pytest.raises(hab.InputError, match=r"^dataset: given 0 samples; allowed: 1 or more"):
        hab.evaluate(of_pair, dataset, model=MODEL, cluster=SingleProcess())
