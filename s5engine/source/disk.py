"""The local disk: reads at a place, and room for temporary files."""

from __future__ import annotations

import os
import shutil
import tempfile

from s5engine.budget import format_bytes
from s5engine.errors import SourceChangedError, SourceError

_LARGER = "Set the environment variable TMPDIR to a folder on a larger disk."


def pread_all(descriptor: int, start: int, stop: int, name: str) -> bytes:
    """Return the bytes ``start``…``stop`` of an open file, or raise if it ends before."""
    data = os.pread(descriptor, stop - start, start)
    while len(data) < stop - start:
        more = os.pread(descriptor, stop - start - len(data), start + len(data))
        if not more:
            raise SourceChangedError(f"{name} ends at byte {start + len(data)}, {stop} are needed.")
        data += more
    return data


def free_disk() -> int:
    """Return the bytes that are free in the folder for temporary files."""
    return int(shutil.disk_usage(tempfile.gettempdir()).free)


def need_disk(size: int, why: str) -> None:
    """Raise unless the folder for temporary files has room for ``size`` bytes.

    Raises
    ------
    SourceError
        If the disk is too full.
    """
    free = free_disk()
    if size > free:
        raise SourceError(
            f"{why} needs {format_bytes(size)} in {tempfile.gettempdir()}, which has "
            f"{format_bytes(free)} free.",
            _LARGER,
        )


def full_disk(why: str, size: int, cause: str | None = None) -> SourceError:
    """Return the error of a copy that the disk has no room for after ``size`` bytes."""
    return SourceError(
        f"{why} fills {tempfile.gettempdir()}: after {format_bytes(size)}, "
        f"{format_bytes(free_disk())} are free{f' ({cause})' if cause else ''}.",
        _LARGER,
    )
