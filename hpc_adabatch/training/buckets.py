"""The gradients of all ranks, summed in buckets: flat buffers of a fixed order and size.

    last pass    a bucket's last p.grad is complete -> all are copied into its buffer -> the buffer starts to travel
    fill()       so are those that it has not reached
    send()       the last bucket starts, and takes numbers of the rank along (slots.py)
    wait()       all arrive, and every p.grad is a view of its buffer

From three ranks on, the order in which a sum adds its terms depends on the place of an element in the message. So the
buckets are cut once, in the order in which a backward pass reaches the parameters, start in that order on every rank,
and travel alone (Horovod's own fusion joins whatever happens to be ready): runs of the same command are equal bit by
bit on any number of ranks, and so are resumed ones.

A parameter that no pass of a rank has reached counts as zero there, and is told apart (``absent``); a rank without a
pass sends zeros. Weights of less than 32 bits are summed in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from ..cluster import Cluster
from .finite import WHOLE, small
from .slots import Numbers, Slots, listed

FIRST_BYTES = 2**20  # the last layers are ready first: a small bucket of theirs starts to travel early
BYTES = 25 * 2**20  # as in torch's DistributedDataParallel: large enough for the bandwidth, small enough to overlap


class Bucket:
    """Some parameters whose gradients travel in one message.

    Args:
        parameters: The parameters, of one kind.
        kind: The type in which they are summed.
        device: The device that they are on.
        half: True where they travel in float16.
        tail: The elements after the gradients, which are summed too.

    Attributes:
        tail: These elements.
    """

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        kind: torch.dtype,
        device: torch.device,
        *,
        half: bool,
        tail: int = 0,
    ) -> None:
        self.parameters = parameters
        sizes = [*(parameter.numel() for parameter in parameters), tail]
        self._buffer = torch.zeros(sum(sizes), dtype=kind, device=device)
        *parts, self.tail = torch.split(self._buffer, sizes)
        self._gradients = self._buffer[: sum(sizes) - tail]
        self._is_read_whole = len(self._gradients) <= WHOLE and all(p.dtype == kind for p in parameters)
        self._parts = [_like(parameter, part) for parameter, part in zip(parameters, parts, strict=True)]
        self._half = half
        self.waits_for = 0  # gradients of the last pass
        self.absent: list[nn.Parameter] = []
        self._arrived: Callable[[], torch.Tensor] | None = None

    def fill(self) -> None:
        """Copies what the passes have left in ``p.grad`` into the message."""
        given, parts = [], []
        self.absent = [parameter for parameter in self.parameters if parameter.grad is None]
        for parameter, part in zip(self.parameters, self._parts, strict=True):
            if parameter.grad is None:
                part.zero_()
            elif parameter.grad is not part:
                given.append(parameter.grad)
                parts.append(part)
        if given:
            torch._foreach_copy_(parts, given)
        for parameter, part in zip(self.parameters, self._parts, strict=True):
            parameter.grad = part if part.dtype == parameter.dtype else None

    def start(self, cluster: Cluster, name: str) -> None:
        """Starts the sum over ranks."""
        self._arrived = cluster.allreduce_async_(self._buffer.half() if self._half else self._buffer, name)

    def wait(self) -> None:
        """Waits until ``p.grad`` is the sum over ranks."""
        assert self._arrived is not None
        summed, self._arrived = self._arrived(), None
        if self._half:
            self._buffer.copy_(summed)
        for parameter, part in zip(self.parameters, self._parts, strict=True):
            if part.dtype != parameter.dtype:
                parameter.grad = part.to(parameter.dtype)

    def look(self, largest: int) -> list[torch.Tensor]:
        """Returns the gradients of at most so many elements; or all as one flat tensor, where it is small."""
        return [self._gradients] if self._is_read_whole else small(self.parameters, largest)


class GradientSum:
    """The sum of ``p.grad`` over all ranks, step after step.

    The order of calls in a step:

        expect(passes)     how many backward passes this rank will make
        backward(loss)     for each of them; the sum starts to travel during the last one
        fill()             for what the passes have not reached
        send(numbers)      for what has not started; other messages may follow, in one order on all ranks
        wait()             every p.grad is the sum over ranks, and may be read or changed

    Args:
        parameters: The parameters to train, in the order of the model; equally many on every rank.
        cluster: The ranks.
        compression: The form in which gradients travel between ranks, ``none`` or ``fp16``.
        numbers: The most numbers that travel beside the gradients.

    Attributes:
        absent: The parameters that no pass of this rank has reached, from ``fill`` on.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], cluster: Cluster, compression: str = "none", *, numbers: int = 0
    ) -> None:
        self._parameters = list(parameters)
        self._cluster = cluster
        self._hooks: list[RemovableHandle] = []
        self._buckets: list[Bucket] = []
        self._place: dict[nn.Parameter, Bucket] = {}
        self._passes = self._started = 0
        self.absent: list[nn.Parameter] = []
        self._in_last_pass = False
        self._beside: Numbers = ()  # of this rank, in the step in hand
        if cluster.size > 1:
            half = compression == "fp16"
            *first, (kind, device, last) = [*cut(self._parameters)] or [(torch.float32, cluster.device, [])]
            travels = torch.float16 if half else kind
            self._slots = Slots(numbers, cluster.rank, cluster.size, travels, cluster.device)
            self._buckets = [Bucket(parameters, kind, device, half=half) for kind, device, parameters in first]
            self._buckets.append(Bucket(last, kind, device, half=half, tail=self._slots.elements))
            for bucket in self._buckets[:-1]:  # the last one starts after the pass
                self._place |= dict.fromkeys(bucket.parameters, bucket)
            for parameter in self._place:
                self._hooks.append(parameter.register_post_accumulate_grad_hook(self._arrive))  # type: ignore[no-untyped-call]

    def expect(self, passes: int) -> None:
        """Tells how many backward passes this rank will make; called before the first of them."""
        self._passes, self._started = passes, 0
        for bucket in self._buckets:
            bucket.waits_for = len(bucket.parameters)

    def backward(self, loss: torch.Tensor, factor: float = 1.0) -> None:
        """Adds the gradient of a pass, times the factor, to ``p.grad``."""
        self._passes -= 1
        self._in_last_pass = self._passes == 0
        try:
            # A factor as the gradient to start from would make torch load its compiler (tests/test_imports.py).
            (loss if factor == 1.0 else loss * factor).backward()  # type: ignore[no-untyped-call]
        finally:  # a rank that runs out of memory has sums to take part in
            self._in_last_pass = False

    def pass_by(self) -> None:
        """Counts a pass without a gradient."""
        self._passes -= 1

    def fill(self) -> None:
        """Starts the sum of the buckets that the last pass did not fill on this rank, but for the last one."""
        while self._started < len(self._buckets) - 1:
            self._start()
        if not self._buckets:  # one rank alone
            self.absent = [parameter for parameter in self._parameters if parameter.grad is None]
            return
        self._buckets[-1].fill()
        self.absent = [parameter for bucket in self._buckets for parameter in bucket.absent]

    def send(self, numbers: Numbers = ()) -> None:
        """Starts the sum of the last bucket, and of numbers beside the gradients.

        Args:
            numbers: The numbers of this rank, equally many on every rank.
        """
        self._beside = numbers
        if self._buckets:
            self._slots.fill(self._buckets[-1].tail, numbers)
            self._buckets[-1].start(self._cluster, f"gradient.{self._started}")

    def wait(self) -> list[float]:
        """Waits until every ``p.grad`` is the sum over ranks; of one rank alone, those that are absent stay None.

        Returns:
            The numbers beside the gradients, summed over ranks.
        """
        for bucket in self._buckets:
            bucket.wait()
        return self._slots.read(self._buckets[-1].tail) if self._buckets else listed(self._beside)

    def look(self, largest: int) -> list[torch.Tensor]:
        """Returns the gradients in tensors of at most so many elements; more of them where that takes fewer tensors."""
        if not self._buckets:
            return small(self._parameters, largest)
        return [gradient for bucket in self._buckets for gradient in bucket.look(largest)]

    def close(self) -> None:
        """Takes the hooks off the parameters."""
        for hook in self._hooks:
            hook.remove()

    def _arrive(self, parameter: torch.Tensor) -> None:
        """Counts a gradient of the last pass, and starts the buckets that are full, each after the one before it."""
        if not self._in_last_pass:
            return
        bucket = self._place[parameter]  # type: ignore[index]
        bucket.waits_for -= 1
        if bucket.waits_for < 0:
            raise RuntimeError("a parameter had two gradients in one backward pass (reentrant checkpointing does that)")
        while self._started < len(self._buckets) - 1 and self._buckets[self._started].waits_for == 0:
            self._start()

    def _start(self) -> None:
        self._buckets[self._started].fill()
        self._buckets[self._started].start(self._cluster, f"gradient.{self._started}")
        self._started += 1


