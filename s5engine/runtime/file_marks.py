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


def note_files(root: Path, files: Iterable[Path]) -> dict[str, list[int]]:
    """Return length and checksum of each file, by its path from ``root``."""
    return {
        Path(os.path.relpath(file, root)).as_posix(): list(_mark(file)) for file in sorted(files)
    }


def whole_files(root: Path, noted: Mapping[str, Any]) -> bool:
    """Whether files are there and still are as `note_files` found them."""
    try:
        return all(list(_mark(root / name)) == mark for name, mark in noted.items())
    except OSError:
        return False


def _mark(file: Path) -> tuple[int, int]:
    with file.open("rb") as data:
        size = data.seek(0, os.SEEK_END)
        data.seek(max(0, size - _TAIL))
        return size, zlib.crc32(data.read())
