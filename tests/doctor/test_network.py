"""What NCCL will take between nodes, on machines that there are, and the line that mends it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from hpc_adabatch.doctor.network import Hardware, Port, carrier, hardware, network, sockets

ETHERNET = {"eth0": "25 Gb/s", "lo": "speed not known"}
EDR = Port(name="mlx5_0:1", rate="100 Gb/sec (4X EDR)", ethernet=False)
ROCE = Port(name="mlx5_0:1", rate="25 Gb/sec (1X EDR)", ethernet=True)
SLINGSHOT = {"hsn0": "200 Gb/s", "hsn1": "200 Gb/s", "nmn0": "10 Gb/s", "lo": "speed not known"}
HSN = "sockets over hsn0 (200 Gb/s), hsn1 (200 Gb/s), nmn0 (10 Gb/s)"
CXI = ("cxi0", "cxi1")
OFI = 'module load aws-ofi-nccl; export NCCL_NET="AWS Libfabric"'
IBFACE = ETHERNET | {"ib0": "100 Gb/s"}
NO_LIBFABRIC = "libfabric.so.1: cannot open shared object file: No such file or directory"


def found(n_nodes: int = 2, variables: dict[str, str] | None = None, **there: object) -> tuple[str, str]:
    check = carrier(n_nodes, Hardware(**({"interfaces": ETHERNET} | there)), variables or {})  # type: ignore[arg-type]
    return check.found, check.mend


def test_one_node_needs_none() -> None:
    assert found(1)[0].startswith("none between nodes")
    assert found(1, fabrics=CXI)[1] == ""


@pytest.mark.parametrize(
    ("variables", "there", "words", "mend"),
    [
        # plain Ethernet: sockets, and nothing better to have
        ({}, {}, "sockets over eth0 (25 Gb/s)", ""),
        # InfiniBand, as on nodes with V100
        ({}, {"ports": (EDR,), "verbs": True, "interfaces": IBFACE}, "InfiniBand: mlx5_0:1 (100 Gb/sec (4X EDR))", ""),
        ({}, {"ports": (ROCE,), "verbs": True}, "RoCE: mlx5_0:1 (25 Gb/sec (1X EDR))", ""),
        (
            {"NCCL_IB_DISABLE": "1"},
            {"ports": (EDR,), "verbs": True},
            "sockets, though there is InfiniBand: NCCL_IB_DISABLE is set",
            "unset NCCL_IB_DISABLE",
        ),
        ({"NCCL_IB_DISABLE": "0"}, {"ports": (EDR,), "verbs": True}, "InfiniBand: mlx5_0:1 (100 Gb/sec (4X EDR))", ""),
        (
            {},
            {"ports": (EDR,)},
            "sockets, though there is InfiniBand: libibverbs does not load",
            "apt-get install libibverbs1 ibverbs-providers; in a container, those of the host",
        ),
        # Slingshot: the largest single loss a user can have
        (
            {},
            {"fabrics": CXI, "interfaces": SLINGSHOT},
            f"{HSN}, though there is cxi0, cxi1: no plugin loads",
            OFI,
        ),
        (
            {},
            {"fabrics": CXI, "interfaces": SLINGSHOT, "broken": NO_LIBFABRIC},
            f"{HSN}, though there is cxi0, cxi1: no plugin loads ({NO_LIBFABRIC})",
            "module load libfabric",
        ),
        (
            {"NCCL_NET": "AWS Libfabric"},
            {"fabrics": CXI, "interfaces": SLINGSHOT},
            "NCCL_NET=AWS Libfabric, and no plugin loads: NCCL does not start",
            OFI,
        ),
        (
            {"NCCL_NET": "AWS Libfabric"},
            {"fabrics": CXI, "interfaces": SLINGSHOT, "plugin": "libnccl-net.so"},
            "AWS Libfabric (libnccl-net.so)",
            "",
        ),
        (
            {},
            {"fabrics": CXI, "interfaces": SLINGSHOT, "plugin": "libnccl-net.so"},
            "what libnccl-net.so drives, for cxi0, cxi1",
            "",
        ),
        # said, and slow
        ({"NCCL_NET": "Socket"}, {}, "sockets over eth0 (25 Gb/s), as NCCL_NET says", ""),
        (
            {"NCCL_NET": "Socket"},
            {"ports": (EDR,), "verbs": True},
            "sockets over eth0 (25 Gb/s), as NCCL_NET says",
            "unset NCCL_NET",
        ),
        ({"NCCL_NET": "IB"}, {}, "NCCL_NET=IB, and no active port: NCCL does not start", "unset NCCL_NET"),
        # the templates' own ib0, on a machine that has none
        (
            {"NCCL_SOCKET_IFNAME": "ib0"},
            {},
            "NCCL does not find its peers: no interface that is up fits NCCL_SOCKET_IFNAME=ib0",
            "export NCCL_SOCKET_IFNAME=eth0",
        ),
    ],
)
def test_what_nccl_takes(variables: dict[str, str], there: dict[str, object], words: str, mend: str) -> None:
    assert found(2, variables, **there) == (words, mend)


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("", ["ib0", "ib1"]),
        ("eth", ["eth0", "eth1"]),
        ("=eth", []),
        ("=eth1,ib0", ["eth1", "ib0"]),
        ("^ib,lo", ["docker0", "eth0", "eth1"]),
        ("^=eth0", ["docker0", "eth1", "ib0", "ib1", "lo"]),
        ("hsn", []),
    ],
)
def test_interfaces_that_the_variable_lets_nccl_use(pattern: str, names: list[str]) -> None:
    """As NCCL's user guide has it: beginnings of names, = for whole ones, ^ for all others."""
    assert sockets(["docker0", "eth0", "eth1", "ib0", "ib1", "lo"], pattern) == names
    if not pattern:
        assert sockets(["docker0", "eth0", "lo"], "") == ["eth0"]


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n", encoding="ascii")


