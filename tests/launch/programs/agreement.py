"""Every rule for 120 steps: all ranks must have the same batch, learning rate and cursor at each step.

agreement.py FOLDER
"""

import json
import math
import sys
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset

import hpc_adabatch as hab

STEPS, SAMPLES = 120, 320
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
    "inner_product": hab.InnerProduct(theta=0.4, window=400, dwell=1),
    "cabs": hab.Cabs(window=400, dwell=1, shrink=True),
    "simigrad": hab.SimiGrad(window=400),
    "goodput": hab.Goodput(window=400, dwell=1, shrink=True, tolerance=0.0),
    "plateau": hab.Plateau(patience=1, factor=1.3, threshold=0.3),
    "big_batch": hab.BigBatch(theta=0.8),
}
VARIANTS: dict[str, dict[str, Any]] = {  # that decide more than the batch
    "big_batch armijo": {
        "policy": hab.BigBatch(theta=0.5),
        "step_size": hab.Armijo(1.0),
        "learning_rate": hab.LearningRate(),
    },
    "big_batch barzilai_borwein": {
        "policy": hab.BigBatch(theta=0.5),
        "step_size": hab.BarzilaiBorwein(1.0),
        "learning_rate": hab.LearningRate(),
    },
    "noise_scale adascale": {
        "policy": hab.NoiseScale(window=400, dwell=1, lower_lr=True),
        "learning_rate": hab.LearningRate("adascale", decay="cosine", epochs=5.0),
    },
    "schedule adascale": {
        "policy": hab.Schedule(text="0:12 0.1ep:33 0.55ep:5 1.2ep:40"),
        "learning_rate": hab.LearningRate("adascale"),
    },
    "noise_scale budget": {"policy": hab.NoiseScale(window=400, dwell=1)},  # rank 0's clock sets the pace
    "norm_test float16": {"policy": hab.NormTest(window=400, dwell=1), "scaler": torch.amp.GradScaler("cpu")},
}

torch.manual_seed(0)
inputs = torch.randn(SAMPLES, 6)
data = TensorDataset(inputs, (inputs[:, :3] + torch.randn(SAMPLES, 3)).argmax(1))
schedule = hab.LearningRate("sqrt", warmup="legw", warmup_epochs=0.2)
for name, given in ({rule: {"policy": policy} for rule, policy in RULES.items()} | VARIANTS).items():
    model = torch.nn.Sequential()
    model.add_module(name.replace(" ", "_"), torch.nn.Linear(6, 3))
    optimizer = hab.LARS(hab.parameter_groups(model, weight_decay=1e-4), lr=5.0)
    training = hab.AdaptiveTraining(
        model,
        torch.optim.SGD(model.parameters(), lr=1.0) if "step_size" in given else optimizer,
        hab.AdaptiveBatches(data, 12, max_global_batch=60, max_micro_batch=5, seed=4),
        cluster=cluster,
        options=hab.LoopOptions(measure_every=None if "budget" in name else 3),
        **({"learning_rate": schedule} | given),
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
    assert all(math.isfinite(rate) for _, rate, *_ in seen), name
    assert all(other == seen for other in everyone), f"{name}: ranks disagree"
    if cluster.rank == 0:
        print(f"{name}: {STEPS} steps agree, {len({batch for batch, *_ in seen})} batch sizes", flush=True)
cluster.stop()
