"""LSTM networks by name: sizes, gates written out, where the gradient stops, and what a word can be predicted from."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from hpc_adabatch.cluster import SingleProcess
from hpc_adabatch.command_line import parse_recipe
from hpc_adabatch.errors import InputError
from hpc_adabatch.run.recipe_run import RecipeRun
from hpc_adabatch.tasks.models import build_model
from hpc_adabatch.tasks.models.lstm import RowLstm, WordLstm, sizes

RECIPE = str(Path(__file__).resolve().parents[2] / "recipes" / "quickstart.yaml")


def images(samples: int = 3, channels: int = 2, height: int = 5, width: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(samples, channels, height, width, generator=generator, dtype=torch.float64)


def words(samples: int = 3, length: int = 9, n_words: int = 11) -> torch.Tensor:
    return torch.randint(0, n_words, (samples, length), generator=torch.Generator().manual_seed(0))


def word_lstm(layers: int = 2, context: int = 4) -> WordLstm:
    torch.manual_seed(0)
    return WordLstm(layers, 6, 11, context).double()


def gates_written_out(lstm: nn.LSTM, inputs: torch.Tensor) -> torch.Tensor:
    """The slow reference, from state 0: (samples, steps, features) -> (samples, steps, hidden)."""
    for layer in range(lstm.num_layers):
        outer, inner = (getattr(lstm, f"weight_{kind}_l{layer}") for kind in ("ih", "hh"))
        bias = getattr(lstm, f"bias_ih_l{layer}") + getattr(lstm, f"bias_hh_l{layer}")
        output = cell = inputs.new_zeros(len(inputs), lstm.hidden_size)
        outputs = []
        for step in range(inputs.shape[1]):
            enter, forget, new, leave = (inputs[:, step] @ outer.T + output @ inner.T + bias).chunk(4, dim=1)
            cell = torch.sigmoid(forget) * cell + torch.sigmoid(enter) * torch.tanh(new)
            output = torch.sigmoid(leave) * torch.tanh(cell)
            outputs.append(output)
        inputs = torch.stack(outputs, dim=1)
    return inputs


@pytest.mark.parametrize(
    ("name", "expected"), [("lstm_1x128", (1, 128)), ("lstm_2x1500", (2, 1500)), ("lstm_10x1", (10, 1))]
)
def test_names_say_layers_and_units(name: str, expected: tuple[int, int]) -> None:
    assert sizes(name) == expected


@pytest.mark.parametrize(
    "name", ["lstm", "lstm_x", "lstm_0x5", "lstm_5x0", "lstm_2x", "lstm_2x8x", "lstm_-1x8", "lstm_2X8", "lstm_02x8"]
)
def test_other_names_get_an_example(name: str) -> None:
    with pytest.raises(InputError, match="--model lstm_1x128"):
        build_model(name, 10, (3, 32, 32))


@pytest.mark.parametrize(("layers", "hidden"), [(1, 128), (2, 7), (3, 16)])
def test_parameters_by_closed_form(layers: int, hidden: int) -> None:
    """4 H (inputs + H) weights and 2 * 4 H biases a layer; torch adds two biases."""
    rows = build_model(f"lstm_{layers}x{hidden}", 10, (3, 8, 32))
    upper = (layers - 1) * 4 * hidden * (2 * hidden + 2)
    expected = 4 * hidden * (96 + hidden + 2) + upper + 10 * (hidden + 1)
    assert sum(parameter.numel() for parameter in rows.parameters()) == expected
    text = WordLstm(layers, hidden, 50, context=3)
    expected = 50 * hidden + 4 * hidden * (2 * hidden + 2) + upper + 50 * (hidden + 1)
    assert sum(parameter.numel() for parameter in text.parameters()) == expected


@pytest.mark.parametrize(("kind", "sizes"), [(RowLstm, (10, 12)), (WordLstm, (40, 3))], ids=["rows", "words"])
def test_weights_start_as_documented(kind: type[nn.Module], sizes: tuple[int, int]) -> None:
    torch.manual_seed(0)
    model = kind(2, 25, *sizes)
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            assert 0.18 < parameter.abs().max() <= 0.2, name  # 1 / sqrt(25)
            assert parameter.mean().abs() < 0.02, name
    lstm = model.lstm
    assert isinstance(lstm, nn.LSTM)
    for layer in range(2):
        bias = getattr(lstm, f"bias_ih_l{layer}") + getattr(lstm, f"bias_hh_l{layer}")
        assert bias.view(4, 25).unique_consecutive(dim=1).tolist() == [[0], [1], [0], [0]]
    assert model.head.bias.abs().max() == 0  # type: ignore[union-attr, operator]


@pytest.mark.parametrize("layers", [1, 2])
def test_rows_are_read_from_the_top_and_classified_after_the_last(layers: int) -> None:
    torch.manual_seed(0)
    model = RowLstm(layers, 6, 10, features=8).double()
    outputs = model(images())
    rows = torch.stack([torch.cat([images()[:, 0, y], images()[:, 1, y]], dim=1) for y in range(5)], dim=1)
    expected = gates_written_out(model.lstm, rows)[:, -1] @ model.head.weight.T + model.head.bias
    assert outputs.shape == (3, 10)
    torch.testing.assert_close(outputs, expected, rtol=1e-12, atol=1e-14)
    for other in (images().flip(2), images()[:, :, [1, 0, 2, 3, 4]]):
        assert (model(other) - outputs).abs().min() > 1e-6


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("context", [0, 1, 4])
def test_each_word_is_predicted_from_context_and_window_up_to_it(layers: int, context: int) -> None:
    model = word_lstm(layers, context)
    outputs = model(words())
    embedded = model.embedding.weight[words()]
    expected = gates_written_out(model.lstm, embedded)[:, context:] @ model.head.weight.T + model.head.bias
    assert outputs.shape == (3, 9 - context, 11)
    torch.testing.assert_close(outputs, expected, rtol=1e-12, atol=1e-14)


def test_no_word_is_predicted_from_later_ones() -> None:
    model, before = word_lstm(context=4), words()
    outputs = model(before)
    for place in range(9):
        after = before.clone()
        after[:, place] = (after[:, place] + 1) % 11
        changed = (model(after) - outputs).abs().amax(dim=(0, 2)) > 0  # (steps,)
        assert changed.tolist() == [4 + step >= place for step in range(5)]


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("context", [1, 4])
def test_the_gradient_stops_at_the_windows_first_word(layers: int, context: int) -> None:
    """It is that of a window whose first state is a constant, and not that of the whole stretch."""

    def gradients(cut: bool | None) -> list[torch.Tensor]:
        model, targets = word_lstm(layers, context), words(length=9 - context)
        if cut is None:
            outputs = model(words())
        else:
            _, state = model.lstm(model.embedding(words()[:, :context]))
            if cut:
                state = (state[0].detach(), state[1].detach())
            outputs = model.head(model.lstm(model.embedding(words()[:, context:]), state)[0])
        loss = cross_entropy(outputs.flatten(0, 1), targets.flatten())
        return list(torch.autograd.grad(loss, list(model.parameters())))

    found, expected, whole = gradients(None), gradients(cut=True), gradients(cut=False)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-15)
    assert any((one - other).abs().max() > 1e-6 for one, other in zip(found, whole, strict=True))


NO_PRIMITIVE = "could not create a primitive descriptor for the LSTM forward propagation primitive."  # oneDNN's
REFUSED = "precision: given less than float32 for an LSTM, which this processor cannot compute; allowed: float32"


def computes_lstm(precision: torch.dtype) -> bool:
    try:
        with torch.autocast("cpu", dtype=precision):
            nn.LSTM(2, 2)(torch.zeros(1, 1, 2))
    except RuntimeError as error:
        return NO_PRIMITIVE not in str(error)
    return True


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16], ids=str)
def test_the_context_leaves_no_weights_without_gradient_in_lower_precision(precision: torch.dtype) -> None:
    """Bug story (pytorch 112583): weights that autocast had cast without gradient got none in the window either.

    Few processors have instructions for float16, many for bfloat16; where there are none, that is said.
    """
    model = word_lstm().float()
    refused = contextlib.nullcontext() if computes_lstm(precision) else pytest.raises(InputError, match=REFUSED)
    with refused, torch.autocast("cpu", dtype=precision):
        outputs = model(words())
    if not computes_lstm(precision):
        return
    exact = model(words())
    found, expected = (
        torch.autograd.grad(
            cross_entropy(one.float().flatten(0, 1), words(length=5).flatten()), list(model.parameters())
        )
        for one in (outputs, exact)
    )
    for one, other in zip(found, expected, strict=True):
        assert (one - other).norm() < 0.05 * other.norm()


@pytest.mark.parametrize(
    ("said", "kind", "line"), [(NO_PRIMITIVE, InputError, REFUSED), ("a bug", RuntimeError, "a bug")]
)
def test_a_processor_that_lacks_the_instructions_is_one_line_and_other_errors_stay(
    said: str, kind: type[Exception], line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError(said)

    monkeypatch.setattr(nn.LSTM, "forward", fail)
    for model, inputs in ((RowLstm(1, 6, 10, 8).double(), images()), (word_lstm(context=0), words())):
        with pytest.raises(kind, match=line):
            model(inputs)


@pytest.mark.long
def test_rows_of_real_digits_are_learned(tmp_path: Path) -> None:
    """One class in ten by chance."""
    flags = ["--model=lstm_1x32", "--epochs=6", "--task.augment=false", "--policy=fixed"]
    recipe, _, resolved = parse_recipe("train", [RECIPE, *flags])
    assert RecipeRun(recipe, resolved, tmp_path / "run", resume=False, cluster=SingleProcess()).train() == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8"))
    assert result["metric"]["value"] > 0.9
