"""What launch/network sets, by the interfaces that a node has."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from conftest import require

ROOT = Path(__file__).resolve().parents[2]
SOURCE = f"nodes=${{1:-2}}; . {ROOT / 'launch' / 'network'}; echo network=$network; env"


def sourced(nodes: int = 2, **variables: str) -> tuple[str, dict[str, str]]:
    """The network, and what is set for it and for NCCL."""
    done = subprocess.run(
        ["bash", "-c", SOURCE, "bash", str(nodes)],
        env={"PATH": "/usr/bin:/bin"} | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    first, *others = done.stdout.splitlines()
    named = dict(line.partition("=")[::2] for line in others)
    return first.partition("=")[2], {k: v for k, v in named.items() if k.split("_")[0] in ("FI", "NCCL", "MPICH")}


def test_slingshot_is_libfabric_or_nothing_and_what_is_set_stays() -> None:
    network, found = sourced(ADABATCH_NETWORK="slingshot", FI_CXI_RX_MATCH_MODE="software", NCCL_SOCKET_IFNAME="hsn0")
    assert (network, found["NCCL_NET"], found["NCCL_PROTO"]) == ("slingshot", "AWS Libfabric", "^LL128")
    assert (found["FI_CXI_RX_MATCH_MODE"], found["NCCL_SOCKET_IFNAME"]) == ("software", "hsn0")
    alone = sourced(1, ADABATCH_NETWORK="slingshot")[1]
    assert "NCCL_NET" not in alone  # a job of one node may have no such network


def test_cray_mpi_keeps_away_from_gpus_also_where_a_module_says_otherwise() -> None:
    for network in ("slingshot", "infiniband", "sockets"):
        assert sourced(ADABATCH_NETWORK=network, MPICH_GPU_SUPPORT_ENABLED="1")[1]["MPICH_GPU_SUPPORT_ENABLED"] == "0"


def test_the_other_networks() -> None:
    few = {"NCCL_DEBUG": "WARN", "MPICH_GPU_SUPPORT_ENABLED": "0"}
    assert sourced(ADABATCH_NETWORK="infiniband") == ("infiniband", few | {"NCCL_SOCKET_IFNAME": "ib"})
    assert sourced(ADABATCH_NETWORK="sockets") == ("sockets", few)
    assert sourced(ADABATCH_NETWORK="none") == ("none", {})
    line = ["bash", str(ROOT / "launch" / "job"), "doctor"]
    variables = {"PATH": "/usr/bin:/bin", "ADABATCH_NETWORK": "myrinet"}
    done = subprocess.run(line, env=variables, capture_output=True, text=True, check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "ADABATCH_NETWORK: given myrinet; allowed: auto, slingshot, infiniband, sockets, none" in done.stderr


@pytest.mark.slurm
@pytest.mark.parametrize(
    ("interfaces", "expected"),
    [("eth0", "sockets"), ("eth0 ib0", "infiniband"), ("ib0 hsn0 hsn1", "slingshot"), ("hsn0:off eth0", "sockets")],
)
def test_the_interfaces_of_a_node_tell(interfaces: str, expected: str) -> None:
    """In a network namespace of its own; an interface without an address does not count."""
    require()
    lines = []
    for number, interface in enumerate(interfaces.split()):
        name, _, off = interface.partition(":")
        lines += [f"ip link add {name} type veth peer name peer{number}", f"ip link set {name} up"]
        lines += [] if off else [f"ip link set peer{number} up", f"ip address add 10.0.{number}.1/24 dev {name}"]
    script = "\n".join(["set -e", *lines, "set +e", SOURCE])
    done = subprocess.run(["unshare", "--net", "bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == f"network={expected}"
