"""A text as windows with their context: each word once, the exact mean for any batches, perplexity by a slow loop."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

import hpc_adabatch as hab
from hpc_adabatch.batches.plan import permutation
from hpc_adabatch.cluster import SingleProcess
from hpc_adabatch.command_line import parse_recipe
from hpc_adabatch.errors import InputError
from hpc_adabatch.run.evaluation import evaluate
from hpc_adabatch.run.preview import preview
from hpc_adabatch.run.recipe_run import RecipeRun
from hpc_adabatch.tasks import Digits, ImageFolder, Ridge, Task, TaskData, Text
from hpc_adabatch.tasks.models.lstm import WordLstm
from hpc_adabatch.tasks.text import ids_of, windows

RECIPE = str(Path(__file__).resolve().parents[2] / "recipes" / "text-lstm-legw.yaml")
POEM = """the sick rose

O rose , thou art sick !
The invisible worm ,
That flies in the night ,
In the howling storm ,

Has found out thy bed
Of crimson joy ,
And his dark secret love
Does thy life destroy .
"""  # William Blake, 1794


def written(path: Path, content: str | bytes) -> str:
    path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    return str(path)


def poem(tmp_path: Path, **fields: Any) -> Text:
    train = written(tmp_path / "train.txt", POEM)
    test = written(tmp_path / "test.txt", "the sick worm\nflies to thy bed ,\nthe night is dark .\n")
    return Text(train=train, test=test, **{"steps": 4, "context": 3, **fields})


def opened(task: Text) -> tuple[TaskData, WordLstm]:
    """Its data, and a network of float64."""
    data = task.load()
    torch.manual_seed(0)
    model = task.model("lstm_2x6", data).double()
    assert isinstance(model, WordLstm)
    return data, model


@given(st.integers(2, 60), st.integers(1, 8), st.integers(0, 9))
def test_windows_tile_the_text(length: int, steps: int, context: int) -> None:
    if length <= steps:
        length = steps + 1
    words = torch.arange(100, 100 + length)
    inputs, targets = windows(words, steps, context).tensors
    assert inputs.dtype == targets.dtype == torch.int64
    padded = [1] * context + words.tolist()
    starts = range(0, length - steps, steps)
    assert inputs.tolist() == [padded[start : start + context + steps] for start in starts]
    assert targets.tolist() == [padded[context + start + 1 : context + start + steps + 1] for start in starts]
    left_out = length - 1 - targets.numel()
    assert targets.flatten().tolist() == list(range(101, 100 + length - left_out))
    assert 0 <= left_out < steps


def test_windows_take_no_memory_of_their_own() -> None:
    inputs, targets = windows(torch.arange(1001), steps=5, context=50).tensors
    assert inputs.shape == (200, 55)
    assert inputs.untyped_storage().nbytes() == 8 * 1051
    assert inputs.untyped_storage().data_ptr() == targets.untyped_storage().data_ptr()


def test_words_are_numbered_by_frequency_then_by_letters() -> None:
    words = ["b", "a", "<eos>", "c", "b", "d", "<eos>", "<unk>", "c", "é"]
    expected = ["<unk>", "<eos>", "b", "c", "a", "d", "é"]
    assert list(ids_of(words, None)) == expected
    assert list(ids_of(reversed(words), None).values()) == list(range(7))
    assert list(ids_of(reversed(words), 4)) == expected[:4]
    assert list(ids_of(["a"], 2)) == ["<unk>", "<eos>"]
    assert list(ids_of([], 100)) == ["<unk>", "<eos>"]


@pytest.mark.parametrize("content", ["a b  a\n\n\tb c", "a b  a\r\n\r\n\tb c\r\n", "\ufeffa b a\n\nb c\n"])
def test_words_are_split_at_white_space_and_lines_end_with_a_word(content: str, tmp_path: Path) -> None:
    test = written(tmp_path / "test.txt", "c new a\n")
    task = Text(train=written(tmp_path / "train.txt", content), test=test, steps=1, context=1)
    data = task.load()
    assert data.n_classes == 5  # <unk>, <eos>, a, b, c
    text = [2, 3, 2, 1, 1, 3, 4, 1]
    assert data.train[:][0].tolist() == [[1, 2], [2, 3], [3, 2], [2, 1], [1, 1], [1, 3], [3, 4]]
    assert data.train[:][1].flatten().tolist() == text[1:]
    assert data.test[:][1].flatten().tolist() == [0, 2, 1]
    short = Text(**{**task.__dict__, "max_words": 3}).load()
    assert short.train[:][1].flatten().tolist() == [3, 2]  # "c" and what follows is not read, and so not known
    assert short.test[:][1].flatten().tolist() == [0, 2]
    few = Text(**{**task.__dict__, "vocabulary": 3}).load()
    assert few.n_classes == 3
    assert few.train[:][1].flatten().tolist() == [0, 2, 1, 1, 0, 0, 1]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"steps": 0}, "task.steps 35"),
        ({"context": -1}, "task.context 35"),
        ({"vocabulary": 1}, "task.vocabulary 10000"),
        ({"max_words": 4}, r"more than task\.steps"),
        ({"train": "missing.txt"}, r"task\.train: given missing\.txt \(No such file"),
        ({"test": "."}, r"task\.test: given \. \(Is a directory"),
        ({"steps": 60}, r"train\.txt \(55 words\); allowed: a text of 61 words"),
        ({"steps": 20}, r"task\.test: given .*test\.txt \(16 words\)"),
    ],
)
def test_bad_fields_are_refused_in_one_line(fields: dict[str, Any], message: str, tmp_path: Path) -> None:
    good = poem(tmp_path)
    with pytest.raises(InputError, match=message):
        Text(**{**good.__dict__, **fields}).load()


@pytest.mark.parametrize("flag", ["--task.steps=abc", "--task.max_words=many", "--task.context=1.5"])
def test_a_flag_of_another_type_is_refused_in_one_line(flag: str) -> None:
    """Bug story: fields whose types were not found were not checked, and compared with numbers as they were typed."""
    with pytest.raises(InputError, match="allowed: an integer"):
        parse_recipe("train", [RECIPE, flag])


@pytest.mark.parametrize(("content", "message"), [(b"", r"\(0 words\)"), (b"caf\xe9 au lait\n" * 9, "not UTF-8")])
def test_a_damaged_text_is_refused_in_one_line(content: bytes, message: str, tmp_path: Path) -> None:
    good = poem(tmp_path)
    with pytest.raises(InputError, match=message) as refused:
        Text(**{**good.__dict__, "train": written(tmp_path / "bad.txt", content)}).load()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["small_cnn", "resnet18", "lstm_0x5"])
def test_other_networks_are_refused(name: str, tmp_path: Path) -> None:
    task = poem(tmp_path)
    with pytest.raises(InputError, match="--model lstm_1x128"):
        task.model(name, task.load())


def test_loss_and_score_are_means_over_the_words(tmp_path: Path) -> None:
    task = poem(tmp_path)
    outputs = torch.randn(3, 4, 7, generator=torch.Generator().manual_seed(0)).double()
    targets = torch.randint(0, 7, (3, 4), generator=torch.Generator().manual_seed(1))
    losses = [
        [math.log(outputs[i, t].exp().sum()) - outputs[i, t, targets[i, t]].item() for t in range(4)] for i in range(3)
    ]
    assert task.loss(outputs, targets).item() == pytest.approx(sum(map(sum, losses)) / 12, rel=1e-12)
    assert task.score(outputs, targets).item() == pytest.approx(sum(sum(each) / 4 for each in losses), rel=1e-12)
    assert not task.larger_is_better


def test_perplexity_worked_by_hand(tmp_path: Path) -> None:
    task = poem(tmp_path)
    assert task.metric_of(math.log(40)) == pytest.approx(40)
    assert task.metric_of(0.0) == 1.0
    assert task.metric_of(1e4) == math.inf, "a network that has diverged"
    assert math.isnan(task.metric_of(math.nan))


def test_a_uniform_model_is_as_perplexed_as_there_are_words(tmp_path: Path) -> None:
    task = poem(tmp_path)
    data, model = opened(task)
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.fill_(0.7)
    scores = evaluate(model, model, task, data, SingleProcess(), batch=2)
    assert scores["perplexity"] == pytest.approx(data.n_classes, rel=1e-12)
    assert scores["loss"] == pytest.approx(math.log(data.n_classes), rel=1e-12)


@pytest.mark.parametrize("context", [0, 1, 3, 9])
@pytest.mark.parametrize("batch", [1, 2, 500])
def test_perplexity_equals_that_of_one_word_after_the_other(context: int, batch: int, tmp_path: Path) -> None:
    """The slow reference walks through each window's past word by word, from the file that it reads itself."""
    task = poem(tmp_path, context=context)
    data, model = opened(task)
    ids = ids_of(POEM.replace("\n", " <eos> ").split(), None)
    lines = Path(task.test).read_text(encoding="utf-8").splitlines()
    text = [ids.get(word, 0) for line in lines for word in [*line.split(), "<eos>"]]
    assert 0 in text
    losses = []
    with torch.no_grad():
        for start in range(0, len(text) - 4, 4):
            state = None
            for place in range(start - context, start + 4):
                word = torch.tensor([[text[place] if place >= 0 else ids["<eos>"]]])
                output, state = model.lstm(model.embedding(word), state)
                if place >= start:
                    losses.append(cross_entropy(model.head(output[0]), torch.tensor([text[place + 1]])).item())
    assert len(losses) == 12
    found = evaluate(model, model, task, data, SingleProcess(), batch=batch)
    assert found["perplexity"] == pytest.approx(math.exp(sum(losses) / 12), rel=1e-12)
    assert found["samples"] == 3


