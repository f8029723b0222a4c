"""A network on folders of images, in the manner of Horovod's pytorch_imagenet_resnet50: warm-up, steps, checkpoints."""

import argparse
from pathlib import Path

import horovod.torch as hvd
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils import data

import hpc_adabatch as hab


def images(folder: str | None, samples: int) -> data.Dataset:
    """Returns a folder of images, a folder a class; without one random images of 32 x 32 pixels."""
    if folder is None:
        random = torch.Generator().manual_seed(samples)
        labels = torch.randint(10, (samples,), generator=random)
        noise = torch.randn(samples, 3, 32, 32, generator=random)
        return data.TensorDataset(noise + labels.view(-1, 1, 1, 1) / 5 - 1, labels)
    from torchvision import datasets, transforms

    prepare = transforms.Compose([transforms.RandomResizedCrop(224), transforms.ToTensor()])
    return datasets.ImageFolder(folder, prepare)


def network(name: str | None, classes: int) -> nn.Module:
    """Returns a network of torchvision; without a name a small one."""
    if name is not None:
        import torchvision

        return torchvision.models.get_model(name, num_classes=classes)
    convolutions = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(4))
    return nn.Sequential(convolutions, nn.Flatten(), nn.Linear(8 * 4 * 4, classes))


def accuracy(model: nn.Module, dataset: data.Dataset, device: torch.device) -> float:
    """Returns the part of the dataset that the model tells right, over all ranks."""
    sampler = data.DistributedSampler(dataset, num_replicas=hvd.size(), rank=hvd.rank())
    model.eval()
    with torch.no_grad():
        loader = data.DataLoader(dataset, batch_size=64, sampler=sampler)
        right = sum((model(x.to(device)).argmax(1) == y.to(device)).sum() for x, y in loader)
    model.train()
    return hvd.allreduce(right / len(sampler), name="accuracy").item()


def save(path: Path | None, epoch: int, parts: dict) -> None:
    if path is not None and hvd.rank() == 0:
        torch.save({"epoch": epoch, **{name: part.state_dict() for name, part in parts.items()}}, path)


def load(path: Path | None, parts: dict) -> int:
    """Returns the epoch to go on with."""
    if path is None or not path.exists():
        return 0
    saved = torch.load(path)
    for name, part in parts.items():
        part.load_state_dict(saved[name])
    return saved["epoch"]


def main(argv: list[str] | None = None) -> nn.Module:
    parser = argparse.ArgumentParser()
    parser.add_argument("--train_dir", help="folder of images, a folder a class")
    parser.add_argument("--val_dir", help="the same for validation")
    parser.add_argument("--model", help="name of a torchvision model")
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch", type=int, default=16, help="images of a rank in a pass")
    parser.add_argument("--passes", type=int, default=2, help="passes of a rank in an update")
    parser.add_argument("--lr", type=float, default=0.0125)
    parser.add_argument("--warmup", type=float, default=1.0, help="epochs")
    parser.add_argument("--milestones", type=float, nargs="*", default=[30.0, 60.0, 80.0], help="epochs")
    parser.add_argument("--checkpoint", type=Path, help="file, from which the same command goes on")
    parser.add_argument("--grow", action="store_const", const=hab.AdaBatch(interval=1), help="batch doubles each epoch")
    args = parser.parse_args(argv)

    cluster = hab.Cluster.start()  # before Horovod's own start
    hvd.init()
    torch.manual_seed(0)
    device = torch.device("cuda", hvd.local_rank()) if torch.cuda.is_available() else torch.device("cpu")
    train_set, val_set = images(args.train_dir, 256), images(args.val_dir, 64)
    batches = hab.AdaptiveBatches(train_set, args.batch * args.passes * hvd.size(), max_micro_batch=args.batch)

    model = network(args.model, args.classes).to(device)
    lr = args.lr * args.passes * hvd.size()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=5e-5)
    rate = hab.LearningRate(warmup="fixed", warmup_epochs=args.warmup, decay="step", milestones=args.milestones)
    training = hab.AdaptiveTraining(model, optimizer, batches, cluster=cluster, policy=args.grow, learning_rate=rate)
    parts = {"training": training}
    first = load(args.checkpoint, parts)

    for epoch in range(first, args.epochs):
        for updates, step in enumerate(training.epoch(epoch), 1):
            for inputs, targets in step:
                loss = cross_entropy(model(inputs.to(device)), targets.to(device))
                step.backward(loss)
            step.update()
        score = accuracy(model, val_set, device)
        if hvd.rank() == 0:
            print(f"epoch {epoch + 1}: {updates} updates, accuracy {score:.4f}")
        save(args.checkpoint, epoch + 1, parts)
    return model


if __name__ == "__main__":
    main()
