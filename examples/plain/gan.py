"""A GAN: a network that draws digits, a critic that tells them from true ones, and an optimizer for each."""

import argparse

import horovod.torch as hvd
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils import data

LATENT = 16


def told(answers: torch.Tensor, truth: float) -> torch.Tensor:
    return binary_cross_entropy_with_logits(answers, torch.full_like(answers, truth))


def main(argv: list[str] | None = None) -> nn.Module:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch", type=int, default=32, help="samples of a rank in an update")
    args = parser.parse_args(argv)

    hvd.init()
    torch.manual_seed(0)
    device = torch.device("cuda", hvd.local_rank()) if torch.cuda.is_available() else torch.device("cpu")
    pixels, _ = load_digits(return_X_y=True)
    truth = data.TensorDataset(torch.tensor(pixels[:1280] / 8.0 - 1.0).float())
    latents = data.TensorDataset(torch.randn(len(truth), LATENT))
    generator = nn.Sequential(nn.Linear(LATENT, 64), nn.ReLU(), nn.Linear(64, 64), nn.Tanh())
    critic = nn.Sequential(nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))
    both = nn.ModuleDict({"critic": critic, "generator": generator}).to(device)
    own = torch.Generator().manual_seed(hvd.rank())  # of this rank

    def judge(real: torch.Tensor) -> torch.Tensor:
        drawn = generator(torch.randn(len(real), LATENT, generator=own).to(device)).detach()
        return told(critic(real), 1.0) + told(critic(drawn), 0.0)

    def draw(latent: torch.Tensor) -> torch.Tensor:
        return told(critic(generator(latent)), 1.0)

    def prepare(name: str, dataset: data.Dataset):
        sampler = data.DistributedSampler(dataset, num_replicas=hvd.size(), rank=hvd.rank())
        loader = data.DataLoader(dataset, batch_size=args.batch, sampler=sampler)
        optimizer = torch.optim.Adam(both[name].parameters(), lr=0.0002 * hvd.size(), betas=(0.5, 0.999))
        hvd.broadcast_parameters(both[name].state_dict(), root_rank=0)
        names = both[name].named_parameters(prefix=name)
        return hvd.DistributedOptimizer(optimizer, named_parameters=names), loader

    players = [prepare("critic", truth), prepare("generator", latents)]
    for epoch in range(args.epochs):
        for _, loader in players:
            loader.sampler.set_epoch(epoch)
        for updates, batches in enumerate(zip(*(loader for _, loader in players), strict=True), 1):
            for (optimizer, _), (samples,), loss in zip(players, batches, (judge, draw), strict=True):
                critic.requires_grad_(loss is judge)  # else the loss of draw would start Horovod's sums for critic
                optimizer.zero_grad()
                loss(samples.to(device)).backward()
                optimizer.step()
        if hvd.rank() == 0:
            with torch.no_grad():
                print(f"epoch {epoch + 1}: {updates} updates, loss of draw {draw(latents.tensors[0].to(device)):.4f}")
    return both


if __name__ == "__main__":
    main()
