"""Decoded images that the ranks of a node have in common. node_memory.py ROOT WAY

one copy   all ranks map one file; an epoch of random crops leaves it as it was; what a rank writes is its own
no room    no rank may make a file so large: each keeps a copy of its own
full       /dev/shm has room for one rank's part, and Python was built without memfd_create: as well
two nodes  the last rank is on another node, by its host name
lost       rank 1 is killed while it decodes; "FILE DEVICE INODE" says which file that leaves
"""

import ctypes
import os
import resource
import signal
import socket
import sys
from pathlib import Path

import torch

import hpc_adabatch as hab
from hpc_adabatch.tasks import ImageFolder, images

NEW_HOST_NAME, NEW_MOUNTS, PRIVATE = 0x04000000, 0x00020000, 0x44000  # CLONE_NEWUTS, CLONE_NEWNS, MS_REC | MS_PRIVATE
libc = ctypes.CDLL(None, use_errno=True)


def file_of(address: int) -> tuple[str, str, str]:
    """Device, number and name of the file in which an address of this process lies; 00:00 and 0 for none."""
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        span, _, _, device, inode, *name = line.split(maxsplit=5)
        low, high = (int(end, 16) for end in span.split("-"))
        if low <= address < high:
            return device, inode, "".join(name)
    raise AssertionError("an address that is nowhere")


root, way = sys.argv[1:]
cluster = hab.Cluster.start()
task = ImageFolder(root=root, image_size=32)
alone = task.load()
if way == "no room":
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
if way == "full":
    del os.memfd_create
    assert libc.unshare(NEW_MOUNTS) == libc.mount(None, b"/", None, PRIVATE, None) == 0, "it takes root to mount"
    assert libc.mount(b"none", b"/dev/shm", b"tmpfs", 0, b"size=20k") == 0
if way == "two nodes" and cluster.rank == cluster.size - 1:
    assert libc.unshare(NEW_HOST_NAME) == 0, "it takes root to rename this process's host"
    socket.sethostname("elsewhere")
if way == "lost":
    decode, calls = images.decode, 0

    def decode_or_die(path: Path, size: int) -> object:
        global calls
        calls += 1
        if cluster.rank == 1 and calls == 3:
            lines = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
            device, inode = next(line.split()[3:5] for line in lines if "adabatch" in line and "rw-s" in line)
            print("FILE", device, inode, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        return decode(path, size)

    images.decode = decode_or_die  # type: ignore[assignment]

data = task.load(cluster)
pixels = data.train.tensors[0]  # type: ignore[attr-defined]
for part, expected in ((data.train, alone.train), (data.test, alone.test)):
    assert torch.equal(part.tensors[0], expected.tensors[0])  # type: ignore[attr-defined]
    assert torch.equal(part.tensors[1], expected.tensors[1])  # type: ignore[attr-defined]
files = cluster.gather(file_of(pixels.data_ptr()))
common = files[: cluster.size - 1] if way == "two nodes" else files
if way in ("no room", "full"):
    assert {file[1] for file in files} == {"0"}, files
else:
    assert len(set(common)) == 1, files
    assert common[0][1] != "0", files
    assert common[0][2].endswith("(deleted)"), files
    assert (files[-1][1] == "0") == (way == "two nodes"), files
if way == "one copy":
    batches = hab.AdaptiveBatches(data.train, 6, transform=data.augment)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(pixels[0].numel(), 3))
    training = hab.AdaptiveTraining(model, torch.optim.SGD(model.parameters(), lr=0.01), batches, cluster=cluster)
    for step in training.epoch(0):
        for inputs, targets in step:
            step.backward(torch.nn.functional.cross_entropy(model(inputs), targets))
        step.update()
    assert torch.equal(pixels, alone.train.tensors[0])  # type: ignore[attr-defined]
cluster.barrier()
if cluster.rank == 1:
    pixels.zero_()
cluster.barrier()
assert torch.equal(pixels, alone.train.tensors[0]) == (cluster.rank != 1)  # type: ignore[attr-defined]
print("one picture", flush=True)
cluster.stop()
