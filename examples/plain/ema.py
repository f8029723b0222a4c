"""An exponential moving average of the weights, which is what is used in the end."""

import argparse
from copy import deepcopy

import horovod.torch as hvd
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils import data


@torch.no_grad()
def follow(average: nn.Module, model: nn.Module, decay: float) -> None:
    for mean, weight in zip(average.parameters(), model.parameters(), strict=True):
        mean.lerp_(weight, 1 - decay)


def main(argv: list[str] | None = None) -> nn.Module:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch", type=int, default=32, help="samples of a rank in an update")
    parser.add_argument("--decay", type=float, default=0.95, help="what an update leaves of the average")
    args = parser.parse_args(argv)

    hvd.init()
    torch.manual_seed(0)
    device = torch.device("cuda", hvd.local_rank()) if torch.cuda.is_available() else torch.device("cpu")
    pixels, labels = load_digits(return_X_y=True)
    inputs, targets = torch.tensor(pixels / 16.0).float(), torch.tensor(labels)
    train_set, (x, y) = data.TensorDataset(inputs[:1280], targets[:1280]), (inputs[1280:], targets[1280:])
    sampler = data.DistributedSampler(train_set, num_replicas=hvd.size(), rank=hvd.rank())
    loader = data.DataLoader(train_set, batch_size=args.batch, sampler=sampler)

    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05 * hvd.size(), momentum=0.9)
    hvd.broadcast_parameters(model.state_dict(), root_rank=0)
    optimizer = hvd.DistributedOptimizer(optimizer, named_parameters=model.named_parameters())
    ema = deepcopy(model)

    for epoch in range(args.epochs):
        sampler.set_epoch(epoch)
        for updates, (inputs, targets) in enumerate(loader, 1):
            optimizer.zero_grad()
            loss = cross_entropy(model(inputs.to(device)), targets.to(device))
            loss.backward()
            optimizer.step()
            follow(ema, model, args.decay)
        if hvd.rank() == 0:
            right = (ema(x.to(device)).argmax(1) == y.to(device)).float().mean()
            print(f"epoch {epoch + 1}: {updates} updates, accuracy of the average {right:.4f}")
    return ema


if __name__ == "__main__":
    main()
