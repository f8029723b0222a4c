"""LSTM networks by name, ``lstm_LxH``: L layers of H units, over the rows of an image or over the words of a text.

Hochreiter & Schmidhuber 1997, https://doi.org/10.1162/neco.1997.9.8.1735, with forget gates, as torch.nn.LSTM has it.

    image   row 1 -> row 2 -> ... -> last row -> classes       a row is one step: channels x width numbers

    text    c c c c c | w  w  w  w  w  w  w                    context, then window
            ------->  | ------------------->
            no gradient | word after each, with gradient

The state with which a window starts is computed from its context by the weights that there are now; the gradient stops
at the window's first word (truncated back-propagation). Carrying the state over from the step before would tie each
sample to the one before it, and the order of all samples to the batch. Computing it anew from a stretch of the past is
the burn-in of Kapturowski et al. 2019 (R2D2), https://openreview.net/forum?id=r1lyTjAqYX, section 3.

Weights start uniform between -1/sqrt(H) and 1/sqrt(H), the embedding's and the last layer's too; biases at 0, those of
forget gates at 1 (Jozefowicz, Zaremba & Sutskever 2015, https://proceedings.mlr.press/v37/jozefowicz15.html). There is
no dropout, and no weight is tied.

Not here: how a text becomes windows with their context (tasks/text.py).
"""

from __future__ import annotations

import re

import torch
from torch import nn

from ...errors import InputError

NAME = re.compile(r"lstm_([1-9]\d*)x([1-9]\d*)")
EXAMPLE = "lstm_1x128"


def sizes(name: str) -> tuple[int, int]:
    """Layers and units a layer of the network of this name.

    Raises:
        InputError: it is no name of an LSTM.
    """
    found = NAME.fullmatch(name)
    if found is None:
        raise InputError("model", name, "lstm_LxH, L layers of H units, both 1 or more", f"--model {EXAMPLE}")
    return int(found[1]), int(found[2])


def through(
    lstm: nn.LSTM, inputs: torch.Tensor, state: tuple[torch.Tensor, torch.Tensor] | None = None
) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
    """Returns the outputs and the last state of the layers.

    Raises:
        InputError: autocast asks for a precision in which this processor cannot compute an LSTM.
    """
    try:
        return lstm(inputs, state)
    except RuntimeError as error:
        if "could not create a primitive" not in str(error):
            raise
        given = "less than float32 for an LSTM, which this processor cannot compute"
        raise InputError("precision", given, "float32", "--precision float32") from error


class RowLstm(nn.Module):
    """Reads an image row by row, from the top, and classifies it after the last.

    Args:
        layers, hidden: L and H.
        n_classes: outputs.
        features: of one row, channels x width.
    """

    def __init__(self, layers: int, hidden: int, n_classes: int, features: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(features, hidden, layers, batch_first=True)
        self.head = nn.Linear(hidden, n_classes)
        _initialise(self, self.lstm)

    def forward(self, images: torch.Tensor) -> torch.Tensor:  # (samples, channels, height, width) -> (samples, classes)
        rows = images.transpose(1, 2).flatten(2)  # (samples, height, channels * width)
        outputs, _ = through(self.lstm, rows)
        return self.head(outputs[:, -1])


class WordLstm(nn.Module):
    """Predicts the word after each word of a window.

    Args:
        layers, hidden: L and H; words are embedded in H dimensions.
        n_words: of the vocabulary.
        context: words at the beginning of each sample that make the window's first state; 0: it is 0.
    """

    def __init__(self, layers: int, hidden: int, n_words: int, context: int) -> None:
        super().__init__()
        self.context = context
        self.embedding = nn.Embedding(n_words, hidden)
        self.lstm = nn.LSTM(hidden, hidden, layers, batch_first=True)
        self.head = nn.Linear(hidden, n_words)
        _initialise(self, self.lstm)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        """From ids, shape (samples, context + steps), to log odds of the next word, shape (samples, steps, words)."""
        state = self._state(words[:, : self.context]) if self.context else None
        outputs, _ = through(self.lstm, self.embedding(words[:, self.context :]), state)
        return self.head(outputs)

    @torch.no_grad()
    def _state(self, words: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Output and cell after these words; shapes (layers, samples, hidden)."""
        _, state = through(self.lstm, self.embedding(words))
        # weights that autocast has cast here have no gradient, and torch 2.1 would use them for the window too
        # (https://github.com/pytorch/pytorch/issues/112583)
        torch.clear_autocast_cache()
        return state


@torch.no_grad()
def _initialise(model: nn.Module, lstm: nn.LSTM) -> None:
    hidden = lstm.hidden_size
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.uniform_(-(hidden**-0.5), hidden**-0.5)
        else:
            parameter.zero_()
    for layer in range(lstm.num_layers):
        forget = slice(hidden, 2 * hidden)  # gates lie in the order input, forget, cell, output
        getattr(lstm, f"bias_hh_l{layer}")[forget] = 1.0  # torch adds two biases, this one and bias_ih
