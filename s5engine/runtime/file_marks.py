"""What a journal notes of the files of a unit, and whether they still are as they were then.

After a power cut a file may be there by its name and lack its end, or hold zeros there: its length
and a checksum of its last bytes tell. The indexes of shards lie in them, too.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

#: Last bytes of a file that are looked at: a block of a file system.
_TAIL = 4096


def note_files(
    root: Path, files: Iterable[Path], ends: Mapping[Path, int]
) -> dict[str, list[int | bool]]:
    """Return length and checksum of each file, by its path from ``root``.

    Of a file that other units write on, ``ends`` holds the byte up to which this unit's data reach.
    """
    return {
        Path(os.path.relpath(file, root)).as_posix(): [*_mark(file, ends.get(file)), file in ends]
        for file in sorted(files)
    }


def torn_files(root: Path, noted: Mapping[str, Any]) -> list[Path]:
    """Return the files that are not there, or not as `note_files` found them."""
    return [root / name for name, mark in noted.items() if not _is_whole(root / name, *mark)]


def _is_whole(file: Path, end: int, checksum: int, grows: bool) -> bool:
    try:
        return _mark(file, end if grows else None) == (end, checksum)
    except OSError:
        return False


def _mark(file: Path, end: int | None) -> tuple[int, int]:
    """Return where a file, or what is looked at of it, ends, and a checksum of what is before."""
    with file.open("rb") as data:
        size = data.seek(0, os.SEEK_END)
        end = size if end is None else min(end, size)
        data.seek(max(0, end - _TAIL))
        return end, zlib.crc32(data.read(min(end, _TAIL)))