def cut(parameters: Sequence[nn.Parameter]) -> Iterator[tuple[torch.dtype, torch.device, list[nn.Parameter]]]:
    """Yields the type in which a bucket is summed, its device and its parameters, those of the last layers first.

    Args:
        parameters: The parameters in the order of the model.
    """
    open_ones: dict[tuple[torch.dtype, torch.device], list[nn.Parameter]] = {}
    largest = FIRST_BYTES
    for parameter in reversed(parameters):
        kind = torch.promote_types(parameter.dtype, torch.float32)
        bucket = open_ones.setdefault((kind, parameter.device), [])
        bucket.append(parameter)
        if sum(p.numel() for p in bucket) * kind.itemsize >= largest:
            yield kind, parameter.device, open_ones.pop((kind, parameter.device))
            largest = BYTES
    for (kind, device), bucket in open_ones.items():
        yield kind, device, bucket


def _like(parameter: nn.Parameter, part: torch.Tensor) -> torch.Tensor:
    """Returns a view of a flat part with the shape of the parameter, and with its strides where it has no gaps."""
    expected = 1
    for stride, size in sorted(zip(parameter.stride(), parameter.shape, strict=True)):
        if size > 1 and stride != expected:
            return part.view(parameter.shape)
        expected *= size
    return part.as_strided(parameter.shape, parameter.stride(), part.storage_offset())
