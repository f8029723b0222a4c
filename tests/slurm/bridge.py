"""One network namespace per node, joined by a bridge; every link as slow as a test wants it.

    machine             bridge 10.a.b.254        slurmctld, sbatch, srun
                       /        |        \\
    veth pair       node1     node2     node3    10.a.b.1, .2, .3: called eth0, each in its own namespace

A token bucket (tc tbf) at both ends of a link holds it to its rate in both directions. Names carry the number of the
process that made them: clusters stand side by side, and what a killed process left behind is known and removed.

Not here: what runs in the namespaces (daemons.py); added latency, which few kernels can do (netem).
"""

from __future__ import annotations

import itertools
import os
import random
import re
import subprocess
from pathlib import Path

NAME = re.compile(r"\b(ab(\d+)-\d+)(?:b|n\d+)\b")  # ab<process>-<count>, then b for the bridge, n<number> for a node
_count = itertools.count(1)


def ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], capture_output=True, text=True, check=True).stdout


class Bridge:
    """Namespaces for nodes 1..n_nodes and the bridge between them, until `close`."""

    def __init__(self, n_nodes: int) -> None:
        remove_leftovers()
        self.prefix = f"ab{os.getpid()}-{next(_count)}"
        self.n_nodes = n_nodes
        self.subnet = free_subnet()
        try:
            self._build()
        except BaseException:
            self.close()
            raise

    def namespace(self, node: int) -> str:
        return f"{self.prefix}n{node}"

    def address(self, node: int) -> str:
        return f"{self.subnet}.{node}"

    @property
    def controller(self) -> str:
        """Address of the machine itself."""
        return self.address(254)

    def set_rate(self, rate_mbit: float | None) -> None:
        """Of every link, each way, in Mbit/s; None: as fast as the machine can."""
        for node in range(1, self.n_nodes + 1):
            name = self.namespace(node)
            for tc, device in (["tc"], name), (["tc", "-n", name], "eth0"):
                subprocess.run([*tc, "qdisc", "del", "dev", device, "root"], capture_output=True, check=False)
                if rate_mbit is not None:
                    bucket = ["rate", f"{rate_mbit}mbit", "burst", "256kb", "latency", "50ms"]
                    subprocess.run([*tc, "qdisc", "add", "dev", device, "root", "tbf", *bucket], check=True)

    def close(self) -> None:
        remove(self.prefix)

    def _build(self) -> None:
        bridge = f"{self.prefix}b"
        ip("link", "add", bridge, "type", "bridge")
        ip("address", "add", f"{self.controller}/24", "dev", bridge)
        ip("link", "set", bridge, "up")
        for node in range(1, self.n_nodes + 1):
            name = self.namespace(node)
            ip("netns", "add", name)
            ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("link", "set", name, "master", bridge, "up")
            ip("-n", name, "address", "add", f"{self.address(node)}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
            ip("-n", name, "link", "set", "lo", "up")


def free_subnet() -> str:
    """The first three numbers of a 10.a.b.0/24 to which no route leads yet."""
    taken = ip("-4", "route", "show", "table", "all")
    while True:
        subnet = f"10.{random.randrange(64, 250)}.{random.randrange(250)}"
        if f"{subnet}." not in taken:
            return subnet


def present() -> set[str]:
    """Prefixes of the bridges and namespaces that are there."""
    return {match[1] for match in NAME.finditer(ip("link", "show") + ip("netns", "list"))}


def remove(prefix: str) -> None:
    """All that carries the prefix. With a namespace goes its end of a link, and with that the other end."""
    for name in re.findall(rf"\b{prefix}n\d+\b", ip("netns", "list")):
        subprocess.run(["ip", "netns", "delete", name], check=False)
    for name in re.findall(rf"\b{prefix}(?:b|n\d+)\b", ip("link", "show")):
        subprocess.run(["ip", "link", "delete", name], capture_output=True, check=False)


def remove_leftovers() -> None:
    """What processes left behind that are gone."""
    for prefix in present():
        if not Path(f"/proc/{prefix[2:].split('-')[0]}").exists():
            remove(prefix)
