"""The room for passes, where memory has a real limit."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hpc_adabatch.cluster.memory import left_bytes
from hpc_adabatch.cluster.room import Room, lacks_memory

CPU = torch.device("cpu")


def test_a_pass_is_not_tried_that_the_kernel_would_end_the_process_for() -> None:
    room, left = Room(CPU, ranks=1, later_bytes=0), left_bytes()
    assert left is not None
    room.begin()
    block = torch.ones(50_000_000)
    del block
    assert room.end()
    room.leave()
    assert room.allows(2)
    assert not room.allows(1.1 * left / 200e6)


def test_the_ranks_of_a_node_share_its_memory() -> None:
    left = left_bytes()
    assert left is not None
    room = Room(CPU, ranks=left // 100_000_000, later_bytes=0)
    room.begin()
    block = torch.ones(50_000_000)
    assert not room.end()
    del block
    room.leave()


def test_an_address_space_with_a_limit_has_that_room() -> None:
    before, block = resource.getrlimit(resource.RLIMIT_AS), 0
    now = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + 800_000_000, before[1]))
    try:
        room = Room(CPU, ranks=1, later_bytes=500_000_000)
        room.begin()
        with pytest.raises(RuntimeError) as raised:
            block = torch.empty(300_000_000, dtype=torch.uint8)
        room.leave()
        block = torch.empty(300_000_000, dtype=torch.uint8)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    assert lacks_memory(raised.value)
    assert len(block) == 300_000_000


PROGRAM = """
import resource, torch
import hpc_adabatch as hab
from hpc_adabatch.training import attempt
from torch.utils.data import TensorDataset

attempt.LONG_S = 1e9  # however busy the machine is
torch.manual_seed(0)
data = TensorDataset(torch.randn(4096, 8), torch.randn(4096, 1))
model = torch.nn.Sequential(torch.nn.Linear(8, 30_000), torch.nn.Tanh(), torch.nn.Linear(30_000, 1))
cluster = hab.Cluster.start()
training = hab.AdaptiveTraining(
    model,
    torch.optim.Adam(model.parameters(), lr=1e-3),
    hab.AdaptiveBatches(data, 2048, max_micro_batch="auto"),
    cluster=cluster,
)
loss = lambda inputs, targets: (model(inputs) - targets).pow(2).mean()
loss(*data[:2]).backward()  # torch has started its threads
with open("/proc/self/statm") as file:
    now = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + 500_000_000, resource.RLIM_INFINITY))
for step in training.epoch(0):
    step.backward_all(loss)
    step.update()
print(training.micro_batch.largest, training.steps)
"""


@pytest.mark.long
def test_a_network_trains_within_a_limit_that_its_batch_is_too_large_for() -> None:
    """A sample's activations take 120 kB or more, so that a pass of the whole batch takes 240 MB at least, twice."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=300, check=True)
    found, steps = map(int, done.stdout.split())
    assert 256 <= found < 2048, done.stderr
    assert steps == 2
    assert done.stderr.count("do not fit on rank 0") == 1
    assert "make the step again" not in done.stderr
