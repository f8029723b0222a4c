"""The gradient's noise in a training loop that is not ours, which goes on as it did.

    piece(b)    hooks on the parameters, on measured steps     b_i, w_i, w_i |g_i|^2
    step()      p.grad is the mean now                         |g|^2; a message of nine numbers leaves for all ranks
    after it    the next step(), or a number is read           the message is there; DDP's ranks have not waited for it

A hook sees the gradient of one backward pass alone, before torch adds it to ``p.grad``, and so before
DistributedDataParallel or Horovod has it. Each pass of each rank is a piece, as in our own loop (measuring.py). Nothing
is put between them and the gradients: not even a communication hook of DDP, which takes the place of its own average
and rounds otherwise than that from three ranks on (torch 2.13: times 1/3 or divided by 3, as the bucket was filled).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from ..cluster.reducer import reducer_of
from ..errors import real, require, whole
from ..gradients import Estimate, PieceMeter, Smoother
from ..gradients.weighted_pieces import measurement, terms

WINDOW_STEPS = 1000  # that the averages reach back where the length of an epoch is not known


class NoiseMeter:
    """A meter of the gradient's noise in a training loop of your own, whose weights stay the same bit by bit.

        meter = hab.NoiseMeter(model, population=len(train_set))
        for inputs, targets in loader:
            meter.piece(len(inputs))  # before each backward pass
            loss_fn(model(inputs), targets).backward()
            meter.step()  # p.grad is the mean over passes and ranks, and nothing has changed it yet
            optimizer.step()
            optimizer.zero_grad()
        print(meter.noise_scale, meter.low, meter.high)

    Ranks and backward passes are the pieces of a batch, of which a step needs two or more. Every rank has a meter, and
    all have the same numbers. With Horovod's optimizer, ``meter.step()`` stands between ``optimizer.step()`` and
    ``optimizer.zero_grad()``.

    Args:
        model: The network as the loop calls it: torch's DistributedDataParallel where that averages over ranks.
        optimizer: Horovod's DistributedOptimizer where that averages over ranks; not needed otherwise.
        every: Steps from one measurement to the next.
        population: Samples of the training set, of which an epoch draws none twice; not given where that is not known.
        window: Samples that the averages reach back; by default half of the population, or 1000 steps without one.

    Raises:
        InputError: An argument is out of range, or the process has joined ranks over which neither argument averages.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer | None = None,
        *,
        every: int = 10,
        population: int | None = None,
        window: float | None = None,
    ) -> None:
        require(isinstance(model, nn.Module), "model", f"{model!r:.60}", "a torch.nn.Module", "NoiseMeter(model)")
        require(whole(every) >= 1, "every", every, "1 or more", "every=10")
        good = population is None or whole(population) >= 2
        require(good, "population", population, "2 or more, or None", "population=len(train_set)")
        require(window is None or real(window) > 0, "window", window, "more than 0, or None", "window=20000")
        self._parameters = list(model.parameters())
        trained = any(parameter.requires_grad for parameter in self._parameters)
        allowed = "one at least, whose gradient can be measured"
        require(trained, "model", "no parameter that is trained", allowed, "model.requires_grad_()")
        self._reducer = reducer_of(model, optimizer)
        self._meter = PieceMeter([self._parameters])
        self._counter: RemovableHandle | None = None
        self._every, self._population, self._window = every, population, window
        self._smoother: Smoother | None = None
        self._wait = 0  # steps until the next measurement
        self._sums = [0.0] * 5  # of this rank's pieces of the step in hand
        self._backwards = 0  # that reached one parameter, of the step in hand
        self._samples_since = 0  # on this rank, since the last measurement
        self._arrive: Callable[[], None] | None = None  # takes in the measurement that is on its way
        self._measurements = 0
        self._estimate: Estimate | None = None

    def piece(self, samples: int, weight: float = 1.0) -> None:
        """Announces the next backward pass, on every step.

        Args:
            samples: The samples of the pass, whose mean loss is differentiated.
            weight: The weight that the loop gives this pass's mean loss beside the other passes of all ranks, in any
                unit: one for all in the usual loop, ``samples`` where the loop weighs by samples.

        Raises:
            InputError: An argument is out of range.
        """
        require(whole(samples) >= 1, "samples", samples, "1 or more", "meter.piece(len(inputs))")
        require(0 < real(weight) < math.inf, "weight", weight, "more than 0", "weight=len(inputs)")
        self._samples_since += samples
        if self._wait:
            return
        if not self._sums[0]:
            self._begin()
        self._sums = [a + b for a, b in zip(self._sums, terms(samples, weight), strict=True)]
        self._meter.piece(weight, weight)

    def step(self, loss_scale: float = 1.0) -> None:
        """Takes in the step's mean gradient, which stands in ``p.grad``; on every step, before it is clipped or zeroed.

        Args:
            loss_scale: The factor of all losses, ``scaler.get_scale()`` before ``scaler.unscale_(optimizer)``.

        Raises:
            InputError: The step, or on several ranks the one before, cannot be measured; all ranks raise the same
                error, which says what to do.
        """
        require(0 < real(loss_scale) < math.inf, "loss_scale", loss_scale, "more than 0", "scaler.get_scale()")
        self._take_in()
        if self._wait:
            self._wait -= 1
            return
        allowed = "a call between optimizer.step() and optimizer.zero_grad()"
        require(not self._reducer.is_busy(), "meter.step()", "gradients that Horovod is still adding up", allowed)
        message, own = self._message(), self._samples_since
        wait = self._reducer.add(message)

        def arrive() -> None:
            wait()
            if self._measured(message.tolist(), loss_scale):
                self._samples_since -= own
            else:
                # the next step that can be is measured in place of this one, on every rank the same
                self._wait = min(self._wait, int(self._reducer.ranks > 1))

        self._arrive, self._wait = arrive, self._every - 1
        if self._reducer.ranks == 1:
            self._take_in()

    @property
    def measurements(self) -> int:
        """Returns the number of measurements so far."""
        self._take_in()
        return self._measurements

    @property
    def estimate(self) -> Estimate | None:
        """Returns all averages in one object; None before the second measurement."""
        self._take_in()
        return self._estimate

    @property
    def noise_scale(self) -> float:
        """Returns variance / signal, in samples; infinite without a signal, nan before the second measurement."""
        return self.estimate.noise_scale if self.estimate else math.nan

    @property
    def low(self) -> float:
        """Returns the lower end of the noise scale's 95 % interval, in samples; 0 before the second measurement."""
        return self.estimate.low if self.estimate else 0.0

    @property
    def high(self) -> float:
        """Returns the upper end of that interval; infinite where the signal cannot be told from zero, or at first."""
        return self.estimate.high if self.estimate else math.inf

    @property
    def variance(self) -> float:
        """Returns one sample's gradient variance, summed over parameters; nan before the second measurement."""
        return self.estimate.variance if self.estimate else math.nan

    @property
    def signal(self) -> float:
        """Returns the squared length of the training set's gradient, unbiased; nan before the second measurement."""
        return self.estimate.signal if self.estimate else math.nan

    def _begin(self) -> None:
        self._meter.start(passes=1)
        trained = [parameter for parameter in self._parameters if parameter.requires_grad]
        self._counter = trained[-1].register_hook(self._count)  # type: ignore[no-untyped-call]

    def _count(self, gradient: torch.Tensor) -> None:
        self._backwards += 1

    def _message(self) -> torch.Tensor:
        """Returns this rank's numbers of a measured step, whose sums over ranks all ranks then share.

        So all decide alike, also where what they see is not. Of the mean gradient's the sum is the mean over ranks.
        """
        if not self._sums[0]:  # a rank without samples has zeros
            self._begin()
        self._meter.stop()
        if self._counter is not None:
            self._counter.remove()
        squares, mean_squares = self._meter.square_sums(), self._meter.mean_squares()
        surplus = max(0.0, self._backwards - self._sums[0])
        own = squares.new_tensor([*self._sums, self._samples_since, surplus])
        self._sums, self._backwards = [0.0] * 5, 0
        return torch.cat([own, squares, mean_squares / self._reducer.ranks])

    def _take_in(self) -> None:
        """Takes in the measurement that is on its way, if one is."""
        arrive, self._arrive = self._arrive, None
        if arrive:
            arrive()

    def _measured(self, numbers: Sequence[float], loss_scale: float) -> bool:
        """Takes in the numbers of a step, summed over ranks; returns whether it could be measured."""
        *sums, since, surplus, square_sum, mean_square = numbers
        self._check(sums, surplus, square_sum, mean_square)
        if sums[0] < 2 or not (math.isfinite(square_sum) and math.isfinite(mean_square)):
            return False
        # the formulas' weights sum to 1, and their pieces are parts of the mean: ranks still have to be divided by
        square_sum *= sums[2] / (self._reducer.divisor * loss_scale) ** 2
        found = measurement(sums, square_sum, mean_square / loss_scale**2, self._population)
        if self._smoother is None:
            window = self._population / 2 if self._population else WINDOW_STEPS * since
            self._smoother = Smoother(self._window or window)
        self._smoother.add(found, int(since))
        self._estimate = self._smoother.read()
        self._measurements += 1
        return True

    def _check(self, sums: Sequence[float], surplus: float, square_sum: float, mean_square: float) -> None:
        """Sees that the loop calls what it must where it must, by numbers that all ranks share."""
        pieces, samples = int(sums[0]), int(sums[1])
        given = f"{pieces} call(s) in a step, and {int(surplus)} backward pass(es) more"
        call = "meter.piece(len(inputs))"
        require(surplus == 0 and pieces > 0, "meter.piece()", given, "one call before each backward pass", call)
        given = f"{self._reducer.ranks} rank and {pieces} backward pass before meter.step()"
        allowed = "two ranks, or two passes: a variance needs two pieces of a batch"
        halves = "two halves, as for part in inputs.chunk(2); or torchrun --nproc-per-node 2"
        require(pieces > 1 or self._measurements > 0, "pieces", given, allowed, halves)
        allowed = f"{samples}, the samples of a step, or more; or None"
        fits = self._population is None or self._population >= samples
        require(fits, "population", self._population, allowed, "population=len(train_set)")
        gone = mean_square == 0 < square_sum
        require(not gone, "meter.step()", "zeros in p.grad", "a call before optimizer.zero_grad()")
