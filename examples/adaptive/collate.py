"""Sequences of unequal length, which a collate function pads to the longest one of a batch."""

import argparse

import horovod.torch as hvd
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence

import hpc_adabatch as hab

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
    parser.add_argument("--grow", action="store_const", const=hab.AdaBatch(interval=1), help="batch doubles each epoch")
    args = parser.parse_args(argv)

    cluster = hab.Cluster.start()  # before Horovod's own start
    hvd.init()
    torch.manual_seed(0)
    device = torch.device("cuda", hvd.local_rank()) if torch.cuda.is_available() else torch.device("cpu")
    train_set = sentences(1024)
    batches = hab.AdaptiveBatches(train_set, args.batch * hvd.size(), collate=pad)

    model = Model().to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    training = hab.AdaptiveTraining(model, optimizer, batches, cluster=cluster, policy=args.grow)

    for epoch in range(args.epochs):
        for updates, step in enumerate(training.epoch(epoch), 1):
            for words, labels in step:
                loss = cross_entropy(model(words), labels)
                step.backward(loss)
            step.update()
        if hvd.rank() == 0:
            print(f"epoch {epoch + 1}: {updates} updates, last loss {loss.item():.4f}")
    return model


if __name__ == "__main__":
    main()
