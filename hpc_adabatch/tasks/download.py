"""Downloads into a folder that other processes, nodes and jobs may download into at the same time.

ROOT/.download-XXXX/    this process alone: download, check, unpack
ROOT/...                each file by one rename, complete; of two processes the later one puts the same in its place
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path


def bring(root: Path, fetch: Callable[[Path], object], archives: Iterable[Path] = ()) -> None:
    """Has files fetched into a folder of this process alone, then puts them into the root.

    Args:
        root: The folder that the files are for; it is made where it is missing.
        fetch: Takes a folder, and brings the files there.
        archives: Files that are complete, which ``fetch`` finds in its folder.

    Raises:
        OSError: A file or folder cannot be written.
    """
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".download-", dir=root) as name:
        own = Path(name)
        for archive in archives:
            (own / archive.name).symlink_to(archive.absolute())
        fetch(own)
        for path in sorted(own.rglob("*")):
            if path.is_file() and not path.is_symlink():
                place = root / path.relative_to(own)
                place.parent.mkdir(parents=True, exist_ok=True)
                os.replace(path, place)
