"""Images per second, in the manner of Horovod's pytorch_synthetic_benchmark."""

import argparse
import time

import horovod.torch as hvd
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils import data

import hpc_adabatch as hab


def network(name: str | None, classes: int) -> nn.Module:
    """Returns a network of torchvision; without a name a small one."""
    if name is not None:
        import torchvision

        return torchvision.models.get_model(name, num_classes=classes)
    convolutions = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(4))
    return nn.Sequential(convolutions, nn.Flatten(), nn.Linear(8 * 4 * 4, classes))


def main(argv: list[str] | None = None) -> nn.Module:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", help="name of a torchvision model")
    parser.add_argument("--pixels", type=int, default=32, help="height and width of an image")
    parser.add_argument("--batch", type=int, default=8, help="images of a rank in an update")
    parser.add_argument("--updates", type=int, default=4, help="updates of an iteration")
    parser.add_argument("--iterations", type=int, default=3)
    parser.add_argument("--grow", action="store_const", const=hab.AdaBatch(interval=1), help="batch doubles each epoch")
    args = parser.parse_args(argv)

    cluster = hab.Cluster.start()  # before Horovod's own start
    hvd.init()
    torch.manual_seed(0)
    device = torch.device("cuda", hvd.local_rank()) if torch.cuda.is_available() else torch.device("cpu")
    images = args.batch * args.updates * hvd.size()
    train_set = data.TensorDataset(torch.randn(images, 3, args.pixels, args.pixels), torch.randint(1000, (images,)))
    batches = hab.AdaptiveBatches(train_set, args.batch * hvd.size())
    model = network(args.model, 1000).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01 * hvd.size())
    training = hab.AdaptiveTraining(model, optimizer, batches, cluster=cluster, policy=args.grow)

    speeds = []
    for iteration in range(args.iterations):
        began = time.perf_counter()
        for updates, step in enumerate(training.epoch(iteration), 1):
            for inputs, targets in step:
                step.backward(cross_entropy(model(inputs), targets))
            step.update()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        speeds.append(images / hvd.size() / (time.perf_counter() - began))
        if hvd.rank() == 0:
            print(f"iteration {iteration + 1}: {updates} updates, {speeds[-1]:.1f} img/sec per rank")
    mean, spread = torch.tensor(speeds).mean().item(), 1.96 * torch.tensor(speeds).std().item()
    if hvd.rank() == 0:
        print(f"total of {hvd.size()} ranks: {hvd.size() * mean:.1f} +- {hvd.size() * spread:.1f} img/sec")
    return model


if __name__ == "__main__":
    main()
