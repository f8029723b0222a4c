"""Mixed precision with a scaled loss, and gradients accumulated over several passes."""

import argparse

import horovod.torch as hvd
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils import data


def main(argv: list[str] | None = None) -> nn.Module:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch", type=int, default=16, help="samples of a rank in a pass")
    parser.add_argument("--passes", type=int, default=2, help="passes of a rank in an update")
    args = parser.parse_args(argv)

    hvd.init()
    torch.manual_seed(0)
    device = torch.device("cuda", hvd.local_rank()) if torch.cuda.is_available() else torch.device("cpu")
    half = torch.float16 if torch.cuda.is_available() else torch.bfloat16
    pixels, labels = load_digits(return_X_y=True)
    train_set = data.TensorDataset(torch.tensor(pixels[:1280] / 16.0).float(), torch.tensor(labels[:1280]))
    sampler = data.DistributedSampler(train_set, num_replicas=hvd.size(), rank=hvd.rank())
    loader = data.DataLoader(train_set, batch_size=args.batch * args.passes, sampler=sampler)

    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05 * hvd.size(), momentum=0.9)
    scaler = torch.amp.GradScaler(device.type)
    hvd.broadcast_parameters(model.state_dict(), root_rank=0)
    names = model.named_parameters()
    optimizer = hvd.DistributedOptimizer(optimizer, named_parameters=names, backward_passes_per_step=args.passes)

    for epoch in range(args.epochs):
        sampler.set_epoch(epoch)
        for updates, (inputs, targets) in enumerate(loader, 1):
            optimizer.zero_grad()
            step = zip(inputs.split(args.batch), targets.split(args.batch), strict=True)
            for inputs, targets in step:
                with torch.autocast(device.type, half):
                    loss = cross_entropy(model(inputs.to(device)), targets.to(device))
                scaler.scale(loss / args.passes).backward()
            optimizer.synchronize()
            scaler.unscale_(optimizer)
            with optimizer.skip_synchronize():
                scaler.step(optimizer)
            scaler.update()
        if hvd.rank() == 0:
            print(f"epoch {epoch + 1}: {updates} updates, last loss {loss.item():.4f}")
    return model


if __name__ == "__main__":
    main()
