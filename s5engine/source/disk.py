"""The local disk: reads at a place, and room for temporary files."""

from __future__ import annotations

import os
import shutil
import tempfile

from s5engine.budget import format_bytes
from s5engine.errors import SourceChangedError, SourceError


def pread_all(descriptor: int, start: int, stop: int, name: str) -> bytes:
    """Return the bytes ``start``…``stop`` of an open file, or raise if it ends before."""
    data = os.pread(descriptor, stop - start, start)
    while len(data) < stop - start:
        more = os.pread(descriptor, stop - start - len(data), start + len(data))
        if not more:
            raise SourceChangedError(f"{name} ends at byte {start + len(data)}, {stop} are needed.")
        data += more
    return data


def need_disk(size: int, why: str) -> None:
    """Raise unless the folder for temporary files has room for ``size`` bytes.

    Raises
    ------
    SourceError
        If the disk is too full.
    """
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if size > free:
        raise SourceError(
            f"{why} needs {format_bytes(size)} in {folder}, which has {format_bytes(free)} free.",
            "Set the environment variable TMPDIR to a folder on a larger disk.",
        )
