"""Time to sum a gradient over all ranks, in closed form: ring, tree, double tree, and within and between nodes.

    letter    here                        meaning                                               unit
    P         ranks                       that share the sum                                    1
    N, R      nodes, ranks_per_node       P = N R                                               1
    M         message_bytes               the gradient                                          bytes
    alpha     latency_s                   until the first byte of a message arrives             s
    beta      bandwidth_bytes_per_s       of a link, in each direction                          bytes/s
    c, k      chunk_bytes, chunks         pieces that follow each other through a tree          bytes, 1
    D         floor(log2 P)               depth of a balanced binary tree                       1

    ring          2 (P-1) (alpha + M/(P beta))              P pieces go round twice: added up, then handed out
    tree          2 ceil(log2 P) (alpha + M/beta)           the whole message up and down a binomial tree
    double tree   2 D alpha + 2 (D-1+k)/k M/beta            two binary trees, half of the message each; who is inside
                                                            one is a leaf of the other, so each has half of every link
    hierarchical  reduce-scatter in the node, (R-1) (alpha + M/(R beta)) by its own link; the R pieces each over the
                  nodes, side by side through the node's adapter: a ring or a double tree of M over N; gather as scatter

Ring: Patarasuk & Yuan 2009, https://doi.org/10.1016/j.jpdc.2008.09.002. Tree: Thakur, Rabenseifner & Gropp 2005,
https://doi.org/10.1177/1094342005051521. Double tree: Sanders, Speck & Traeff 2009, https://doi.org/10.1016/j.parco.2009.09.001;
latency and bandwidth as NCCL's own model has them (nccl, src/graph/tuning.cc). Hierarchical: as Horovod's
HOROVOD_HIERARCHICAL_ALLREDUCE does it.

The presets' constants, all nominal: peak rates of data sheets, one direction. Measured ones are lower, some by half;
`adabatch probe` measures, and what it measured is the better input.

    NVLink 1    80 GB/s    P100 SXM2: 4 links of 20 GB/s each way (NVIDIA, GP100 white paper WP-08019-001, "NVLink")
    NVLink 2    150 GB/s   V100 SXM2: 6 links of 25 GB/s each way (NVIDIA, V100 data sheet: 300 GB/s both ways)
    PCIe 3 x16  15.75 GB/s 16 lanes of 8 GT/s, 128b/130b (PCI-SIG, PCI Express 3.0)
    IB EDR 4x   12.5 GB/s  100 Gbit/s (Mellanox, ConnectX-4 and -5 VPI user manuals)
    IB FDR 4x   6.8 GB/s   4 lanes of 14.0625 Gbit/s, 64b/66b: 54.5 Gbit/s (IBTA, InfiniBand roadmap)
    Aries       10 GB/s    into a node of a Cray XC, rounded (Cray, XC Series Network, WP-Aries01-1112)
    latencies   3.4, 5.7 and 9.6 microseconds a hop by NVLink, PCIe and network: what NCCL 2.8 reckons with for its
                Simple protocol, copy kernels included (nccl v2.8, src/graph/tuning.cc, hwLat); Aries as any network
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...errors import require

CHUNK_BYTES = 1 << 17  # small enough that filling the trees costs little, as NCCL's are for messages of some MB


@dataclass(frozen=True, kw_only=True)
class Link:
    """One hop: a message of m bytes takes latency_s + m / bandwidth_bytes_per_s."""

    latency_s: float
    """Seconds until the first byte of a message arrives."""
    bandwidth_bytes_per_s: float
    """Bytes a second in each direction, both at once."""

    def __post_init__(self) -> None:
        require(self.latency_s >= 0, "latency_s", self.latency_s, "0 s or more", "1e-5")
        bandwidth = self.bandwidth_bytes_per_s
        require(bandwidth > 0, "bandwidth_bytes_per_s", bandwidth, "more than 0 bytes/s", "12.5e9")

    def hop_s(self, message_bytes: float) -> float:
        """Returns the seconds of one message."""
        return self.latency_s + message_bytes / self.bandwidth_bytes_per_s


@dataclass(frozen=True, kw_only=True)
class Network:
    """The links within a node and between nodes."""

    within: Link
    """The link between neighbouring ranks of a node."""
    between: Link
    """The link of a whole node to the others, which its ranks share."""
    ranks_per_node: int
    """The number of ranks on each node."""

    def __post_init__(self) -> None:
        require(self.ranks_per_node >= 1, "ranks_per_node", self.ranks_per_node, "1 or more", "4")

    def allreduce_s(self, nodes: int, message_bytes: float) -> float:
        """Returns the seconds of a sum by the quicker of ring and double tree between the nodes, as NCCL chooses."""
        return min(hierarchical_s(self, nodes, message_bytes, between=way) for way in ("ring", "double tree"))


def ring_s(ranks: int, message_bytes: float, link: Link) -> float:
    """Returns the seconds of a ring: 2 (P-1) (alpha + M/(P beta))."""
    return 2 * (ranks - 1) * link.hop_s(message_bytes / ranks)


def tree_s(ranks: int, message_bytes: float, link: Link) -> float:
    """Returns the seconds of a tree: 2 ceil(log2 P) (alpha + M/beta), as a rank receives one message at a time."""
    return 2 * (ranks - 1).bit_length() * link.hop_s(message_bytes)


def double_tree_s(ranks: int, message_bytes: float, link: Link, chunk_bytes: float = CHUNK_BYTES) -> float:
    """Returns the seconds of a double tree: 2 D alpha + 2 (D-1+k)/k M/beta.

    With two ranks each tree is an edge of its own, so the bytes take half the time.
    """
    if ranks == 1:
        return 0.0
    depth, k = ranks.bit_length() - 1, chunks(message_bytes, chunk_bytes)
    share = 1 if ranks == 2 else 2  # trees that share a link
    return 2 * depth * link.latency_s + share * (depth - 1 + k) / k * message_bytes / link.bandwidth_bytes_per_s


def chunks(message_bytes: float, chunk_bytes: float) -> int:
    """Returns the number of pieces of the half of the message that one tree carries."""
    return max(1, math.ceil(message_bytes / 2 / chunk_bytes))


def hierarchical_s(network: Network, nodes: int, message_bytes: float, *, between: str = "ring") -> float:
    """Returns the seconds of reduce-scatter in the node, a sum over nodes, and gather in the node.

    Args:
        between: "ring" or "double tree".

    Raises:
        ValueError: ``between`` is neither.
    """
    if between not in ("ring", "double tree"):
        raise ValueError(f"between nodes go ring and double tree, not {between}")
    over_nodes = ring_s if between == "ring" else double_tree_s
    return ring_s(network.ranks_per_node, message_bytes, network.within) + over_nodes(
        nodes, message_bytes, network.between
    )


def measured(latency_s: float, bandwidth_bytes_per_s: float, nodes: int, ranks_per_node: int) -> Network:
    """Returns the network whose ring takes latency_s + M / bandwidth for a sum over these nodes, as a probe found it.

    What the node's own link takes is in the measurement, so it is counted with the one between nodes.

    Args:
        latency_s: The seconds of a sum of no bytes, by the line through the probe's times.
        bandwidth_bytes_per_s: The bytes a second of a whole sum, by the same line.
        nodes: The node count of the probe; at least 2.

    Raises:
        InputError: There are fewer than two nodes.
    """
    require(nodes >= 2, "network", f"a probe on {nodes} node", "a probe on 2 nodes or more", "--network v100")
    hops = 2 * (nodes - 1)
    return Network(
        within=Link(latency_s=0.0, bandwidth_bytes_per_s=math.inf),
        between=Link(latency_s=latency_s / hops, bandwidth_bytes_per_s=hops / nodes * bandwidth_bytes_per_s),
        ranks_per_node=ranks_per_node,
    )


NVLINK1 = Link(latency_s=3.4e-6, bandwidth_bytes_per_s=80e9)
NVLINK2 = Link(latency_s=3.4e-6, bandwidth_bytes_per_s=150e9)
PCIE3 = Link(latency_s=5.7e-6, bandwidth_bytes_per_s=15.75e9)
EDR = Link(latency_s=9.6e-6, bandwidth_bytes_per_s=12.5e9)
FDR = Link(latency_s=9.6e-6, bandwidth_bytes_per_s=6.8e9)
ARIES = Link(latency_s=9.6e-6, bandwidth_bytes_per_s=10e9)

PRESETS = {
    "p100": Network(within=PCIE3, between=EDR, ranks_per_node=4),
    "p100-nvlink": Network(within=NVLINK1, between=EDR, ranks_per_node=4),
    "p100-fdr": Network(within=PCIE3, between=FDR, ranks_per_node=4),
    "p100-aries": Network(within=PCIE3, between=ARIES, ranks_per_node=1),
    "v100": Network(within=NVLINK2, between=EDR, ranks_per_node=4),
}


def preset(name: str, ranks_per_node: int | None = None) -> Network:
    """Returns a network by name, with this many ranks on a node where given.

    Raises:
        InputError: There is no preset of this name.
    """
    require(name in PRESETS, "network", name, ", ".join(PRESETS), "--network v100")
    known = PRESETS[name]
    return Network(
        within=known.within,
        between=known.between,
        ranks_per_node=known.ranks_per_node if ranks_per_node is None else ranks_per_node,
    )
