"""Decoded images that the ranks of a node have in common. node_memory.py ROOT WAY

one copy   all ranks map one file; an epoch of random crops leaves it as it was; what a rank writes is its own
no room    no rank may make a file so large: each keeps a copy of its own
full       /dev/shm has room for one rank's part, and Python was built without memfd_create: as well
two nodes  the last rank is on another node, by its host name
job        as one copy, of each node that the job has
cifar      one copy of CIFAR-10, made here of few images
lost       rank 1 is killed while it decodes; "FILE DEVICE INODE" says which file that leaves
"""

import ctypes
import hashlib
import os
import pickle
import resource
import signal
import socket
import sys
from pathlib import Path

import numpy as np
import torch

import hpc_adabatch as hab
from hpc_adabatch.tasks import Cifar10, ImageFolder, images
from hpc_adabatch.tasks.vision import datasets

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


def cifar(folder: Path) -> Cifar10:
    """CIFAR-10 of four images, with torchvision's check sums replaced by theirs; rank 0 writes it."""
    pixels = np.random.default_rng(0).integers(256, size=(4, 3072), dtype=np.uint8)
    contents = {name: pickle.dumps({"data": pixels, "labels": [0, 1, 2, 0]}) for name in ("data_batch_1", "test_batch")}
    contents["batches.meta"] = pickle.dumps({"label_names": ["a", "b", "c"]})
    if cluster.leads:
        (folder / "cifar-10-batches-py").mkdir()
        for name, content in contents.items():
            (folder / "cifar-10-batches-py" / name).write_bytes(content)
    cluster.barrier()
    sums = {name: hashlib.md5(content).hexdigest() for name, content in contents.items()}
    datasets.CIFAR10.train_list = [["data_batch_1", sums["data_batch_1"]]]
    datasets.CIFAR10.test_list = [["test_batch", sums["test_batch"]]]
    datasets.CIFAR10.meta |= {"md5": sums["batches.meta"]}
    return Cifar10(root=str(folder))


task = cifar(Path(root)) if way == "cifar" else ImageFolder(root=root, image_size=32)
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
hosts = cluster.gather(socket.gethostname())
of_hosts = {name: {file for host, file in zip(hosts, files, strict=True) if host == name} for name in hosts}
if way in ("no room", "full"):
    assert {file[1] for file in files} == {"0"}, files
else:
    for name, found in of_hosts.items():
        assert len(found) == 1, files
        assert (max(found)[1] == "0") == (hosts.count(name) == 1), files
        assert hosts.count(name) == 1 or max(found)[2].endswith("(deleted)"), files
    assert len(set(files)) == len(of_hosts), files
assert cluster.n_nodes == len(of_hosts) or way == "two nodes", hosts
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