def test_the_kernels_folders(tmp_path: Path) -> None:
    port = "sys/class/infiniband/{}/ports/1/{}"
    write(
        tmp_path,
        {
            port.format("mlx5_0", "state"): "4: ACTIVE",
            port.format("mlx5_0", "link_layer"): "InfiniBand",
            port.format("mlx5_0", "rate"): "100 Gb/sec (4X EDR)",
            port.format("mlx5_1", "state"): "1: DOWN",
            port.format("efa_0", "state"): "4: ACTIVE",
            port.format("efa_0", "link_layer"): "Unspecified",
            "sys/class/cxi/cxi0/uevent": "",
            "sys/class/net/hsn0/operstate": "up",
            "sys/class/net/hsn0/speed": "200000",
            "sys/class/net/eno1/operstate": "down",
            "sys/class/net/lo/operstate": "unknown",
            "sys/class/net/veth/operstate": "up",
            "sys/class/net/veth/speed": "-1",
        },
    )
    there = hardware({"NCCL_NET_PLUGIN": "none"}, tmp_path)
    assert there.ports == (EDR,)
    assert there.fabrics == ("cxi0", "efa_0")
    assert there.interfaces == {"hsn0": "200 Gb/s", "lo": "speed not known", "veth": "speed not known"}
    assert (there.plugin, there.broken) == (None, "NCCL_NET_PLUGIN=none")


def test_a_machine_without_any_of_it(tmp_path: Path) -> None:
    there = hardware({}, tmp_path)
    assert (there.ports, there.fabrics, there.interfaces, there.broken) == ((), (), {}, "")


def test_a_plugin_is_loaded_as_nccl_loads_it(tmp_path: Path) -> None:
    """One that is there and lacks its libfabric is another fault than none at all."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    whole, needs, lacking = (tmp_path / f"lib{name}.so" for name in ("nccl-net", "absent", "nccl-net-lacking"))
    make = [compiler, "-shared", "-fPIC", "-x", "c", "/dev/null", "-Wl,--no-as-needed"]
    for line in (["-o", whole], ["-o", needs], ["-o", lacking, f"-L{tmp_path}", "-labsent"]):
        subprocess.run([*make, *map(str, line)], check=True)
    needs.unlink()
    assert hardware({"NCCL_NET_PLUGIN": str(whole)}, tmp_path).plugin == str(whole)
    there = hardware({"NCCL_NET_PLUGIN": str(lacking)}, tmp_path)
    assert there.plugin is None
    assert there.broken.startswith("libabsent.so: cannot open shared object file")
    there = hardware({"NCCL_NET_PLUGIN": str(needs)}, tmp_path)
    assert (there.plugin, there.broken) == (None, "")


@pytest.mark.parametrize(("engine", "words"), [("torch", "Gloo over TCP"), ("horovod", "MPI's own network")])
def test_without_a_gpu_it_is_not_nccls(engine: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    (check,) = network(2, engine)
    assert words in check.found
    assert not check.mend


def test_crays_mpi_beside_nccl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setenv("MPICH_GPU_SUPPORT_ENABLED", "1")
    assert [check.mend for check in network(1, "torch")] == ["", "export MPICH_GPU_SUPPORT_ENABLED=0"]
