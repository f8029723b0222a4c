"""Sequences of unequal length, which a collate function pads to the longest one of a batch."""

import argparse

import horovod.torch as hvd
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence
from torch.utils import data

WORDS = 30


def sentences(count: int) -> list[tuple[torch.Tensor, int]]:
    """Returns sentences of 4 to 20 words, and which of the words 1 to 3 each has most often."""
    random = torch.Generator().manual_seed(1)
    lengths = torch.randint(4, 21, (count,), generator=random).tolist()
    words = [torch.randint(1, WORDS, (length,), generator=random) for length in lengths]
    return [(some, int(torch.bincount(some, minlength=4)[1:4].argmax())) for some in words]


def pad(samples: list[tuple[torch.Tensor, int]]) -> tuple[torch.Tensor, torch.Tensor]:
    words, labels = zip(*samples, strict=True)
    return pad_sequence(words, batch_first=True), torch.tensor(labels)


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(WORDS, 16, padding_idx=0), nn.Linear(16, 3)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        return self.head(self.embedding(words).sum(1))


def main(argv: list[str] | None = None) -> nn.Module:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch", type=int, default=32, help="sentences of a rank in an update")
    args = parser.parse_args(argv)

    hvd.init()
    torch.manual_seed(0)
    device = torch.device("cuda", hvd.local_rank()) if torch.cuda.is_available() else torch.device("cpu")
    train_set = sentences(1024)
    sampler = data.DistributedSampler(train_set, num_replicas=hvd.size(), rank=hvd.rank())
    loader = data.DataLoader(train_set, batch_size=args.batch, sampler=sampler, collate_fn=pad)

    model = Model().to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    hvd.broadcast_parameters(model.state_dict(), root_rank=0)
    optimizer = hvd.DistributedOptimizer(optimizer, named_parameters=model.named_parameters())

    for epoch in range(args.epochs):
        sampler.set_epoch(epoch)
        for updates, (words, labels) in enumerate(loader, 1):
            optimizer.zero_grad()
            loss = cross_entropy(model(words.to(device)), labels.to(device))
            loss.backward()
            optimizer.step()
        if hvd.rank() == 0:
            print(f"epoch {epoch + 1}: {updates} updates, last loss {loss.item():.4f}")
    return model


if __name__ == "__main__":
    main()
