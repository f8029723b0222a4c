"""What nvidia-smi wrote down of the GPUs."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpc_adabatch.study.gpu_use import gpu_use, gpu_use_of


@pytest.mark.parametrize(
    ("samples", "found"),
    [
        ("98, 310.50\n96, 300.10\n0, 60.00\n2, 61.40\n", (49.0, 183.0)),  # two looks at two GPUs
        ("[N/A], 55.25\n", (None, 55.25)),  # MIG tells no utilisation
        ("100, [N/A]\n80, [Not Supported]\n", (90.0, None)),
        ("No devices were found\n", (None, None)),
        ("97, 31", (97.0, 31.0)),  # cut short
        ("", (None, None)),
    ],
)
def test_means_over_gpus_and_time(samples: str, found: tuple[float | None, float | None]) -> None:
    assert gpu_use(samples) == found


def test_a_job_without_the_file(tmp_path: Path) -> None:
    assert gpu_use_of(tmp_path, "7") == (None, None)
    (tmp_path / "nvidia-smi-7.csv").write_text("50, 100.0\n", encoding="utf-8")
    assert gpu_use_of(tmp_path, "7") == (50.0, 100.0)
    assert gpu_use_of(tmp_path, None) == (None, None)
