"""Simulates sums over ranks, chunk by chunk, where some ranks start late.

    rank 0  ----c0--->            a piece leaves when its sender has it, arrives after the latency and the time of
    rank 1        ----c0--->      its bytes, and is added once the receiver has started too
    rank 2 (late)        ----c0--->

    start        (ranks,) seconds at which each rank has its gradient
    finish       (ranks,) seconds at which each rank has the whole sum

In a ring a rank sends its next piece when the last one has arrived. So the sum ends exactly one undisturbed sum after
the latest start: lateness is neither hidden nor multiplied. In a tree a late rank near the root catches up with a part
of the time that filling the tree takes. All ranks are computed at once: (ranks,) per step of a ring, (ranks, chunks)
per level of a tree.

    latest of P ranks    E max = integral of 1 - F(x)^P      mean cost to a ring of lateness with distribution F

The closed forms are in hpc_adabatch/study/scaling/network.py.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.integrate import quad
from scipy.special import log_ndtr, ndtri

from hpc_adabatch.study.scaling.network import CHUNK_BYTES, Link, Network, chunks


def on_time(ranks: int) -> np.ndarray:
    """Returns starts of 0 for all ranks."""
    return np.zeros(ranks)


def lognormal(ranks: int, median_s: float, sigma: float, draw: np.random.Generator) -> np.ndarray:
    """Draws the lateness of each rank: median_s * exp(sigma * normal)."""
    return median_s * draw.lognormal(0.0, sigma, ranks)


def expected_latest_s(ranks: int, median_s: float, sigma: float) -> float:
    """Returns the mean lateness of the latest rank, for independent lognormal latenesses."""

    def beyond(x: float) -> float:  # P(latest > median_s e^x), times dt/dx
        return float(-np.expm1(ranks * log_ndtr(x / sigma))) * math.exp(x)

    if sigma == 0:
        return median_s
    top = sigma * (10 + sigma)  # beyond lies nothing that a float could see
    below = math.exp(-top)  # so early is nobody
    middle = sigma * float(ndtri(0.5 ** (1 / ranks)))
    return median_s * (below + quad(beyond, -top, top, points=[middle], limit=200)[0])


def ring(start: np.ndarray, message_bytes: float, link: Link) -> np.ndarray:
    """Returns the finish of each rank of a ring: P pieces, 2 (P-1) steps, reduce-scatter and then gather."""
    ranks = start.shape[-1]
    return _rounds(start, 2 * (ranks - 1), link.hop_s(message_bytes / ranks))


def tree(start: np.ndarray, message_bytes: float, link: Link) -> np.ndarray:
    """Returns the finish of each rank of a binomial tree with root 0: whole messages go up, then down."""
    ready, ranks, hop_s = start.astype(np.float64), len(start), link.hop_s(message_bytes)
    spans = [1 << level for level in range((ranks - 1).bit_length())]
    for span in spans:
        senders = np.arange(span, ranks, 2 * span)
        ready[senders - span] = np.maximum(ready[senders - span], ready[senders]) + hop_s
    for span in reversed(spans):
        receivers = np.arange(span, ranks, 2 * span)
        ready[receivers - span] += hop_s  # its link is taken for so long
        ready[receivers] = ready[receivers - span]
    return ready


def double_tree(start: np.ndarray, message_bytes: float, link: Link, chunk_bytes: float = CHUNK_BYTES) -> np.ndarray:
    """Returns the finish of each rank of two binary trees; each carries half of the message by half of every link."""
    ranks, k = len(start), chunks(message_bytes, chunk_bytes)
    if ranks == 1:
        return start.astype(np.float64)
    rate = link.bandwidth_bytes_per_s / (1 if ranks == 2 else 2)
    gap_s = message_bytes / 2 / k / rate
    parent = binary_tree(ranks)
    order = np.arange(ranks)[::-1] if ranks % 2 == 0 else np.roll(np.arange(ranks), 1)  # inner ranks become leaves
    one = _pipeline(start, parent, k, gap_s, link.latency_s)
    other = np.empty(ranks)
    other[order] = _pipeline(start[order], parent, k, gap_s, link.latency_s)
    return np.maximum(one, other)


def hierarchical(start: np.ndarray, message_bytes: float, network: Network, *, between: str = "ring") -> np.ndarray:
    """Returns the finish of each rank: reduce-scatter in the node, sums over nodes side by side, gather in the node.

    Args:
        start: seconds, (nodes, ranks of a node).
        message_bytes: bytes of the message.
        network: the links within and between nodes.
        between: the algorithm between nodes, "ring" or "double tree".
    """
    per_node = start.shape[1]
    piece_bytes = message_bytes / per_node
    shared = Link(
        latency_s=network.between.latency_s,
        bandwidth_bytes_per_s=network.between.bandwidth_bytes_per_s / per_node,
    )
    inner_s = network.within.hop_s(piece_bytes)
    scattered = _rounds(start, per_node - 1, inner_s)  # (nodes, ranks of a node)
    if between == "ring":
        summed = ring(scattered.T, piece_bytes, shared).T
    else:
        columns = [double_tree(column, piece_bytes, shared, CHUNK_BYTES / per_node) for column in scattered.T]
        summed = np.stack(columns, axis=1)
    return _rounds(summed, per_node - 1, inner_s)


def binary_tree(ranks: int) -> np.ndarray:
    """Returns the parent of each rank, -1 for the root; ranks are numbered so that 0, 2, 4, ... are leaves.

    ranks 0..6:        3
                    1     5
                   0 2   4 6
    """
    node = np.arange(1, ranks + 1)
    root = 1 << (ranks.bit_length() - 1)

    def above(i: np.ndarray) -> np.ndarray:  # in the endless tree: the lowest 1 moves up by one place
        lowest = i & -i
        return (i ^ lowest) | (lowest << 1)

    parent = above(node)
    while (outside := (parent > ranks) & (node != root)).any():
        parent[outside] = above(parent[outside])
    parent[root - 1] = 0
    return parent - 1


def _rounds(start: np.ndarray, steps: int, hop_s: float) -> np.ndarray:
    """Hands pieces on around a ring, along the last axis, ``steps`` times; one piece at a time leaves a rank."""
    ready = start.astype(np.float64)
    free = ready.copy()
    for _ in range(steps):
        free = np.maximum(ready, free) + hop_s
        ready = np.roll(free, 1, axis=-1)
    return np.maximum(ready, free)


def _pipeline(start: np.ndarray, parent: np.ndarray, k: int, gap_s: float, latency_s: float) -> np.ndarray:
    """Sends chunks up a tree, each added to the parent's own, and down again when all have arrived.

    Args:
        start: seconds, (ranks,).
        parent: the parent of each rank, (ranks,).
        k: number of chunks.
        gap_s: seconds between two chunks on a link.
        latency_s: seconds of a hop without bytes.
    """
    depth = _depths(parent)
    turn = gap_s * np.arange(k)  # (chunks,): chunk j leaves j gaps after chunk 0 at the earliest

    def sent(ready: np.ndarray) -> np.ndarray:  # (senders, chunks) -> arrivals
        return np.maximum.accumulate(ready - turn, axis=1) + turn + gap_s + latency_s

    ready = np.repeat(start[:, None].astype(np.float64), k, axis=1)  # (ranks, chunks)
    for level in range(int(depth.max()), 0, -1):
        at = np.flatnonzero(depth == level)
        np.maximum.at(ready, parent[at], sent(ready[at]))
    root = int(np.flatnonzero(depth == 0)[0])
    ready[root] = ready[root].max()
    for level in range(1, int(depth.max()) + 1):
        at = np.flatnonzero(depth == level)
        ready[at] = sent(ready[parent[at]])
    return ready[:, -1]


def _depths(parent: np.ndarray) -> np.ndarray:
    depth, above = np.zeros(len(parent), dtype=int), parent.copy()
    while (inside := above >= 0).any():
        depth[inside] += 1
        above[inside] = parent[above[inside]]
    return depth
