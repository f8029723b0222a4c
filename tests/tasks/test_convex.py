"""Ridge and logistic regression: the optimum is the optimum, the gap is 0 there, and files are read or refused."""

from __future__ import annotations

import gzip
from math import inf, nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import dump_svmlight_file
from sklearn.linear_model import LogisticRegression
from sklearn.linear_model import Ridge as RidgeRegression

from hpc_adabatch.cluster import SingleProcess
from hpc_adabatch.command_line import parse_recipe
from hpc_adabatch.errors import InputError
from hpc_adabatch.run.recipe_run import RecipeRun
from hpc_adabatch.tasks import TASKS, Logistic, Ridge, convex
from hpc_adabatch.tasks.convex import Convex, Linear, standard
from hpc_adabatch.tasks.features import SparseRows
from hpc_adabatch.tasks.task import TaskData

pytestmark = pytest.mark.long

KINDS: list[Any] = [Ridge, Logistic]
SMALL: dict[str, Any] = {"samples": 300, "features": 6, "condition": 10.0}
SOLVED: dict[type[Convex], Convex] = {kind: kind(**SMALL) for kind in KINDS}
BAD: dict[str, list[float]] = {
    "samples": [0],
    "features": [0],
    "condition": [0.9, inf, nan],
    "noise": [-1.0, nan, inf],
    "penalty": [0.0, -1.0, nan],
    "data_seed": [-1],
}


def opened(task: Convex) -> tuple[TaskData, Linear, torch.Tensor, torch.Tensor]:
    """Its data, its model at the optimum, features and targets."""
    data = task.load()
    model = task.model("linear", data)
    with torch.no_grad():
        model.weight.copy_(task.minimiser)
    return data, model, *data.train.tensors  # type: ignore[attr-defined]


def gap(task: Convex, model: Linear, features: torch.Tensor, targets: torch.Tensor) -> float:
    return task.score(model(features), targets).item() / len(targets)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fields", [{}, SMALL, {"samples": 1}, {"features": 1}, {"samples": 20}, {"noise": 0.0}])
def test_the_optimum_has_no_gradient_and_no_gap(kind: type[Convex], fields: dict[str, Any]) -> None:
    task = kind(**fields)
    _, model, features, targets = opened(task)
    loss = task.loss(model(features), targets)
    loss.backward()  # type: ignore[no-untyped-call]
    assert model.weight.grad is not None
    assert model.weight.grad.norm() < 1e-10
    assert loss.item() == pytest.approx(task.optimum, rel=1e-14)
    assert abs(gap(task, model, features, targets)) < 1e-14


@given(kind=st.sampled_from(KINDS), seed=st.integers(0, 2**32), distance=st.floats(1e-3, 1e3))
def test_the_gap_is_at_least_what_the_penalty_makes_of_the_distance(
    kind: type[Convex], seed: int, distance: float
) -> None:
    """f(w) - f* >= penalty/2 |w - w*|^2, by strong convexity."""
    task = SOLVED[kind]
    _, model, features, targets = opened(task)
    away = torch.randn(6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    with torch.no_grad():
        model.weight.add_(distance * away / away.norm())
    assert gap(task, model, features, targets) >= task.penalty / 2 * distance**2 - 1e-14


def test_ridge_agrees_with_scikit_learn() -> None:
    task = Ridge(samples=500)
    _, _, features, targets = opened(task)
    theirs = RidgeRegression(alpha=500 * task.penalty, fit_intercept=False).fit(features.numpy(), targets.numpy())
    assert task.minimiser.numpy() == pytest.approx(theirs.coef_, abs=1e-10)


def test_logistic_agrees_with_scikit_learn() -> None:
    """Theirs is the sum of the losses with weight C against 1/2 |w|^2."""
    task = Logistic(samples=500)
    _, _, features, targets = opened(task)
    model = LogisticRegression(C=1 / (500 * task.penalty), fit_intercept=False, tol=1e-12, solver="newton-cholesky")
    theirs = model.fit(features.numpy(), targets.numpy())
    assert task.minimiser.numpy() == pytest.approx(theirs.coef_[0], abs=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_the_objective_by_hand(kind: type[Convex]) -> None:
    """w = (2, -1), penalty 0.4: 0.4/2 (4 + 1) = 1. Sample x = (1, 2) predicts 0; sample x = (3, 1) predicts 5."""
    task = kind(features=2, penalty=0.4)
    model = task.model("linear", task.load())
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[2.0, -1.0]]))
    inputs = torch.tensor([[1.0, 2.0], [3.0, 1.0]])
    targets = torch.tensor([1, 0])
    losses = {Ridge: [0.5, 12.5], Logistic: [np.log(2), np.log1p(np.exp(5))]}[kind]
    assert task.loss(model(inputs), targets).item() == pytest.approx(np.mean(losses) + 1)
    assert task.score(model(inputs), targets).item() == pytest.approx(np.sum(losses) + 2 * (1 - task.optimum))


