"""A script whose warm-up ends by its losses, lost at a step; then again.

warms_up.py FOLDER STEP

Its second start goes on, and compares with a run that was never lost: batches, rates and, on each rank, every bit.
"""

import os
import sys
from pathlib import Path

import torch
from torch.utils.data import TensorDataset

import hpc_adabatch as hab

folder, step_of_loss = Path(sys.argv[1]), int(sys.argv[2])
is_first = not folder.exists()
draw = torch.Generator().manual_seed(0)
inputs = torch.randn(96, 3, generator=draw)
targets = inputs @ torch.tensor([[1.0], [2.0], [-1.0]]) + 0.1 * torch.randn(96, 1, generator=draw)
cluster = hab.Cluster.start()
cluster.barrier()  # each has looked


def train(folder: Path, lost_at: int | None) -> tuple[list[torch.Tensor], list[tuple[int, float]]]:
    """Returns the last weights, and the batch and the rate of each step."""
    torch.manual_seed(1)
    model = torch.nn.Linear(3, 1)
    training = hab.AdaptiveTraining(
        model,
        torch.optim.SGD(model.parameters(), lr=1000.0, momentum=0.5),
        hab.AdaptiveBatches(TensorDataset(inputs, targets), 12, max_global_batch=24, max_micro_batch=3),
        cluster=cluster,
        policy=hab.Schedule(text="0:12 2ep:24"),
        learning_rate=hab.LearningRate(warmup="auto", decay="cosine", epochs=20),
        options=hab.LoopOptions(clip_norm=1.0, checkpoint_steps=5),
    )
    steps = []
    with hab.Run(folder, training, epochs=20) as run:
        for epoch in run.epochs():
            for step in run.epoch(epoch):
                for x, y in step:
                    step.backward(torch.nn.functional.mse_loss(model(x), y))
                step.update()
                steps.append((len(step.batch), training.last_rate))
                if training.steps == lost_at and cluster.rank == cluster.size - 1:
                    os._exit(9)
    return [parameter.detach().clone() for parameter in model.parameters()], steps


found, steps = train(folder, step_of_loss if is_first else None)
assert not is_first
expected, all_steps = train(folder.with_name("whole"), None)
assert len(all_steps) - step_of_loss <= len(steps) < len(all_steps), "it has begun anew"
assert steps == all_steps[-len(steps) :]
assert all(map(torch.equal, found, expected))
batches, rates = zip(*all_steps, strict=True)
held = batches.index(24)
assert 40 <= held < 80, "it ended at its top, or the batch was not held"  # 8 steps an epoch, 10 epochs at most
assert rates[held] < rates[held - 1] / 5
everywhere = cluster.gather(all_steps)
assert all(one == all_steps for one in everywhere)
cluster.stop()
print("the same")
