"""A text, word by word: the network predicts the next word, and the metric is perplexity.

Usually the text is cut into B streams, and the network's state is carried along each of them from step to step. The
order of the data, the state and the checkpoint then depend on B, and a batch that changes would break the streams. Here
a sample is one step of one stream by itself: a window of ``steps`` words, and before it the ``context``, from which the
state at the window's start is computed anew (models/lstm.py).

    text              w0 w1 w2 w3 w4 w5 w6 w7 w8 w9            steps = 3, context = 2
    sample 0    e  e [w0 w1 w2]                   -> w1 w2 w3  e: <eos>, before the text begins
    sample 1          w1 w2 [w3 w4 w5]            -> w4 w5 w6
    sample 2                w4 w5 [w6 w7 w8]      -> w7 w8 w9

    name         meaning                                                              unit
    batch B      streams trained side by side for one window: B times steps words     samples
    epoch        every window once, shuffled, for any batches
    loss         mean over all words of -log p(word)                                  nats
    perplexity   exp(loss) of the test text                                           words

Batches, statistics, shuffling and restarts are thus the same as for images. Windows do not overlap, and every word but
the first is predicted once an epoch; fewer than ``steps`` words at the end are left out. A word is predicted from the
``context`` + 1 to ``context`` + ``steps`` words before it, in testing as in training; with a context of 0 each window
starts from state 0. The context costs a pass of the LSTM without gradient and without the last layer; docs/text.md
shows its gain.

Words are split at white space, and each line ends with the word <eos>. The vocabulary is <unk>, <eos>, then the words
of the training text by frequency, and alphabetically if equally frequent. Perplexities can be compared for equal
vocabularies only, because <unk> is easy to predict.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset

from ..cluster import Cluster
from ..errors import InputError, require, whole
from .augment import AsStored, NoAugmentation
from .models.lstm import WordLstm, sizes
from .task import Task, TaskData

UNKNOWN, END = "<unk>", "<eos>"  # ids 0 and 1


@dataclass(frozen=True, kw_only=True)
class Text(Task):
    """A language model of two UTF-8 text files: one to train on, one to test.

    Raises:
        InputError: A field is out of range.
    """

    train: str = "data/train.txt"
    """Path of the training text."""
    test: str = "data/test.txt"
    """Path of the test text."""
    steps: int = 35
    """Number of words of a window, through which the gradient flows."""
    context: int = 35
    """Number of words before a window, from which the state at its start is computed; with 0 the state is 0."""
    vocabulary: int | None = None
    """Size of the vocabulary: the most frequent words, with <unk> and <eos>; null keeps all of the training text."""
    max_words: int | None = None
    """Number of words to read from the beginning of each text; null reads all."""

    metric: ClassVar[str] = "perplexity"
    larger_is_better: ClassVar[bool] = False
    default_model: ClassVar[str] = "lstm_2x200"  # the small one of Zaremba et al. 2014, https://arxiv.org/abs/1409.2329

    def __post_init__(self) -> None:
        steps, context, vocabulary, words = self.steps, self.context, self.vocabulary, self.max_words
        require(whole(steps) >= 1, "task.steps", steps, "1 or more", "--task.steps 35")
        require(whole(context) >= 0, "task.context", context, "0 or more", "--task.context 35")
        good = vocabulary is None or whole(vocabulary) >= 2
        require(good, "task.vocabulary", vocabulary, "2 or more: <unk>, <eos>, words", "--task.vocabulary 10000")
        more = f"more than task.steps ({steps})"
        require(words is None or whole(words) > steps, "task.max_words", words, more, "--task.max_words 100000")

    def load(self, cluster: Cluster | None = None) -> TaskData:
        ids = ids_of(self._words("train"), self.vocabulary)
        train, test = (self._windows(field, ids) for field in ("train", "test"))
        as_stored = AsStored(mean=(), std=())
        return TaskData(
            train=train,
            test=test,
            augment=NoAugmentation(as_stored),
            prepare=as_stored,
            sample_shape=(self.context + self.steps,),
            n_classes=len(ids),
        )

    def model(self, name: str, data: TaskData) -> nn.Module:
        layers, hidden = sizes(name)
        return WordLstm(layers, hidden, data.n_classes, self.context)

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Returns the mean loss of a word: outputs (samples, steps, words), targets (samples, steps) -> ()."""
        return cross_entropy(outputs.flatten(0, 1), targets.flatten())

    def score(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Returns the sum over samples of the mean loss of their words. Shape ()."""
        return cross_entropy(outputs.flatten(0, 1), targets.flatten(), reduction="sum") / targets.shape[1]

    def metric_of(self, mean_score: float) -> float:
        """Returns the perplexity for a mean loss of a word; infinite if it is too large for a float."""
        try:
            return math.exp(mean_score)
        except OverflowError:  # training has diverged
            return math.inf

    def _windows(self, field: str, ids: dict[str, int]) -> TensorDataset:
        found = np.fromiter((ids.get(word, 0) for word in self._words(field)), dtype=np.int64)
        allowed = f"a text of {self.steps + 1} words or more: one window, and the word after it"
        given = f"{getattr(self, field)} ({len(found)} words)"
        require(len(found) > self.steps, f"task.{field}", given, allowed, f"--task.{field} FILE")
        return windows(torch.from_numpy(found), self.steps, self.context)

    def _words(self, field: str) -> Iterator[str]:
        return islice(self._file(field), self.max_words)

    def _file(self, field: str) -> Iterator[str]:
        path = getattr(self, field)
        try:
            with Path(path).open(encoding="utf-8-sig") as lines:
                for line in lines:
                    yield from line.split()
                    yield END
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            allowed = "a text file in UTF-8"
            raise InputError(f"task.{field}", f"{path} ({reason})", allowed, f"--task.{field} FILE") from error


def ids_of(words: Iterable[str], size: int | None) -> dict[str, int]:
    """Returns the number of each word: <unk>, <eos>, then words by frequency, alphabetically if equally frequent.

    Args:
        words: Words of the training text.
        size: Largest size of the vocabulary; None for all words.
    """
    counts = Counter(words)
    ranked = sorted(counts.keys() - {UNKNOWN, END}, key=lambda word: (-counts[word], word))
    return {word: index for index, word in enumerate([UNKNOWN, END, *ranked][:size])}


def windows(words: torch.Tensor, steps: int, context: int) -> TensorDataset:
    """Returns the samples of a text, as views of one copy of it, however long the context is.

    Args:
        words: Numbers of the words, shape (words,), more than ``steps`` of them.
        steps: Words of a window.
        context: Words before a window.

    Returns:
        Inputs, shape (samples, context + steps), and targets, shape (samples, steps); int64.
    """
    n_samples = (len(words) - 1) // steps
    padded = torch.cat([words.new_full((context,), 1), words])  # <eos> before the text
    inputs = padded[: context + n_samples * steps].unfold(0, context + steps, steps)
    targets = padded[context + 1 : context + 1 + n_samples * steps].view(n_samples, steps)
    return TensorDataset(inputs, targets)