@pytest.mark.parametrize("kind", KINDS)
def test_each_samples_gradient_holds_the_penalty(kind: type[Convex]) -> None:
    """Their mean is the whole gradient, and their losses' mean is the whole loss."""
    task = kind(**SMALL)
    _, model, features, targets = opened(task)
    with torch.no_grad():
        model.weight.add_(1)
    singles = [task.loss(model(x[None]), y[None]) for x, y in zip(features, targets, strict=True)]
    gradients = [torch.autograd.grad(single, model.weight)[0] for single in singles]
    whole = task.loss(model(features), targets)
    (gradient,) = torch.autograd.grad(whole, model.weight)
    assert torch.allclose(torch.stack(singles).mean(), whole, rtol=1e-12)
    assert torch.allclose(torch.stack(gradients).mean(0), gradient, rtol=1e-12, atol=1e-14)
    predictions = (features @ model.weight[0]).detach()
    slope = predictions - targets if kind is Ridge else torch.sigmoid(predictions) - targets
    by_hand = slope[0] * features[0] + task.penalty * model.weight.detach()[0]
    assert torch.allclose(gradients[0][0], by_hand, rtol=1e-12)


@pytest.mark.parametrize("condition", [1.0, 10.0, 1000.0])
def test_features_have_the_condition_asked_for(condition: float) -> None:
    features = Ridge(samples=20_000, features=10, condition=condition).load().train.tensors[0]  # type: ignore[attr-defined]
    eigenvalues = torch.linalg.eigvalsh(torch.cov(features.T)).numpy()
    assert eigenvalues == pytest.approx(np.logspace(-np.log10(condition), 0, 10), rel=0.08)


@pytest.mark.parametrize("kind", KINDS)
def test_drawn_data_follow_the_seed_alone(kind: type[Convex]) -> None:
    first, again, other = (kind(**SMALL, data_seed=seed).load() for seed in (0, 0, 1))
    assert first.train is first.test
    for one, same, different in zip(first.train.tensors, again.train.tensors, other.train.tensors, strict=True):  # type: ignore[attr-defined]
        assert one.dtype == torch.float64
        assert torch.equal(one, same)
        assert not torch.equal(one, different)
    inputs = first.train.tensors[0]  # type: ignore[attr-defined]
    assert first.sample_shape == inputs.shape[1:] == (6,)
    assert torch.equal(first.prepare(inputs), inputs)
    assert torch.equal(first.augment(inputs, torch.zeros(300, dtype=torch.int64)), inputs)


def test_noise_is_what_it_says() -> None:
    """Ridge: half its square is left at the optimum. Logistic: no plane separates the classes."""
    assert 2 * Ridge(noise=3.0).optimum == pytest.approx(9, rel=0.05)
    task = Logistic()
    _, model, features, targets = opened(task)
    right = (model(features)[:, 0] > 0) == targets.bool()
    assert 0.7 < right.double().mean() < 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_descent_reaches_the_optimum(kind: type[Convex]) -> None:
    task = kind(**SMALL)
    data = task.load()
    model = task.model(kind.default_model, data)
    assert not kind.larger_is_better
    features, targets = data.train.tensors  # type: ignore[attr-defined]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    before = gap(task, model, features, targets)
    for _ in range(600):
        optimizer.zero_grad()
        task.loss(model(features), targets).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert before > 0.01
    assert gap(task, model, features, targets) < 1e-6 * before


def written(path: Path, features: np.ndarray, targets: np.ndarray) -> str:
    dump_svmlight_file(features, targets, str(path), zero_based=False)
    return str(path)


