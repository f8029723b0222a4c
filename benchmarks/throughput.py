"""Times images per second of this package's loop and of a bare PyTorch loop, interleaved in one run.

    python benchmarks/throughput.py DIR [--rounds 9] [--steps 6] [--batch 128] [--model resnet20] [--precision bfloat16]
    mpirun -np 2 python benchmarks/throughput.py DIR

DIR is an image folder (train/CLASS/*.jpg, test/CLASS/*.jpg). Alone, the bare loop is PyTorch's textbook loop; under a
launcher it is Horovod's textbook loop, with Horovod's own optimizer and one allreduce a step. Both loops crop, flip and
normalise whole micro-batches by the same function, and use the same precision, memory layout and optimizer. This
package's loop adds the plan, the decision, the exact weights, the journal and the agreement to stop.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy

from hpc_adabatch import AdaBatch, AdaptiveBatches, AdaptiveTraining, Cluster, parameter_groups
from hpc_adabatch.batches.keys import sample_keys
from hpc_adabatch.tasks import ImageFolder
from hpc_adabatch.training.journal import Journal


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=6, help="steps of each loop in a round")
    parser.add_argument("--batch", type=int, default=128, help="global batch")
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--precision", default="bfloat16", choices=["float32", "bfloat16"])
    flags = parser.parse_args()
    cluster = Cluster.start()
    task = ImageFolder(root=flags.folder, image_size=32)
    data = task.load()

    def forward(model: torch.nn.Module, inputs: torch.Tensor) -> torch.Tensor:
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        with torch.autocast(cluster.device.type, dtype=torch.bfloat16, enabled=flags.precision == "bfloat16"):
            outputs = model(inputs)
        return outputs.float()

    def bare() -> Callable[[], None]:
        model = task.model(flags.model, data).to(cluster.device)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
        if cluster.size > 1:
            import horovod.torch as hvd

            names = [(f"bare.{name}", parameter) for name, parameter in model.named_parameters()]
            optimizer = hvd.DistributedOptimizer(optimizer, named_parameters=names)
        images, targets = data.train.tensors  # type: ignore[attr-defined]
        local = flags.batch // cluster.size

        def step() -> None:
            chosen = torch.randint(len(images), (local,))
            inputs = data.augment(images[chosen].to(cluster.device), sample_keys(0, 0, chosen).to(cluster.device))
            cross_entropy(forward(model, inputs), targets[chosen].to(cluster.device)).backward()
            optimizer.step()
            optimizer.zero_grad()

        return step

    def ours(journal: Path) -> Callable[[], None]:
        model = task.model(flags.model, data).to(cluster.device)
        training = AdaptiveTraining(
            model,
            torch.optim.SGD(parameter_groups(model, 5e-4), lr=0.1, momentum=0.9),
            AdaptiveBatches(data.train, flags.batch, max_micro_batch=512, transform=data.augment),
            cluster=cluster,
            policy=AdaBatch(),
            journal=Journal(journal if cluster.leads else None),
        )
        steps = (step for epoch in range(10**6) for step in training.epoch(epoch))

        def one() -> None:
            step = next(steps)
            for inputs, targets in step:
                step.backward(cross_entropy(forward(model, inputs), targets))
            step.update()

        return one

    with tempfile.TemporaryDirectory() as folder:
        loops = {"bare": bare(), "ours": ours(Path(folder) / "journal.jsonl")}
        rates: dict[str, list[float]] = {name: [] for name in loops}
        for round_number in range(flags.rounds + 1):
            for name, step in list(loops.items())[:: 1 if round_number % 2 else -1]:
                cluster.barrier()
                began_s = time.perf_counter()
                for _ in range(flags.steps):
                    step()
                if cluster.device.type == "cuda":
                    torch.cuda.synchronize()
                cluster.barrier()
                if round_number:  # the first round warms up
                    rates[name].append(flags.steps * flags.batch / (time.perf_counter() - began_s))
    if cluster.leads:
        ratios = [b / a for a, b in zip(rates["bare"], rates["ours"], strict=True)]
        print(
            f"{flags.model}, global batch {flags.batch}, {flags.precision}, {cluster.size} rank(s) x "
            f"{torch.get_num_threads()} thread(s), {cluster.device.type}; {flags.rounds} rounds of {flags.steps} steps"
        )
        for name, values in rates.items():
            print(f"{name}: {statistics.median(values):8.1f} images/s   ({min(values):.1f} to {max(values):.1f})")
        print(f"ours / bare: {statistics.median(ratios):.3f}   ({min(ratios):.3f} to {max(ratios):.3f})")
    cluster.stop()


if __name__ == "__main__":
    main()
