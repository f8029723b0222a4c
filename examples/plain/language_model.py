"""A language model over sentences of unequal length: the loss is the mean over the words that are no padding."""

import argparse

import horovod.torch as hvd
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils import data

WORDS, LONGEST, PAD = 50, 16, 0


def sentences(count: int) -> torch.Tensor:
    """Returns sentences in which the word before tells the next one, most often. Shape (count, LONGEST)."""
    random = torch.Generator().manual_seed(1)
    follows = torch.randint(1, WORDS, (WORDS,), generator=random)
    words = torch.randint(1, WORDS, (count, LONGEST), generator=random)
    for place in range(1, LONGEST):
        usual = torch.rand(count, generator=random) < 0.8
        words[:, place] = torch.where(usual, follows[words[:, place - 1]], words[:, place])
    lengths = torch.randint(3, LONGEST + 1, (count, 1), generator=random)
    return words.where(torch.arange(LONGEST) < lengths, PAD)


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.lstm, self.head = (
            nn.Embedding(WORDS, 16),
            nn.LSTM(16, 32, batch_first=True),
            nn.Linear(32, WORDS),
        )

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        """Returns the mean loss over the words that follow others, padding left out."""
        outputs = self.head(self.lstm(self.embedding(words[:, :-1]))[0])
        return cross_entropy(outputs.flatten(0, 1), words[:, 1:].flatten(), ignore_index=PAD)


def main(argv: list[str] | None = None) -> nn.Module:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch", type=int, default=16, help="sentences of a rank in an update")
    args = parser.parse_args(argv)

    hvd.init()
    torch.manual_seed(0)
    device = torch.device("cuda", hvd.local_rank()) if torch.cuda.is_available() else torch.device("cpu")
    train_set, test = data.TensorDataset(sentences(640)[:512]), sentences(640)[512:].to(device)
    sampler = data.DistributedSampler(train_set, num_replicas=hvd.size(), rank=hvd.rank())
    loader = data.DataLoader(train_set, batch_size=args.batch, sampler=sampler)

    model = Model().to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    hvd.broadcast_parameters(model.state_dict(), root_rank=0)
    optimizer = hvd.DistributedOptimizer(optimizer, named_parameters=model.named_parameters())

    for epoch in range(args.epochs):
        sampler.set_epoch(epoch)
        for updates, (words,) in enumerate(loader, 1):
            words = words.to(device)
            count = (words[:, 1:] != PAD).sum()
            share = count / hvd.allreduce(count, op=hvd.Sum, name="words")
            optimizer.zero_grad()
            (model(words) * share * hvd.size()).backward()  # Horovod's mean over ranks becomes one over words
            optimizer.step()
        if hvd.rank() == 0:
            with torch.no_grad():
                print(f"epoch {epoch + 1}: {updates} updates, perplexity {model(test).exp().item():.2f}")
    return model


if __name__ == "__main__":
    main()
