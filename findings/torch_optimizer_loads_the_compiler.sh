#!/usr/bin/env bash
# The first call of an optimizer of torch loads torch's compiler, which takes as long as `import torch`; so does the
# import of torchvision. Every rank of a job pays it before its first step, whether or not anything is compiled.
#
# Guess before it was run: `import torch` is the largest part of a rank's start, and an optimizer that is made after it
# costs microseconds; whoever never calls torch.compile never loads torch._dynamo.
# Seen with torch 2.13.0 on a CPU: torch.optim.SGD(...) imports torch._dynamo, and with it sympy and hundreds of other
# modules, through a mark on Optimizer.add_param_group that keeps it from being compiled: 0.82 s of processor for the
# import of torch, 0.81 s more for the optimizer. The same method without its mark (`__wrapped__`) loads none of it.
#
# Exit code 0: it is still so. 1: it has changed. Seconds are printed, and decide nothing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy
cat >"$folder/start.py" <<'PYTHON'
import inspect
import sys
import time

began_s = time.process_time()
import torch

imported_s, before = time.process_time(), set(sys.modules)
weight = torch.nn.Parameter(torch.zeros(2))


class Plain(torch.optim.SGD):
    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)


kind = {"as it is": torch.optim.SGD, "without the mark": Plain}[sys.argv[1]]
kind([weight], lr=0.1)
more_s = time.process_time() - imported_s
found = "torch._dynamo" in sys.modules, "sympy" in sys.modules
print(f"{sys.argv[1]}: import torch {imported_s - began_s:.2f} s, the optimizer {more_s:.2f} s of processor and")
print(f"  {len(set(sys.modules) - before)} modules; torch._dynamo and sympy loaded: {found}", flush=True)
sys.exit(0 if found == (sys.argv[1] == "as it is",) * 2 else 1)
PYTHON
"$folder/venv/bin/python" "$folder/start.py" "as it is"
"$folder/venv/bin/python" "$folder/start.py" "without the mark"
