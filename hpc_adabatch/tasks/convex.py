"""Ridge and logistic regression: convex problems whose optimum is known, so that the gap to it is the metric.

De, Yadav, Jacobs & Goldstein 2016, https://arxiv.org/abs/1610.05792, section 6: adaptive batches on convex problems.

    here        symbol        meaning                                                                      unit
    objective   f_i(w)        loss_i(w) + penalty/2 |w|^2, of sample i                                     loss
    ridge       loss_i        1/2 (x_i . w - y_i)^2                                                        target^2
    logistic    loss_i        log(1 + exp(x_i . w)) - y_i x_i . w, y_i 0 or 1                              nats
    optimum     f* = f(w*)    the smallest mean over i of f_i: ridge by its normal equations,              loss
                              logistic by Newton's method
    gap         f(w) - f*     the metric; 0 at best                                                        loss
    condition   l_1 / l_n     largest / smallest eigenvalue of the features' covariance                    1

Each sample's objective contains the penalty, because the gradient's statistics must see it; set the optimizer's weight
decay to 0. There is no bias, and weights start at 0. Everything is float64. The test set is the training set: the task
is to minimise, not to generalise. A file whose features would take much memory is kept without its zeros (features.py).
"""

from __future__ import annotations

import math
import zlib
from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import TensorDataset

from ..cluster import Cluster
from ..cluster.memory import check_memory
from ..errors import InputError, real, require
from .augment import AsStored, NoAugmentation
from .features import SparseRows, dense_bytes, lengths, solve, sparse, sparse_bytes, times, transposed_times
from .task import Task, TaskData

DENSE_BYTES = 2**30  # of a file that is not standardised and is held dense
MAX_NEWTON_STEPS = 100  # ten are usual
DECREMENT = 1e-20  # decrease of the objective by one more Newton step, far below its rounding: the search ends
ROUNDING = 1e-14  # relative rise of the objective that may be rounding
RESIDUAL = 1e-8  # gradient at the optimum / mean gradient of a sample at 0; above it the optimum is not exact enough


