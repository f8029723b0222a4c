"""Which files of an image folder each rank opens and lists. open_once.py ROOT"""

import os
import sys
from pathlib import Path

import torch

import hpc_adabatch as hab
from hpc_adabatch.errors import InputError
from hpc_adabatch.tasks import ImageFolder

root, cluster = sys.argv[1], hab.Cluster.start()
opened, listed = [], []


def note(event, args):
    into = {"open": opened, "os.scandir": listed, "os.listdir": listed}.get(event)
    if into is not None and isinstance(args[0], str | Path) and os.fspath(args[0]).startswith(root):
        into.append(os.fspath(args[0]))


def images(folder):
    return {str(path) for path in Path(folder).rglob("*.png")}


sys.addaudithook(note)
data = ImageFolder(root=root).load(cluster)
mine, ranks = set(opened), len(listed)
assert (ranks > 0) == cluster.leads, f"rank {cluster.rank} listed {ranks} folders"
of_all = cluster.gather(mine)
first = {f"{root}/train/0/0.png"}  # whose size rank 0 looks at
assert set().union(*of_all) == images(root)
assert sum(len(some - first) for some in of_all) == len(images(root) - first), "a file was opened by two ranks"
assert max(map(len, of_all)) <= len(images(root)) // cluster.size + 3

alone = ImageFolder(root=root).load()
for part, other in ((data.train, alone.train), (data.test, alone.test)):
    assert all(torch.equal(one, two) for one, two in zip(part.tensors, other.tensors, strict=True))

cluster.barrier()
if cluster.leads:
    (Path(root) / "train/2/4.png").write_bytes(b"no image")  # of the last rank's part
cluster.barrier()
try:
    ImageFolder(root=root).load(cluster)
except InputError as error:
    if error.shared and "train/2/4.png" in str(error):
        print("refused by all")
cluster.stop()
