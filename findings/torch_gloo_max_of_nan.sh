#!/usr/bin/env bash
# The maximum of numbers of which one is not a number depends on which rank has it (torch.distributed with Gloo).
#
# Guess before it was run: MAX over ranks is nan wherever one of them has nan, as torch.max is over elements; so the usual
# "has any rank diverged" (all_reduce of the loss with MAX, then isnan) finds it.
# Seen with torch 2.13.0 (CPU, 2 ranks): the ranks agree, but whether nan survives depends on the rank that has it and on
# the place in the tensor. A single number: nan of rank 0 survives, nan of rank 1 is lost, and all ranks read 1.0. Of 17
# elements, 10 survive when rank 0 has nan in all of them, the other 7 when rank 1 has. MIN is the same; SUM keeps all.
# So a diverged rank is found or not by its number: agree by the sum of isnan.
#
# Exit code 0: it is still so. 1: it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy
cat >"$folder/ranks.py" <<'PYTHON'
import math
import os
import socket
import sys

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def rank(number: int, port: int, folder: str) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    dist.init_process_group("gloo", rank=number, world_size=2)
    rows = []
    for elements in (1, 17):
        for bad in (0, 1):
            for name in ("MAX", "MIN", "SUM"):
                tensor = torch.full((elements,), math.nan if number == bad else 1.0)
                dist.all_reduce(tensor, op=getattr(dist.ReduceOp, name))
                kept = int(tensor.isnan().sum())
                rows.append((elements, bad, name, kept))
    torch.save(rows, f"{folder}/{number}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(rank, args=(port, sys.argv[1]), nprocs=2)
    found = [torch.load(f"{sys.argv[1]}/{number}.pt") for number in range(2)]
    assert found[0] == found[1], "ranks agree"
    for elements, bad, name, kept in found[0]:
        print(f"{name} of {elements:2d} elements, nan on rank {bad}: {kept} are nan")
    kept = {(elements, name): [count for n, _, op, count in found[0] if (n, op) == (elements, name)]
            for elements in (1, 17) for name in ("MAX", "MIN", "SUM")}  # with nan on rank 0, and on rank 1
    assert kept[1, "SUM"] == [1, 1] and kept[17, "SUM"] == [17, 17], "SUM keeps it"
    assert kept[1, "MAX"] == kept[1, "MIN"] == [1, 0], "a single number"
    assert kept[17, "MAX"] == kept[17, "MIN"] == [10, 7], "a tensor"
PYTHON
if "$folder/venv/bin/python" "$folder/ranks.py" "$folder"; then
    echo "as found: MAX keeps or loses nan by rank and by place"
else
    echo "changed: see above" >&2
    exit 1
fi
