"""A stream of samples, which has an order of its own and no index."""

import argparse
from collections.abc import Iterator

import horovod.torch as hvd
import torch
from torch import nn
from torch.nn.functional import mse_loss
from torch.utils import data

import hpc_adabatch as hab


class Readings(data.IterableDataset):
    """Readings of an instrument, others in each epoch."""

    def __init__(self, samples: int) -> None:
        self.samples, self.epoch = samples, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        random = torch.Generator().manual_seed(self.epoch)
        for _ in range(self.samples):
            reading = torch.rand(3, generator=random)
            yield reading, reading.prod().view(1)


def main(argv: list[str] | None = None) -> nn.Module:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch", type=int, default=16, help="samples of a rank in an update")
    parser.add_argument("--samples", type=int, default=1024, help="length of the stream")
    parser.add_argument("--grow", action="store_const", const=hab.AdaBatch(interval=1), help="batch doubles each epoch")
    args = parser.parse_args(argv)

    cluster = hab.Cluster.start()  # before Horovod's own start
    hvd.init()
    torch.manual_seed(0)
    device = torch.device("cuda", hvd.local_rank()) if torch.cuda.is_available() else torch.device("cpu")
    stream = Readings(args.samples)
    batches = hab.AdaptiveBatches(stream, args.batch * hvd.size(), samples_per_epoch=args.samples)

    model = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 1)).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05 * hvd.size(), momentum=0.9)
    training = hab.AdaptiveTraining(model, optimizer, batches, cluster=cluster, policy=args.grow)

    for epoch in range(args.epochs):
        for updates, step in enumerate(training.epoch(epoch), 1):
            for inputs, targets in step:
                loss = mse_loss(model(inputs), targets)
                step.backward(loss)
            step.update()
        if hvd.rank() == 0:
            print(f"epoch {epoch + 1}: {updates} updates, last loss {loss.item():.5f}")
    return model


if __name__ == "__main__":
    main()
