"""How busy the GPUs of a cell's job were, from what launch/job had nvidia-smi write down beside the result.

nvidia-smi-JOBID.csv    percent, watts        of each GPU of the job's first node, every ten seconds
"""

from __future__ import annotations

import re
from pathlib import Path
from statistics import fmean


def gpu_use(samples: str) -> tuple[float | None, float | None]:
    """Returns the percent of the time that a GPU was busy and its watts, means over GPUs and samples; None without any.

    Args:
        samples: The lines of the file; what is no number in them does not count.
    """
    columns: tuple[list[float], list[float]] = ([], [])
    for line in samples.splitlines():
        for column, text in zip(columns, line.split(","), strict=False):
            if re.fullmatch(r"\d+(?:\.\d+)?", text.strip()):
                column.append(float(text))
    percent, watts = (fmean(column) if column else None for column in columns)
    return percent, watts


def gpu_use_of(cell: Path, job_id: str | None) -> tuple[float | None, float | None]:
    """Returns the same of a job of the cell in this folder."""
    try:
        return gpu_use((cell / f"nvidia-smi-{job_id}.csv").read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None, None
