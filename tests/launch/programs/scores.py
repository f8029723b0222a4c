"""Scores of test sets that do not divide over the ranks, one of which has no sample: those of one process."""

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import hpc_adabatch as hab

cluster = hab.Cluster.start()
draw = torch.Generator().manual_seed(0)
inputs, targets = torch.randn(23, 4, generator=draw), torch.randn(23, generator=draw)
model = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 1))
for parameter in model.parameters():
    cluster.broadcast_(parameter, "weights")
statistics = torch.randn(3, 4, generator=draw)  # (ranks, 4)


def score(inputs: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
    error = (model(inputs)[:, 0] - targets).abs()
    return {"error": error, "large": error > 1}


for n_samples in (23, 7, 2):
    data = TensorDataset(inputs[:n_samples], targets[:n_samples])
    model[0].running_mean.copy_(statistics[cluster.rank])
    found = hab.evaluate(score, data, model=model, cluster=cluster, batch=3)
    torch.testing.assert_close(model[0].running_mean, statistics.mean(0))
    with torch.no_grad():
        expected = score(*data.tensors) if not model.eval().training else {}
    model.train()
    for name, values in expected.items():
        assert found[name] == pytest.approx(values.double().mean().item(), rel=1e-6), (n_samples, name)
    assert len(set(map(str, cluster.gather(found)))) == 1

own = slice(0, 5 if cluster.rank == 1 else 6)
with pytest.raises(hab.InputError, match=r"^dataset: given 5 samples .* on rank 1, 6 samples .* on rank 0"):
    hab.evaluate(score, TensorDataset(inputs[own], targets[own]), model=model, cluster=cluster)
few = TensorDataset(inputs[:2], targets[:2])
with pytest.raises(hab.InputError, match=r"^score.error: given \(\)"):  # on a rank without a sample, too
    hab.evaluate(lambda *of: {"error": score(*of)["error"].mean()}, few, model=model, cluster=cluster)
cluster.stop()
print("agreed")