@pytest.mark.parametrize("standardise", [False, True])
def test_a_libsvm_file_comes_back(standardise: bool, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    features = random.normal(3, 5, size=(40, 4)) * (random.random((40, 4)) < 0.7)
    features[:, 1] = 0.1  # says nothing
    targets = random.normal(2000, 10, size=40)
    data, model, stored, wanted = opened(
        task := Ridge(file=written(tmp_path / "a.svm", features, targets), standardise=standardise)
    )
    if standardise:
        spread = features.std(0)
        spread[1] = np.inf
        features, targets = (features - features.mean(0)) / spread, (targets - targets.mean()) / targets.std()
    assert stored.numpy() == pytest.approx(features, abs=1e-12)
    assert wanted.numpy() == pytest.approx(targets, rel=1e-12)
    assert data.sample_shape == (4,)
    assert abs(gap(task, model, stored, wanted)) < 1e-13 * max(task.optimum, 1)


def sparse_file(path: Path, samples: int, features: int) -> str:
    """Eight numbers a sample, of length 1 together, as in texts; two classes that depend on them."""
    random = np.random.default_rng(0)
    truth = random.normal(size=features)
    lines = []
    for _ in range(samples):
        places = np.sort(random.choice(features, 8, replace=False))
        values = random.random(8)
        values /= np.linalg.norm(values)
        label = 1 if values @ truth[places] + 0.3 * random.normal() > 0 else -1
        lines.append(
            f"{label} " + " ".join(f"{at + 1}:{value!r}" for at, value in zip(places, values.tolist(), strict=True))
        )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def trained(kind: str, file: str, out: Path, *flags: str) -> RecipeRun:
    quickstart = str(Path(__file__).resolve().parents[2] / "recipes" / "quickstart.yaml")
    small = ["--model=linear", "--epochs=3", "--policy=noise_scale", "--optimizer.lr=0.5", "--global_batch=8"]
    fields = [f"--task={kind}", f"--task.file={file}", "--task.standardise=false", *small, *flags]
    recipe, _, resolved = parse_recipe("train", [quickstart, *fields])
    run = RecipeRun(recipe, resolved, out, resume=False, cluster=SingleProcess())
    assert run.train() == 0
    return run


@pytest.mark.parametrize("kind", ["ridge", "logistic"])
def test_a_run_without_the_zeros_is_that_with_them(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Optimum, gap and weights; held dense, rcv1 and news20 were ended by the kernel."""
    file = sparse_file(tmp_path / "a.svm", 100, 30)
    dense = trained(kind, file, tmp_path / "dense")
    monkeypatch.setattr(convex, "DENSE_BYTES", 0)
    thin = trained(kind, file, tmp_path / "thin")
    assert isinstance(thin.data.train.tensors[0], SparseRows)  # type: ignore[attr-defined]
    assert thin.life.metric == pytest.approx(dense.life.metric, rel=1e-8)
    for one, other in zip(thin.training.model.parameters(), dense.training.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-12)
    tasks = [run.recipe.task for run in (dense, thin)]
    torch.testing.assert_close(tasks[1].minimiser, tasks[0].minimiser, rtol=1e-8, atol=1e-12)  # type: ignore[attr-defined]


def test_a_file_of_a_million_features_is_small_without_its_zeros_and_refused_with_them(tmp_path: Path) -> None:
    file = sparse_file(tmp_path / "a.svm", 300, 10**6)
    task = Logistic(file=file, standardise=False)
    data = task.load()
    model = task.model("linear", data)
    inputs, targets = (column[torch.arange(300)] for column in data.train.tensors)  # type: ignore[attr-defined]
    before = gap(task, model, inputs, targets)
    with torch.no_grad():
        model.weight.copy_(task.minimiser)
    assert abs(gap(task, model, inputs, targets)) < 1e-13 < 1e-2 < before
    told = r"^task\.standardise: given true for .*a\.svm \(300 x 999,\d{3}\), which takes [\d,.]+ GB on its ranks; "
    with pytest.raises(
        InputError, match=told + r"allowed: what takes at most the .* GB of this node; type --task\.stand"
    ):
        Logistic(file=file).load()
    with pytest.raises(InputError, match=r"^task\.samples: given 1,000,000,000 of 50 features, which takes 1,200.0 GB"):
        Ridge(samples=10**9).load()
    (tmp_path / "odd.svm").write_text("1 2000000000:1\n-1 5:1\n", encoding="utf-8")
    with pytest.raises(
        InputError, match=r"^task\.standardise: given false for .*, which takes 160.0 GB .*; type fewer"
    ):
        Logistic(file=str(tmp_path / "odd.svm"), standardise=False).load()


@pytest.mark.parametrize("labels", [(-1, 1), (0, 1), (1, 2), (7.5, 3)])
def test_any_two_labels_are_classes_0_and_1(labels: tuple[float, float], tmp_path: Path) -> None:
    targets = np.array([labels[0], labels[1], labels[1], labels[0]])
    task = Logistic(file=written(tmp_path / "a.svm", np.arange(8.0).reshape(4, 2), targets))
    _, _, features, classes = opened(task)
    assert classes.tolist() == (targets == max(labels)).tolist()
    assert features.mean(0).abs().max() < 1e-14


def test_a_constant_is_left_out() -> None:
    values = torch.full((7, 2), 0.1, dtype=torch.float64)
    values[:, 1] = torch.arange(7)
    assert standard(values)[:, 0].abs().max() < 1e-15
    assert standard(values)[:, 1].std(correction=0).item() == pytest.approx(1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"# only this\n",
        b"hello\n",
        b"1 99999999999999999999:1\n",
        b"1 2:1 1:1\n",
        b"1 1:nan\n",
        b"inf 1:1\n",
        b"\xff\xfe\x00",
        b"1 -1:2\n",
    ],
)
def test_a_damaged_file_is_refused_in_one_line(kind: type[Convex], content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.svm"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.svm") as refused:
        kind(file=str(path)).load()
    assert refused.value.field == "task.file"
    assert "\n" not in str(refused.value)


def test_what_cannot_be_opened_or_unpacked_is_refused(tmp_path: Path) -> None:
    cut = gzip.compress(b"1 1:2\n" * 1000)
    (tmp_path / "cut.gz").write_bytes(cut[:-20])
    (tmp_path / "broken.gz").write_bytes(cut[:10] + b"\xff" * 50)
    (tmp_path / "no.bz2").write_bytes(b"no")
    for name in ("cut.gz", "broken.gz", "no.bz2", "missing.svm", "."):
        with pytest.raises(InputError) as refused:
            Ridge(file=str(tmp_path / name)).load()
        assert refused.value.field == "task.file"


@pytest.mark.parametrize("labels", [[1, 1, 1], [0, 1, 2]])
def test_logistic_takes_two_classes(labels: list[int], tmp_path: Path) -> None:
    task = Logistic(file=written(tmp_path / "a.svm", np.eye(3), np.array(labels)))
    with pytest.raises(InputError, match=r"two classes; type --task ridge"):
        task.load()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("field", "value"),
    [(field, value) for field, values in BAD.items() for value in values],
)
def test_a_bad_field_is_named(kind: type[Convex], field: str, value: float) -> None:
    with pytest.raises(InputError, match=rf"^task\.{field}: given {value}; .* type --task\.{field} ") as refused:
        kind(**{field: value})  # type: ignore[arg-type]
    assert refused.value.field == f"task.{field}"


def test_a_penalty_too_small_for_float64_is_refused(tmp_path: Path) -> None:
    """Two equal columns: without a penalty there is a line of optima."""
    features = np.ones((5, 2)) * np.arange(5)[:, None]
    for kind, penalty in ((Ridge, 1e-300), (Logistic, 1e-300)):
        task = kind(file=written(tmp_path / "a.svm", features, np.array([0, 0, 0, 1, 1])), penalty=penalty)
        with pytest.raises(InputError, match=r"task\.penalty"):
            task.load()


def test_the_only_model_is_linear() -> None:
    task = Ridge(**SMALL)
    with pytest.raises(InputError, match="--model linear"):
        task.model("small_cnn", task.load())


def test_recipes_name_them() -> None:
    quickstart = str(Path(__file__).resolve().parents[2] / "recipes" / "quickstart.yaml")
    recipe, _, _ = parse_recipe("train", [quickstart, "--task", "logistic", "--task.penalty", "0.01"])
    assert recipe.task == Logistic(penalty=0.01)
    assert (TASKS["ridge"], TASKS["logistic"]) == (Ridge, Logistic)
    with pytest.raises(InputError, match=r"task\.penalty"):
        parse_recipe("train", [quickstart, "--task", "ridge", "--task.penalty", "0"])
