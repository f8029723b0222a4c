"""Samples drawn with replacement, rare ones more often."""

import argparse

import horovod.torch as hvd
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils import data


def main(argv: list[str] | None = None) -> nn.Module:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch", type=int, default=32, help="samples of a rank in an update")
    args = parser.parse_args(argv)

    hvd.init()
    torch.manual_seed(0)
    device = torch.device("cuda", hvd.local_rank()) if torch.cuda.is_available() else torch.device("cpu")
    pixels, labels = load_digits(return_X_y=True)
    inputs, is_eight = torch.tensor(pixels / 16.0).float(), torch.tensor(labels == 8).float()
    train_set = data.TensorDataset(inputs[:1280], is_eight[:1280])
    weights = torch.where(is_eight[:1280] == 1, 9.0, 1.0)  # one digit of ten is an eight
    own = torch.Generator().manual_seed(hvd.rank())  # of this rank
    sampler = data.WeightedRandomSampler(weights, len(train_set) // hvd.size(), generator=own)
    loader = data.DataLoader(train_set, batch_size=args.batch, sampler=sampler)

    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1), nn.Flatten(0)).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05 * hvd.size(), momentum=0.9)
    hvd.broadcast_parameters(model.state_dict(), root_rank=0)
    optimizer = hvd.DistributedOptimizer(optimizer, named_parameters=model.named_parameters())

    for epoch in range(args.epochs):
        for updates, (inputs, targets) in enumerate(loader, 1):
            optimizer.zero_grad()
            loss = binary_cross_entropy_with_logits(model(inputs.to(device)), targets.to(device))
            loss.backward()
            optimizer.step()
        if hvd.rank() == 0:
            print(f"epoch {epoch + 1}: {updates} updates, last loss {loss.item():.4f}")
    return model


if __name__ == "__main__":
    main()
