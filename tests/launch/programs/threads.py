"""Which threads of Gloo are left when the ranks have stopped."""

import sys
from pathlib import Path

import torch

import hpc_adabatch as hab

cluster = hab.Cluster.start()
weights = torch.ones(3, requires_grad=True)
torch.optim.SGD([weights], lr=0.1)
assert "torch._dynamo" in sys.modules, "which an optimizer imports"
cluster.allreduce_(torch.ones(3), "ones")
cluster.stop()
names = [path.read_text(encoding="utf-8").strip() for path in Path("/proc/self/task").glob("*/comm")]
print("left:", [name for name in names if "gloo" in name])
