"""A stream of samples, which has an order of its own and no index."""

import argparse
from collections.abc import Iterator
from itertools import islice

import horovod.torch as hvd
import torch
from torch import nn
from torch.nn.functional import mse_loss
from torch.utils import data


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


class Share(data.IterableDataset):
    """Every sample of a stream whose turn is this rank's."""

    def __init__(self, stream: data.IterableDataset) -> None:
        self.stream = stream

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        return islice(self.stream, hvd.rank(), None, hvd.size())


def main(argv: list[str] | None = None) -> nn.Module:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch", type=int, default=16, help="samples of a rank in an update")
    parser.add_argument("--samples", type=int, default=1024, help="length of the stream")
    args = parser.parse_args(argv)

    hvd.init()
    torch.manual_seed(0)
    device = torch.device("cuda", hvd.local_rank()) if torch.cuda.is_available() else torch.device("cpu")
    stream = Readings(args.samples)
    loader = data.DataLoader(Share(stream), batch_size=args.batch)

    model = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 1)).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05 * hvd.size(), momentum=0.9)
    hvd.broadcast_parameters(model.state_dict(), root_rank=0)
    optimizer = hvd.DistributedOptimizer(optimizer, named_parameters=model.named_parameters())

    for epoch in range(args.epochs):
        stream.set_epoch(epoch)
        for updates, (inputs, targets) in enumerate(loader, 1):
            optimizer.zero_grad()
            loss = mse_loss(model(inputs.to(device)), targets.to(device))
            loss.backward()
            optimizer.step()
        if hvd.rank() == 0:
            print(f"epoch {epoch + 1}: {updates} updates, last loss {loss.item():.5f}")
    return model


if __name__ == "__main__":
    main()
