"""LSTM networks by name, ``lstm_LxH``: L layers of H units, over the rows of an image or over the words of a text.

Hochreiter & Schmidhuber 1997, https://doi.org/10.1162/neco.1997.9.8.1735, with forget gates, as torch.nn.LSTM has it.

    image   row 1 -> row 2 -> ... -> last row -> classes       a row is one step: channels x width numbers

    text    c c c c c | w  w  w  w  w  w  w                    context, then window
            ------->  | ------------------->
            no gradient | word after each, with gradient

The state at the start of a window is computed from its context by the present weights; the gradient stops at the
window's first word (truncated back-propagation). Carrying the state over from the step before would tie each sample to
the one before it, and the order of all samples to the batch. Computing the state anew from a stretch of the past is the
burn-in of Kapturowski et al. 2019 (R2D2), https://openreview.net/forum?id=r1lyTjAqYX, section 3.

All weights start uniform between -1/sqrt(H) and 1/sqrt(H), also in the embedding and the last layer; biases start at 0,
those of forget gates at 1 (Jozefowicz, Zaremba & Sutskever 2015, https://proceedings.mlr.press/v37/jozefowicz15.html).
There is no dropout, and no weights are tied. tasks/text.py cuts a text into windows with their context.
"""

from __future__ import annotations

import re

import torch
from torch import nn

from ...errors import InputError

NAME = re.compile(r"lstm_([1-9]\d*)x([1-9]\d*)")
EXAMPLE = "lstm_1x128"


def sizes(name: str) -> tuple[int, int]:
    """Returns the number of layers, and of units a layer, of the LSTM of this name.

    Raises:
        InputError: The name is not that of an LSTM.
    """
    found = NAME.fullmatch(name)
    if found is None:
        raise InputError("model", name, "lstm_LxH, L layers of H units, both 1 or more", f"--model {EXAMPLE}")
    return int(found[1]), int(found[2])


def through(
    lstm: nn.LSTM, inputs: torch.Tensor, state: tuple[torch.Tensor, torch.Tensor] | None = None
) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
    """Returns the outputs of the last layer, and the last state of all layers.

    Args:
        lstm: The layers.
        inputs: Inputs, shape (samples, steps, features).
        state: Outputs and cells before the first step; 0 when not given.

    Raises:
        InputError: Autocast asks for a precision in which this processor cannot compute an LSTM.
    """
    try:
        return lstm(inputs, state)
    except RuntimeError as error:
        if "could not create a primitive" not in str(error):
            raise
        given = "less than float32 for an LSTM, which this processor cannot compute"
        raise InputError("precision", given, "float32", "--precision float32") from error


class RowLstm(nn.Module):
    """An LSTM that reads an image row by row from the top, and classifies it after the last row.

    Args:
        layers: Number of layers (L).
        hidden: Number of units of a layer (H).
        n_classes: Number of outputs.
        features: Numbers of one row, channels x width.
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
    """An LSTM that predicts the next word after each word of a window.

    Args:
        layers: Number of layers (L).
        hidden: Number of units of a layer (H), and of dimensions in which words are embedded.
        n_words: Size of the vocabulary.
        context: Words at the beginning of each sample from which the window's first state is computed; with 0 it is 0.
    """

    def __init__(self, layers: int, hidden: int, n_words: int, context: int) -> None:
        super().__init__()
        self.context = context
        self.embedding = nn.Embedding(n_words, hidden)
        self.lstm = nn.LSTM(hidden, hidden, layers, batch_first=True)
        self.head = nn.Linear(hidden, n_words)
        _initialise(self, self.lstm)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        """Returns log odds of each next word: word numbers (samples, context + steps) -> (samples, steps, words)."""
        state = self._state(words[:, : self.context]) if self.context else None
        outputs, _ = through(self.lstm, self.embedding(words[:, self.context :]), state)
        return self.head(outputs)

    @torch.no_grad()
    def _state(self, words: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns output and cell after these words; shapes (layers, samples, hidden)."""
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
