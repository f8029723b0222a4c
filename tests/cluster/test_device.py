"""What a rank does with its processor, in a process of its own: it holds for the whole process."""

import subprocess
import sys

import pytest
import torch

pytestmark = pytest.mark.long

PROGRAM = """
import torch
import hpc_adabatch as hab

hab.Cluster.start()
torch.set_num_threads(2)
print(int((torch.full((100_000,), 1e-40) * 1.0).count_nonzero()))
"""


@pytest.mark.skipif(torch.cuda.is_available(), reason="a rank with a GPU leaves the processor as it is")
def test_denormal_numbers_count_as_zero_in_every_thread() -> None:
    answer = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120, check=True)
    assert answer.stdout.split() == ["0"]


def test_the_fused_kernels_are_used_where_denormal_numbers_count_as_zero() -> None:
    """Bug story: no momentum was handed to them as a denormal number, so every launched run took the slower formula."""
    program = """
import torch
import hpc_adabatch as hab
from hpc_adabatch.optim.kernels import has_fused
hab.Cluster.start()
print(has_fused("cpu"), hasattr(torch, "_fused_sgd_"))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    found, expected = done.stdout.split()
    assert found == expected