def loop_of(task: Text, max_micro_batch: int) -> tuple[TaskData, hab.AdaptiveTraining]:
    data, model = opened(task)
    batches = hab.AdaptiveBatches(data.train, 1, max_micro_batch=max_micro_batch, seed=3, transform=data.augment)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    policy = hab.Schedule(text="0:1 2sa:3 8sa:7 15sa:13")
    return data, hab.AdaptiveTraining(model, optimizer, batches, cluster=SingleProcess(), policy=policy)


def trained(loop: hab.AdaptiveTraining, task: Text, until_step: int = 10**9) -> tuple[list[int], torch.Tensor]:
    """The batches of 3 epochs, and what was fed."""
    sizes, seen = [], []
    for epoch in range(3):
        for step in loop.epoch(epoch):
            for inputs, targets in step:
                step.backward(task.loss(loop.model(inputs), targets))
                seen.append(inputs)
            step.update()
            sizes.append(len(step.batch))
            if loop.steps == until_step:
                return sizes, torch.cat(seen)
    return sizes, torch.cat(seen)


@pytest.mark.parametrize("max_micro_batch", [1, 2, 5, 100])
def test_growing_batches_of_streams_in_any_passes_take_the_exact_mean(max_micro_batch: int, tmp_path: Path) -> None:
    """Property 1 of CONTRIBUTING: as plain SGD on whole batches; and every window is seen once an epoch."""
    task = poem(tmp_path)
    data, loop = loop_of(task, max_micro_batch)
    sizes, seen = trained(loop, task)
    assert sizes == [1, 1, 3, 3, 5, 7, 6, 13]
    inputs, targets = data.train[:]
    _, model = opened(task)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    order = torch.cat([torch.from_numpy(permutation(3, epoch, 13)) for epoch in range(3)])
    assert torch.equal(seen, inputs[order])
    for size in sizes:
        chosen, order = order[:size], order[size:]
        optimizer.zero_grad()
        cross_entropy(model(inputs[chosen]).flatten(0, 1), targets[chosen].flatten()).backward()
        optimizer.step()
    for found, expected in zip(loop.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("at_step", [1, 4, 5, 7])
def test_a_restart_needs_no_state_of_the_streams(at_step: int, tmp_path: Path) -> None:
    task = poem(tmp_path)
    (_, whole), (_, part), (_, rest) = (loop_of(task, 2) for _ in range(3))
    trained(whole, task)
    trained(part, task, until_step=at_step)
    rest.load_state_dict(part.state_dict())
    trained(rest, task)
    for found, expected in zip(rest.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(found, expected)


def test_the_noise_of_a_batch_is_that_of_its_windows(tmp_path: Path) -> None:
    """A weight used at every word has one gradient a pass: 13 passes of one window, against their sample variance."""
    task = poem(tmp_path)
    data, model = opened(task)
    inputs, targets = data.train[:]
    losses = [task.loss(model(x[None]), y[None]) for x, y in zip(inputs, targets, strict=True)]
    gradients = [torch.autograd.grad(loss, list(model.parameters())) for loss in losses]
    singles = torch.stack([torch.cat([part.flatten() for part in parts]) for parts in gradients])  # (13, parameters)
    batches = hab.AdaptiveBatches(data.train, 13, max_micro_batch=1, transform=data.augment)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    policy = hab.NoiseScale()
    loop = hab.AdaptiveTraining(
        model, optimizer, batches, cluster=SingleProcess(), policy=policy, options=hab.LoopOptions(measure_every=1)
    )
    trained(loop, task, until_step=1)
    assert loop.measuring.last is not None
    assert loop.measuring.last.variance == pytest.approx(singles.var(dim=0).sum().item(), rel=1e-9)


@pytest.mark.long
def test_a_run_learns_a_periodic_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Which word follows 'two', 'three' or 'four' depends on the way: the last word alone leaves more than 1.5."""
    line = "one two three four five four three two one"
    flags = [f"--task.train={written(tmp_path / 'train.txt', (line + chr(10)) * 200)}"]
    flags += [f"--task.test={written(tmp_path / 'test.txt', (line + chr(10)) * 20)}", "--task.steps=8"]
    flags += ["--task.context=12", "--model=lstm_1x16", "--global_batch=4", "--max_global_batch=32", "--epochs=8"]
    flags += ["--policy=adabatch", "--policy.interval=3", "--learning_rate.milestones=[6]", "--optimizer.lr=0.5"]
    flags += ["--learning_rate.reference_batch=4", "--learning_rate.scaling=none"]
    recipe, _, resolved = parse_recipe("train", [RECIPE, *flags])
    assert RecipeRun(recipe, resolved, tmp_path / "run", resume=False, cluster=SingleProcess()).train() == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8"))
    assert result["metric"]["name"] == "perplexity"
    assert 1 <= result["metric"]["value"] < 1.02
    assert [batch for _, batch in result["batches"]] == [4, 8, 16]
    printed = capsys.readouterr().out
    assert "test perplexity  1.0" in printed
    assert "test accuracy" not in printed


def test_a_plan_of_a_text_can_be_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Bug story: passes were timed on zeros of float, which no embedding takes."""
    task = poem(tmp_path)
    flags = [f"--task.train={task.train}", f"--task.test={task.test}", "--task.steps=4", "--model=lstm_1x8"]
    recipe, _, _ = parse_recipe("plan", [RECIPE, *flags, "--global_batch=4"])
    preview(recipe, 2, measure=True)
    printed = capsys.readouterr().out
    assert "39 updates over 13 epochs of 13 samples" in printed
    assert "by the scatter of those made here" in printed


def test_an_example_is_what_training_feeds(tmp_path: Path) -> None:
    from PIL import Image

    for part in ("train", "test"):
        (tmp_path / part / "class").mkdir(parents=True)
        Image.effect_noise((6, 6), 50).save(tmp_path / part / "class" / "0.png")
    folder = {"root": str(tmp_path), "augment": False}
    tasks: list[Task] = [Digits(), Ridge(samples=9), ImageFolder(**folder), ImageFolder(memory_gb=0, **folder)]  # type: ignore[arg-type]
    for task in [*tasks, poem(tmp_path)]:
        data = task.load()
        inputs, targets = (torch.as_tensor(field)[None] for field in data.train[0])
        fed = data.augment(inputs, torch.zeros(1, dtype=torch.int64))
        for found, expected in zip(data.example(3), (fed, targets), strict=True):
            assert found.dtype == expected.dtype
            assert torch.equal(found, torch.cat([expected] * 3))
        assert data.example(3)[0].shape == (3, *data.sample_shape)
