"""Every rule for 300 steps: all ranks must have the same batch, learning rate and cursor at each step.

agreement.py FOLDER
"""

import json
import sys
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset

import hpc_adabatch as hab

STEPS, SAMPLES = 300, 2000
cluster = hab.Cluster.start()
journal = Path(sys.argv[1]) / "journal.jsonl"
if cluster.rank == 0:
    lines = [{"kind": "start", "cursor": 0, "global_batch": 12, "learning_rate_factor": 1.0}]
    lines += [
        {"kind": "decision", "cursor": 97 * n, "global_batch": 7 + n, "learning_rate_factor": 1 / n}
        for n in range(1, 30)
    ]
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
cluster.barrier()
RULES = {
    "fixed": hab.Fixed(),
    "adabatch": hab.AdaBatch(factor=1.5, interval=0.3, lr_factor=0.9),
    "schedule": hab.Schedule(text="0:12 0.1ep:33 0.55ep:5 1.2ep:40"),
    "smith": hab.Smith(milestones=(0.2, 0.7, 1.1), decay=0.7),
    "seesaw": hab.Seesaw(milestones=(0.2, 0.7, 1.1), decay=0.7),
    "noise_scale": hab.NoiseScale(window=400, dwell=1, shrink=True),
    "norm_test": hab.NormTest(theta=0.5, window=400, dwell=1),
    "replay": hab.Replay(journal=str(journal)),
}
torch.manual_seed(0)
data = TensorDataset(torch.randn(SAMPLES, 6), torch.randint(0, 3, (SAMPLES,)))
for name, policy in RULES.items():
    model = torch.nn.Sequential()
    model.add_module(name, torch.nn.Linear(6, 3))
    training = hab.AdaptiveTraining(
        model,
        hab.LARS(hab.parameter_groups(model, weight_decay=1e-4), lr=5.0),
        hab.AdaptiveBatches(data, 12, max_global_batch=60, max_micro_batch=5, seed=4),
        cluster=cluster,
        policy=policy,
        learning_rate=hab.LearningRate("sqrt", warmup="legw", warmup_epochs=0.2),
        measure_every=3,
    )
    seen = []
    for epoch in range(100):
        for step in training.epoch(epoch):
            for inputs, targets in step:
                step.backward(cross_entropy(model(inputs), targets))
            step.update()
            seen.append((len(step.batch), training.last_rate, training.plan.samples_seen, training.global_batch))
            if training.steps == STEPS:
                break
        if training.steps == STEPS:
            break
    everyone = cluster.gather(seen)
    assert len(seen) == STEPS
    assert all(other == seen for other in everyone), f"{name}: ranks disagree"
    if cluster.rank == 0:
        print(f"{name}: {STEPS} steps agree, {len({batch for batch, *_ in seen})} batch sizes", flush=True)
cluster.stop()
