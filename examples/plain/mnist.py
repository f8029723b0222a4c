"""Handwritten digits, in the manner of Horovod's pytorch_mnist: shared samples, averaged gradients and accuracy."""

import argparse

import horovod.torch as hvd
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils import data


def datasets(folder: str | None) -> tuple[data.Dataset, data.Dataset]:
    """Returns MNIST from a folder; without one scikit-learn's digits of 8 x 8 pixels."""
    if folder is not None:
        from torchvision import datasets, transforms

        shrink = transforms.Compose([transforms.Resize(8), transforms.ToTensor()])
        return tuple(datasets.MNIST(folder, train=train, transform=shrink) for train in (True, False))
    pixels, labels = load_digits(return_X_y=True)
    inputs, targets = torch.tensor(pixels / 16.0).float().view(-1, 1, 8, 8), torch.tensor(labels)
    return data.TensorDataset(inputs[:1280], targets[:1280]), data.TensorDataset(inputs[1280:], targets[1280:])


def main(argv: list[str] | None = None) -> nn.Module:
    parser = argparse.ArgumentParser()
    parser.add_argument("--mnist", help="folder of torchvision's MNIST")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batch", type=int, default=32, help="samples of a rank in an update")
    parser.add_argument("--lr", type=float, default=0.05)
    args = parser.parse_args(argv)

    hvd.init()
    torch.manual_seed(0)
    device = torch.device("cuda", hvd.local_rank()) if torch.cuda.is_available() else torch.device("cpu")
    train_set, test_set = datasets(args.mnist)
    sampler = data.DistributedSampler(train_set, num_replicas=hvd.size(), rank=hvd.rank())
    loader = data.DataLoader(train_set, batch_size=args.batch, sampler=sampler)
    test_sampler = data.DistributedSampler(test_set, num_replicas=hvd.size(), rank=hvd.rank())
    test_loader = data.DataLoader(test_set, batch_size=256, sampler=test_sampler)

    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 6 * 6, 10)).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr * hvd.size(), momentum=0.5)
    hvd.broadcast_parameters(model.state_dict(), root_rank=0)
    hvd.broadcast_optimizer_state(optimizer, root_rank=0)
    optimizer = hvd.DistributedOptimizer(optimizer, named_parameters=model.named_parameters())

    for epoch in range(args.epochs):
        model.train()
        sampler.set_epoch(epoch)
        for updates, (inputs, targets) in enumerate(loader, 1):
            optimizer.zero_grad()
            loss = cross_entropy(model(inputs.to(device)), targets.to(device))
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            right = sum((model(x.to(device)).argmax(1) == y.to(device)).sum() for x, y in test_loader)
        accuracy = hvd.allreduce(right / len(test_sampler), name="accuracy").item()
        if hvd.rank() == 0:
            print(f"epoch {epoch + 1}: {updates} updates, accuracy {accuracy:.4f}")
    return model


if __name__ == "__main__":
    main()
