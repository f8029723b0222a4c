"""Latency and bandwidth of a network, from the times of its messages.

Hockney 1994, The communication challenge for MPP, https://doi.org/10.1016/S0167-8191(06)80021-9:

    time = latency + bytes / bandwidth        the sum over messages of ((time - measured) / measured)^2 is least

Errors are relative, because the largest message alone would decide a plain sum of squares. Neither term is negative.

    name        meaning                                     unit
    latency     time of an empty message                    s
    bandwidth   bytes per second of an endless message      bytes/s
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A straight line through the times of messages."""

    latency_s: float
    """Seconds of an empty message."""
    bandwidth_bytes_per_s: float | None
    """Bytes per second; None where larger messages take no longer."""
    largest_relative_error: float
    """The line's largest error at one of the messages, over the measured time: 0.5 is half of that."""

    def seconds(self, message_bytes: float) -> float:
        """Returns the seconds that a message of so many bytes takes, by the line."""
        bandwidth = self.bandwidth_bytes_per_s
        return self.latency_s + (message_bytes / bandwidth if bandwidth is not None else 0.0)


def fit(message_bytes: Sequence[int], seconds: Sequence[float]) -> Fit:
    """Returns the line with the least relative errors.

    Args:
        message_bytes: The sizes of the messages, at least two different ones.
        seconds: The time that each took, more than 0.

    Raises:
        ValueError: Fewer than two sizes, or a time that is not positive.
    """
    from scipy.optimize import nnls

    sizes, measured = np.array(message_bytes, dtype=np.float64), np.array(seconds, dtype=np.float64)
    if len(np.unique(sizes)) < 2 or not (measured > 0).all():
        raise ValueError("a line needs two sizes of messages, and times above 0")
    columns = np.stack([1 / measured, sizes / measured], axis=1)  # (messages, 2), each row over its measured time
    scale = np.linalg.norm(columns, axis=0)  # (2,): 1/s and bytes/s are many powers of ten apart
    solution, _ = nnls(columns / scale, np.ones(len(measured)))
    latency, per_byte = solution / scale
    errors = np.abs(columns @ (latency, per_byte) - 1)
    return Fit(
        latency_s=float(latency),
        bandwidth_bytes_per_s=float(1 / per_byte) if per_byte > 0 else None,
        largest_relative_error=float(errors.max()),
    )
