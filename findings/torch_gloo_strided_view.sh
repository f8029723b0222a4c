#!/usr/bin/env bash
# torch.distributed with Gloo sums a strided view as if it were contiguous, without a word.
#
# Guess before it was run: all_reduce of tensor[::2] sums those elements, or raises an error.
# Seen with torch 2.13.0 (CPU, 2 ranks, Python 3.11): it sums the first four elements of the memory that the view begins
# in, so elements 1 and 3, which are no part of the view, are changed, and elements 4 and 6, which are, keep the rank's
# own value. No error, no warning; the ranks leave with different tensors. A contiguous copy is summed rightly.
#
# Exit code 0: it is still so. 1: it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy
cat >"$folder/ranks.py" <<'PYTHON'
import os
import sys

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def rank(number: int, port: int, folder: str) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    dist.init_process_group("gloo", rank=number, world_size=2)
    whole = torch.arange(8.0) + 100 * number
    dist.all_reduce(whole[::2])
    copied = torch.arange(8.0) + 100 * number
    part = copied[::2].contiguous()
    dist.all_reduce(part)
    torch.save({"whole": whole, "part": part}, f"{folder}/{number}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(rank, args=(port, sys.argv[1]), nprocs=2)
    found = [torch.load(f"{sys.argv[1]}/{number}.pt") for number in range(2)]
    for number, each in enumerate(found):
        print(f"rank {number}: the tensor {each['whole'].tolist()}, a contiguous copy of its view {each['part'].tolist()}")
    right = [100.0, 104.0, 108.0, 112.0]
    assert all(each["part"].tolist() == right for each in found), "the contiguous copy"
    assert found[0]["whole"].tolist() == [100.0, 102.0, 104.0, 106.0, 4.0, 5.0, 6.0, 7.0], "rank 0"
    assert found[1]["whole"].tolist() == [100.0, 102.0, 104.0, 106.0, 104.0, 105.0, 106.0, 107.0], "rank 1"
PYTHON
if "$folder/venv/bin/python" "$folder/ranks.py" "$folder"; then
    echo "as found: Gloo ignores the strides of a view"
else
    echo "changed: see above" >&2
    exit 1
fi