class Linear(nn.Module):
    """A linear function without bias, float64, whose weights start at 0, together with the penalty of its weights.

    Args:
        features: Number of features of one input.
        penalty: Factor lambda of the penalty lambda/2 |w|^2.
    """

    def __init__(self, features: int, penalty: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, features, dtype=torch.float64))
        self.penalty = penalty

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Returns the predictions x . w and, in each row, penalty/2 |w|^2: (samples, features) -> (samples, 2)."""
        return outputs_of(inputs.to(self.weight.dtype), self.weight[0], self.penalty)


def outputs_of(inputs: torch.Tensor, weight: torch.Tensor, penalty: float) -> torch.Tensor:
    """Returns the output of ``Linear`` with these weights, shape (features,)."""
    cost = penalty / 2 * weight.square().sum()
    return torch.stack([times(inputs, weight), cost.expand(len(inputs))], dim=1)  # (samples, 2)


@dataclass(frozen=True)
class Problem:
    """The data of a convex problem and its optimum; float64, on the CPU."""

    features: torch.Tensor
    """Features of all samples, dense or sparse, shape (samples, features)."""
    targets: torch.Tensor
    """Targets of all samples, shape (samples,)."""
    minimiser: torch.Tensor
    """Weights w* of the optimum, shape (features,)."""
    optimum: float
    """Smallest mean objective, f(w*)."""


@dataclass(frozen=True, kw_only=True)
class Convex(Task):
    """A task with a linear model, a convex loss and a quadratic penalty, on drawn data or on those of a file.

    Raises:
        InputError: A field is out of range.
    """

    samples: int = 8000
    """Number of drawn samples; not used with a file."""
    features: int = 50
    """Number of features of each drawn sample; not used with a file."""
    condition: float = 100.0
    """Largest / smallest eigenvalue of the drawn features' covariance, whose eigenvalues are even in logarithm."""
    noise: float = 1.0
    """Noise of drawn targets: standard deviation around the true line (ridge); scale of the logistic noise added to the
    true logit before its sign is taken as the class (logistic), where 1 gives each class the logit's probability."""
    penalty: float = 1e-3
    """Factor lambda of the penalty lambda/2 |w|^2 in each sample's objective; above 0, so that there is one optimum."""
    data_seed: int = 0
    """Seed of drawn data, which are the same on all ranks."""
    file: str | None = None
    """LIBSVM file to read instead of drawing, also .gz or .bz2."""
    standardise: bool = True
    """Scales a file's features, and the targets of ridge, to mean 0 and variance 1, because there is no bias; each rank
    then holds 8 bytes for each feature and sample, and without it, in a large file, 24 bytes for each that is not 0."""

    metric = "gap"
    larger_is_better = False
    default_model = "linear"

    def __post_init__(self) -> None:
        for name, least in (("samples", 1), ("features", 1), ("condition", 1), ("noise", 0), ("data_seed", 0)):
            value, default = getattr(self, name), getattr(Convex, name)
            allowed = f"{least} or more, finite"
            require(least <= real(value) < math.inf, f"task.{name}", value, allowed, f"--task.{name} {default}")
        require(
            0 < real(self.penalty) < math.inf, "task.penalty", self.penalty, "above 0, finite", "--task.penalty 0.001"
        )

    def load(self, cluster: Cluster | None = None) -> TaskData:
        self.__dict__["_ranks"] = cluster.local_size if cluster is not None else 1  # as cached_property does
        problem = self._problem
        features = SparseRows(problem.features) if problem.features.is_sparse else problem.features
        samples = TensorDataset(features, problem.targets)  # type: ignore[arg-type]
        as_stored = AsStored(mean=(), std=())
        return TaskData(
            train=samples,
            test=samples,
            augment=NoAugmentation(as_stored),
            prepare=as_stored,
            sample_shape=(problem.features.shape[1],),
            n_classes=1,
        )

    def model(self, name: str, data: TaskData) -> Linear:
        require(name == "linear", "model", name, "linear", "--model linear")
        return Linear(data.sample_shape[0], self.penalty)

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Returns the mean objective of the samples. Shape (), float64."""
        return self._objectives(outputs, targets).mean()

    def score(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Returns the sum over samples of objective - optimum, whose mean over all is the gap. Shape (), float64."""
        return (self._objectives(outputs, targets) - self.optimum).sum()

    @property
    def optimum(self) -> float:
        """Returns f*, the smallest mean objective over all samples."""
        return self._problem.optimum

    @property
    def minimiser(self) -> torch.Tensor:
        """Returns w*, the weights of the smallest mean objective. Shape (features,), float64."""
        return self._problem.minimiser

    def _objectives(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        outputs = outputs.double()  # (samples, 2)
        return self._losses(outputs[:, 0], targets.double()) + outputs[:, 1]  # (samples,)

    @cached_property
    @torch.enable_grad()
    def _problem(self) -> Problem:
        features, targets = self._draw() if self.file is None else self._read(self.file)
        minimiser = self._minimise(features, targets).requires_grad_()
        loss = self.loss(outputs_of(features, minimiser, self.penalty), targets)
        (left,) = torch.autograd.grad(loss, minimiser)
        require(
            bool(left.norm() <= RESIDUAL * self._start(features, targets)),
            "task.penalty",
            self.penalty,
            "large enough for an optimum that float64 can find with these features",
            "--task.penalty 0.001",
        )
        return Problem(features, targets, minimiser.detach(), loss.item())

    def _start(self, features: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Returns the mean length of one sample's gradient at w = 0. Shape ()."""
        outputs = torch.zeros(len(targets), 2, dtype=torch.float64, requires_grad=True)
        (slopes,) = torch.autograd.grad(self.loss(outputs, targets), outputs)  # (samples, 2), divided by samples
        return (slopes[:, 0].abs() * lengths(features)).sum()

    def _draw(self) -> tuple[torch.Tensor, torch.Tensor]:
        needed = self._copies * dense_bytes(self.samples, self.features)
        check_memory("task.samples", f"{self.samples:,} of {self.features:,} features", needed, "--task.samples 8000")
        random = np.random.Generator(np.random.PCG64(self.data_seed))
        eigenvalues = np.logspace(0, -math.log10(self.condition), self.features)
        rotation, _ = np.linalg.qr(random.standard_normal((self.features, self.features)))
        independent = random.standard_normal((self.samples, self.features))
        features = independent * np.sqrt(eigenvalues) @ rotation.T  # (samples, features)
        truth = random.standard_normal(self.features)
        targets = self._draw_targets(features @ truth, random)  # (samples,)
        return torch.from_numpy(features), torch.from_numpy(targets)

    def _read(self, file: str) -> tuple[torch.Tensor, torch.Tensor]:
        from sklearn.datasets import load_svmlight_file

        allowed = "a LIBSVM file, each line 'target index:value index:value ...'"
        try:
            found, values = load_svmlight_file(file)
        except (OSError, EOFError, zlib.error, ValueError, OverflowError, MemoryError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise InputError("task.file", f"{file} ({reason})", allowed, "--task.file FILE") from error
        targets = torch.from_numpy(values)
        require(len(targets) > 0, "task.file", f"{file} (without samples)", allowed, "--task.file FILE")
        finite = bool(np.isfinite(found.data).all() and targets.isfinite().all())
        require(finite, "task.file", f"{file} (with nan or inf)", "finite numbers")
        targets, dense = self._file_targets(targets), dense_bytes(*found.shape)
        given = f"{str(self.standardise).lower()} for {file} ({found.shape[0]:,} x {found.shape[1]:,})"
        if self.standardise or dense <= DENSE_BYTES:
            hint = "--task.standardise false, which leaves out the zeros"
            check_memory("task.standardise", given, self._copies * dense, hint)
            features = torch.from_numpy(found.toarray())
            return standard(features) if self.standardise else features, targets
        needed = self._copies * sparse_bytes(found.nnz, found.shape[1])
        check_memory("task.standardise", given, needed, "fewer features")
        return sparse(found), targets

    @property
    def _copies(self) -> int:
        """Returns the ranks of this node, each of which holds the data."""
        return self.__dict__.get("_ranks", 1)

    @abstractmethod
    def _losses(self, predictions: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Returns loss_i of each sample; all shapes (samples,)."""

    @abstractmethod
    def _minimise(self, features: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Returns w*, shape (features,); not finite, or no minimum, if float64 is not exact enough."""

    @abstractmethod
    def _draw_targets(self, truth: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Returns targets y_i drawn for x_i . w of the true w, both of shape (samples,)."""

    @abstractmethod
    def _file_targets(self, targets: torch.Tensor) -> torch.Tensor:
        """Returns y_i for the targets of a file, both of shape (samples,)."""


class Ridge(Convex):
    """Ridge regression: least squares with a quadratic penalty, on drawn data or on those of a file."""

    def _losses(self, predictions: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return (predictions - targets).square() / 2

    def _minimise(self, features: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return solve(features, None, self.penalty, transposed_times(features, targets) / len(targets))

    def _draw_targets(self, truth: np.ndarray, random: np.random.Generator) -> np.ndarray:
        return truth + self.noise * random.standard_normal(len(truth))

    def _file_targets(self, targets: torch.Tensor) -> torch.Tensor:
        return standard(targets) if self.standardise else targets


class Logistic(Convex):
    """Logistic regression: two classes, with a quadratic penalty, on drawn data or on those of a file."""

    def _losses(self, predictions: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return binary_cross_entropy_with_logits(predictions, targets, reduction="none")

    def _minimise(self, features: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        def value(weight: torch.Tensor) -> float:
            return self.loss(outputs_of(features, weight, self.penalty), targets).item()

        weight = torch.zeros(features.shape[1], dtype=torch.float64)
        for _ in range(MAX_NEWTON_STEPS):
            odds = torch.sigmoid(times(features, weight))  # (samples,)
            gradient = transposed_times(features, odds - targets) / len(targets) + self.penalty * weight
            step = solve(features, odds * (1 - odds), self.penalty, gradient)
            decrement = (gradient @ step).item() / 2
            length, here = 1.0, value(weight)
            while value(weight - length * step) > here - length * decrement / 2 + ROUNDING * here:
                length /= 2
            weight = weight - length * step
            if decrement <= DECREMENT:
                break
        return weight

    def _draw_targets(self, truth: np.ndarray, random: np.random.Generator) -> np.ndarray:
        return (truth + self.noise * random.logistic(size=len(truth)) > 0).astype(np.float64)

    def _file_targets(self, targets: torch.Tensor) -> torch.Tensor:
        classes = np.unique(targets.numpy())
        require(len(classes) == 2, "task.file", f"{self.file} ({len(classes)} classes)", "two classes", "--task ridge")
        return (targets == float(classes[1])).double()  # the larger label is class 1


def standard(values: torch.Tensor) -> torch.Tensor:
    """Returns the values scaled to mean 0 and variance 1 along the first dimension; constant ones become 0."""
    varies = values.amax(0) > values.amin(0)
    spread = torch.where(varies, values.std(0, correction=0), math.inf)
    return (values - values.mean(0)) / spread
