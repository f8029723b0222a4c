"""A table as a file: CSV for every tool, Parquet for large ones (by pyarrow, the extra ``export``)."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...files import whole

SUFFIXES = (".csv", ".parquet")
NEEDS = "pyarrow>=14"


def write(path: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    """Writes the file, whole or not at all. In CSV what is missing is empty, and true and false are so written.

    Args:
        path: The file; its name ends in one of ``SUFFIXES``.
        columns: The values by name, all of one length.

    Raises:
        InputError: Parquet is asked for, and pyarrow is not installed.
        StorageError: The file cannot be written.
    """
    content = _parquet(columns) if path.suffix == ".parquet" else _csv(columns)
    with whole(path) as file:
        file.write(content)


def _csv(columns: Mapping[str, Sequence[Any]]) -> bytes:
    text = io.StringIO(newline="")
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(columns)
    words = {True: "true", False: "false"}
    for row in zip(*columns.values(), strict=True):
        lines.writerow(words[value] if isinstance(value, bool) else value for value in row)
    return text.getvalue().encode("utf-8", errors="backslashreplace")


def _parquet(columns: Mapping[str, Sequence[Any]]) -> bytes:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise InputError("to", "a .parquet file, without pyarrow", "a .csv file", f"pip install '{NEEDS}'") from error
    buffer = io.BytesIO()
    parquet.write_table(pyarrow.table({name: pyarrow.array(values) for name, values in columns.items()}), buffer)
    return buffer.getvalue()
