"""What carries sums between nodes: the network that NCCL will take there, as far as it can be told beforehand.

    looked for, in this order                                NCCL takes
    one node                                                 NVLink, PCIe or shared memory
    NCCL_NET                                                 that one, or does not start
    a plugin that loads, libnccl-net.so (NCCL_NET_PLUGIN)    its own: libfabric on Slingshot (cxi) and EFA
    an active port below /sys/class/infiniband, libibverbs   InfiniBand, or RoCE where the port speaks Ethernet
    nothing of these                                         sockets over NCCL_SOCKET_IFNAME, or the first interface

NCCL finds its peers by sockets whatever carries the sums. RCCL, on AMD's GPUs, looks for librccl-net.so first. Without
its plugin, Slingshot is some ten times slower: https://docs.cscs.ch/software/communication/nccl/. Variables:
https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/env.html. The plugin: https://github.com/aws/aws-ofi-nccl.

What was taken in the end: NCCL_DEBUG=INFO, the lines with NET/.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from .. import environment
from .check import Check

LIBFABRIC = 'module load aws-ofi-nccl; export NCCL_NET="AWS Libfabric"'
SLOW = ("lo", "docker", "virbr")  # names of interfaces that NCCL leaves out by itself begin with these


@dataclass(frozen=True, kw_only=True)
class Port:
    """A port of an InfiniBand or RoCE adapter."""

    name: str
    """The adapter and the number of its port, such as mlx5_0:1."""
    rate: str
    """The rate as the kernel writes it, such as 100 Gb/sec (4X EDR)."""
    ethernet: bool
    """True where the port speaks Ethernet, which makes it RoCE."""


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """The networks of a node."""

    ports: tuple[Port, ...] = ()
    """The active ports of InfiniBand or RoCE adapters."""
    fabrics: tuple[str, ...] = ()
    """The adapters that NCCL drives by a plugin alone: cxi0 and so on of Slingshot, efa_0 of AWS."""
    interfaces: Mapping[str, str] | None = None
    """The IP interfaces that are up, with their speed in words."""
    plugin: str | None = None
    """The plugin that loads; None without one."""
    broken: str = ""
    """Why a plugin that is there does not load; empty where none fails."""
    verbs: bool = False
    """True where libibverbs loads."""


def network(n_nodes: int, engine: str) -> Iterator[Check]:
    """Yields what carries sums between the nodes of these ranks.

    Args:
        n_nodes: The number of nodes.
        engine: The engine that sums over ranks, or would in a launch: horovod or torch.
    """
    variables = environment.variables()
    if not torch.cuda.is_available():
        own = {"horovod": "MPI's own network, or Gloo over TCP", "torch": "Gloo over TCP"}[engine]
        yield Check("network", f"without a GPU not NCCL's: {own}")
        return
    yield carrier(n_nodes, hardware(variables) if n_nodes > 1 else Hardware(), variables)
    if variables.get("MPICH_GPU_SUPPORT_ENABLED") == "1":
        yield Check("Cray's MPI", "drives GPUs beside NCCL, and may deadlock", "export MPICH_GPU_SUPPORT_ENABLED=0")


def carrier(n_nodes: int, found: Hardware, variables: Mapping[str, str]) -> Check:
    """Returns what NCCL will take between nodes, and the line that mends it.

    Args:
        n_nodes: The number of nodes.
        found: The networks of this node.
        variables: The environment.
    """
    if n_nodes == 1:
        return _check("none between nodes: NVLink, PCIe or shared memory within this one")
    interfaces = found.interfaces or {}
    pattern = variables.get("NCCL_SOCKET_IFNAME", "")
    usable = sockets(list(interfaces), pattern)
    if not usable:
        best = next(iter(sockets(list(interfaces), "")), "NAME")
        said = f"NCCL does not find its peers: no interface that is up fits NCCL_SOCKET_IFNAME={pattern or '(not set)'}"
        return _check(said, f"export NCCL_SOCKET_IFNAME={best}")
    slow = f"sockets over {', '.join(f'{name} ({interfaces[name]})' for name in usable)}"
    wanted = variables.get("NCCL_NET", "")
    ib = _infiniband(found, variables)
    if wanted.lower() == "socket":
        better = found.plugin or found.ports or found.fabrics
        return _check(f"{slow}, as NCCL_NET says", "unset NCCL_NET" if better else "")
    if wanted.lower() == "ib":
        return (
            ib if ib is not None else _check("NCCL_NET=IB, and no active port: NCCL does not start", "unset NCCL_NET")
        )
    if found.plugin:
        for_what = f", for {', '.join(found.fabrics)}" if found.fabrics else ""
        name = f"{wanted} ({found.plugin})" if wanted else f"what {found.plugin} drives{for_what}"
        return _check(name)
    reason = f" ({found.broken})" if found.broken else ""
    if wanted:
        return _check(f"NCCL_NET={wanted}, and no plugin loads{reason}: NCCL does not start", _plugin(found))
    if found.fabrics:
        return _check(f"{slow}, though there is {', '.join(found.fabrics)}: no plugin loads{reason}", _plugin(found))
    return ib if ib is not None else _check(slow)


def _infiniband(found: Hardware, variables: Mapping[str, str]) -> Check | None:
    if not found.ports:
        return None
    name = "RoCE" if all(port.ethernet for port in found.ports) else "InfiniBand"
    ports = ", ".join(f"{port.name} ({port.rate})" for port in found.ports)
    if variables.get("NCCL_IB_DISABLE", "0") not in ("", "0"):
        return _check(f"sockets, though there is {name}: NCCL_IB_DISABLE is set", "unset NCCL_IB_DISABLE")
    if not found.verbs:
        mend = "apt-get install libibverbs1 ibverbs-providers; in a container, those of the host"
        return _check(f"sockets, though there is {name}: libibverbs does not load", mend)
    return _check(f"{name}: {ports}")


def _plugin(found: Hardware) -> str:
    return "module load libfabric" if "libfabric" in found.broken else LIBFABRIC


def _check(words: str, mend: str = "") -> Check:
    return Check("network of NCCL", words, mend)


def sockets(names: list[str], pattern: str) -> list[str]:
    """Returns the interfaces that NCCL_SOCKET_IFNAME lets NCCL use.

    Args:
        names: The interfaces that are up.
        pattern: The variable: beginnings of names, or after ^ those left out, or after = whole names; empty: not set.
    """
    if not pattern:
        fast = [name for name in names if not name.startswith(SLOW)]
        return [name for name in fast if name.startswith("ib")] or fast
    without, rest = pattern.startswith("^"), pattern.removeprefix("^")
    exact, words = rest.startswith("="), rest.removeprefix("=").split(",")
    fits = [name for name in names if any(name == word if exact else name.startswith(word) for word in words)]
    return [name for name in names if name not in fits] if without else fits


def hardware(variables: Mapping[str, str], root: Path = Path("/")) -> Hardware:
    """Returns the networks of this node.

    Args:
        variables: The environment.
        root: The folder that stands for /.
    """
    adapters = sorted((root / "sys/class/infiniband").glob("*"))
    ports = [_port(one, port) for one in adapters for port in sorted((one / "ports").glob("*"))]
    fabrics = sorted(one.name for one in (root / "sys/class/cxi").glob("*"))
    plugin, broken = _load_plugin(variables)
    return Hardware(
        ports=tuple(port for port in ports if port is not None and not port.name.startswith("efa")),
        fabrics=(*fabrics, *(one.name for one in adapters if one.name.startswith("efa"))),
        interfaces=_interfaces(root),
        plugin=plugin,
        broken=broken,
        verbs=_loads("libibverbs.so.1") == "",
    )


def _port(adapter: Path, port: Path) -> Port | None:
    if "ACTIVE" not in _read(port / "state"):  # "4: ACTIVE"
        return None
    ethernet = _read(port / "link_layer") == "Ethernet"
    return Port(name=f"{adapter.name}:{port.name}", rate=_read(port / "rate") or "rate not known", ethernet=ethernet)


def _interfaces(root: Path) -> dict[str, str]:
    found = {}
    for folder in sorted((root / "sys/class/net").glob("*")):
        if _read(folder / "operstate") in ("up", "unknown"):  # the latter: loopback, and some tunnels
            speed = _read(folder / "speed")  # Mb/s; -1 or nothing of virtual ones
            known = speed.isdigit() and int(speed) > 0
            found[folder.name] = f"{int(speed) / 1000:g} Gb/s" if known else "speed not known"
    return found


def _load_plugin(variables: Mapping[str, str]) -> tuple[str | None, str]:
    """Returns the plugin that loads; and why one that is there does not."""
    given = variables.get("NCCL_NET_PLUGIN", "")
    if given == "none":
        return None, "NCCL_NET_PLUGIN=none"
    libraries = ("librccl-net", "libnccl-net") if torch.version.hip else ("libnccl-net",)
    names = [given, *(f"{name}-{given}.so" for name in libraries)] if given else [f"{name}.so" for name in libraries]
    broken = ""
    for name in names:
        reason = _loads(name)
        if not reason:
            return name, ""
        if not reason.startswith(f"{name}: cannot open shared object file: No such file"):
            broken = broken or reason
    return None, broken


def _loads(library: str) -> str:
    """Returns why a library does not load, in the loader's words; nothing where it does."""
    try:
        ctypes.CDLL(library)
    except OSError as error:
        return str(error)
    return ""


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:  # no such file; of the speed of an interface that has none, EINVAL
        return ""
