"""An exponential moving average of the weights, which is what is used in the end."""

import argparse
from copy import deepcopy

import horovod.torch as hvd
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils import data

import hpc_adabatch as hab


@torch.no_grad()
def follow(average: nn.Module, model: nn.Module, decay: float) -> None:
    for mean, weight in zip(average.parameters(), model.parameters(), strict=True):
        mean.lerp_(weight, 1 - decay)


def main(argv: list[str] | None = None) -> nn.Module:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch", type=int, default=32, help="samples of a rank in an update")
    parser.add_argument("--decay", type=float, default=0.95, help="what an update leaves of the average")
    parser.add_argument("--grow", action="store_const", const=hab.AdaBatch(interval=1), help="batch doubles each epoch")
    args = parser.parse_args(argv)

    cluster = hab.Cluster.start()  # before Horovod's own start
    hvd.init()
    torch.manual_seed(0)
    device = torch.device("cuda", hvd.local_rank()) if torch.cuda.is_available() else torch.device("cpu")
    pixels, labels = load_digits(return_X_y=True)
    inputs, targets = torch.tensor(pixels / 16.0).float(), torch.tensor(labels)
    train_set, (x, y) = data.TensorDataset(inputs[:1280], targets[:1280]), (inputs[1280:], targets[1280:])
    batches = hab.AdaptiveBatches(train_set, args.batch * hvd.size())

    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05 * hvd.size(), momentum=0.9)
    ema = deepcopy(model)
    training = hab.AdaptiveTraining(model, optimizer, batches, cluster=cluster, policy=args.grow, also={"ema": ema})

    for epoch in range(args.epochs):
        for updates, step in enumerate(training.epoch(epoch), 1):
            for inputs, targets in step:
                step.backward(cross_entropy(model(inputs), targets))
            step.update()
            follow(ema, model, args.decay ** (len(step.batch) / batches.global_batch))
        if hvd.rank() == 0:
            right = (ema(x.to(device)).argmax(1) == y.to(device)).float().mean()
            print(f"epoch {epoch + 1}: {updates} updates, accuracy of the average {right:.4f}")
    return ema


if __name__ == "__main__":
    main()
