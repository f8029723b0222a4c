"""A script with dropout, batch normalisation and a batch that follows the noise, lost at its 13th step; then again.

goes_on.py FOLDER

Its second start goes on, and compares with a run that was never lost: on each rank every bit, also of what is its own.
"""

import os
import sys
from pathlib import Path

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import TensorDataset

import hpc_adabatch as hab

folder = Path(sys.argv[1])
is_first = not folder.exists()
draw = torch.Generator().manual_seed(0)
data = TensorDataset(torch.randn(300, 6, generator=draw), torch.randint(3, (300,), generator=draw))
cluster = hab.Cluster.start()
cluster.barrier()  # each has looked


def train(folder: Path, lost_at: int | None) -> tuple[dict[str, torch.Tensor], list[int]]:
    """Returns the last state of networks and generator, and the batches."""
    torch.manual_seed(1)  # the same on all ranks, as scripts have it
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.4), nn.Linear(8, 3))
    ema = AveragedModel(model)
    training = hab.AdaptiveTraining(
        model,
        torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9),
        hab.AdaptiveBatches(data, 12, max_global_batch=60, max_micro_batch=5),
        cluster=cluster,
        policy=hab.NoiseScale(window=100, dwell=1, shrink=True),
        options=hab.LoopOptions(measure_every=2, checkpoint_steps=5),
        also={"ema": ema},
    )
    masks = cluster.gather(nn.functional.dropout(torch.ones(64)).tolist())
    assert masks[0] != masks[1], "dropout drops the same on both ranks"
    batches = []
    with hab.Run(folder, training, epochs=2) as run:
        for epoch in run.epochs():
            for step in run.epoch(epoch):
                for inputs, targets in step:
                    step.backward(nn.functional.cross_entropy(model(inputs), targets))
                step.update()
                ema.update_parameters(model)
                batches.append(len(step.batch))
                if training.steps == lost_at and cluster.rank == 1:
                    os._exit(9)
    states = {f"model.{name}": value for name, value in model.state_dict().items()}
    states |= {f"ema.{name}": value for name, value in ema.state_dict().items()}
    return states | {"generator": torch.get_rng_state()}, batches


found, batches = train(folder, 13 if is_first else None)
assert not is_first
expected, all_batches = train(folder.with_name("whole"), None)
assert 5 <= len(all_batches) - len(batches) <= 13, "it has begun anew, or gone on from too early"
assert batches == all_batches[-len(batches) :]
assert len(set(all_batches)) > 3
assert [name for name, value in expected.items() if not torch.equal(found[name], value)] == []
own = cluster.gather(expected["model.1.running_mean"].tolist())
assert own[0] != own[1], "nothing has told the ranks' own buffers apart"
cluster.stop()
print("the same")
