"""Gradient checkpointing: activations are computed again in the backward pass instead of being kept."""

import argparse

import horovod.torch as hvd
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils import data
from torch.utils.checkpoint import checkpoint

import hpc_adabatch as hab


class Model(nn.Module):
    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(64, 64), nn.ReLU()) for _ in range(blocks))
        self.head = nn.Linear(64, 10)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            inputs = inputs + checkpoint(block, inputs, use_reentrant=False)
        return self.head(inputs)


def main(argv: list[str] | None = None) -> nn.Module:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch", type=int, default=32, help="samples of a rank in an update")
    parser.add_argument("--blocks", type=int, default=4)
    parser.add_argument("--grow", action="store_const", const=hab.AdaBatch(interval=1), help="batch doubles each epoch")
    args = parser.parse_args(argv)

    cluster = hab.Cluster.start()  # before Horovod's own start
    hvd.init()
    torch.manual_seed(0)
    device = torch.device("cuda", hvd.local_rank()) if torch.cuda.is_available() else torch.device("cpu")
    pixels, labels = load_digits(return_X_y=True)
    train_set = data.TensorDataset(torch.tensor(pixels[:1280] / 16.0).float(), torch.tensor(labels[:1280]))
    batches = hab.AdaptiveBatches(train_set, args.batch * hvd.size())

    model = Model(args.blocks).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02 * hvd.size(), momentum=0.9)
    training = hab.AdaptiveTraining(model, optimizer, batches, cluster=cluster, policy=args.grow)

    for epoch in range(args.epochs):
        for updates, step in enumerate(training.epoch(epoch), 1):
            for inputs, targets in step:
                loss = cross_entropy(model(inputs), targets)
                step.backward(loss)
            step.update()
        if hvd.rank() == 0:
            print(f"epoch {epoch + 1}: {updates} updates, last loss {loss.item():.4f}")
    return model


if __name__ == "__main__":
    main()
