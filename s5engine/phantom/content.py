"""One view of everything that can be served: bytes in memory, a file on disk, a virtual file."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

from s5engine.errors import SourceNotFoundError
from s5engine.phantom.virtual import VirtualFile

File = bytes | Path | VirtualFile

#: Modification time of what has none of its own: 19 March 2025, 12:00 UTC.
FIRST_MTIME = 1_742_385_600.0


@dataclass(frozen=True)
class Content:
    """A file as the server needs it.

    Parameters
    ----------
    file : bytes, Path or VirtualFile
        Where the bytes come from.
    size : int
        Length, bytes.
    etag : str
        Changes with the content, and is the same for the same content in another server.
    mtime : float
        Modification time, Unix seconds.
    """

    file: File
    size: int
    etag: str
    mtime: float

    @property
    def last_modified(self) -> str:
        """The modification time as HTTP writes it."""
        return formatdate(self.mtime, usegmt=True)

    def still_whole(self) -> bool:
        """Whether a file on disk still has the size that is announced; True for others."""
        return not isinstance(self.file, Path) or self.file.stat().st_size == self.size

    def batches(self, start: int, stop: int, step: int) -> Iterator[list[memoryview]]:
        """Yield bytes ``start`` to ``stop`` in order, about ``step`` bytes at a time."""
        if isinstance(self.file, Path):
            with self.file.open("rb") as handle:
                while start < stop and (
                    data := os.pread(handle.fileno(), min(step, stop - start), start)
                ):
                    yield [memoryview(data)]
                    start += len(data)
            return
        if isinstance(self.file, VirtualFile):
            views: Callable[[int, int], list[memoryview]] = self.file.views
        else:
            whole = memoryview(self.file)

            def views(a: int, b: int) -> list[memoryview]:
                return [whole[a:b]]

        for at in range(start, stop, step):
            yield views(at, min(at + step, stop))


def make_content(file: File, version: int = 0) -> Content:
    """Return ``file`` with its size, ETag and date; later versions are dated later.

    Raises
    ------
    SourceNotFoundError
        If ``file`` is a path that is not a file.
    """
    if isinstance(file, Path):
        if not file.is_file():
            raise SourceNotFoundError(f"There is no file {file} to serve.")
        stat = file.stat()
        return Content(
            file, stat.st_size, f'"{stat.st_size:x}-{stat.st_mtime_ns:x}"', stat.st_mtime
        )
    if isinstance(file, VirtualFile):
        size, digest = file.size, file.fingerprint()
    else:
        size, digest = len(file), hashlib.blake2b(file, digest_size=8).hexdigest()
    # HTTP dates have whole seconds: a replaced file is a minute younger.
    return Content(file, size, f'"{size:x}-{digest}"', FIRST_MTIME + 60.0 * version)


_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


class RangeNotSatisfiableError(Exception):
    """The range begins past the end of the file (HTTP 416)."""


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Return the half-open byte range that a Range header asks for, cut to ``size``.

    None means the whole file: no header, several ranges, or another unit (RFC 9110, 14.2, lets a
    server ignore those).

    Raises
    ------
    RangeNotSatisfiableError
        If the range lies past the end.
    """
    match = _RANGE.fullmatch(header.strip()) if header else None
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        length = min(int(match[2]), size)
        if length == 0:
            raise RangeNotSatisfiableError
        return size - length, size
    start, stop = int(match[1]), int(match[2]) + 1 if match[2] else size
    if stop <= start and match[2]:
        return None
    if start >= size:
        raise RangeNotSatisfiableError
    return start, min(stop, size)


class Pace:
    """Holds a connection to so many bytes a second.

    Parameters
    ----------
    bandwidth : float, optional
        Bytes per second; None for no limit.
    wait : callable
        Waits for so many seconds, or less when the server closes.
    """

    def __init__(self, bandwidth: float | None, wait: Callable[[float], object]) -> None:
        self._bandwidth, self._wait = bandwidth, wait
        self._free_at = 0.0

    @property
    def step(self) -> int:
        """Bytes to send at a time: 2 MiB, or what passes in a fiftieth of a second."""
        if self._bandwidth is None:
            return 2 << 20
        return max(1024, min(2 << 20, int(self._bandwidth / 50)))

    def take(self, size: int) -> None:
        """Wait until ``size`` more bytes may have passed."""
        if self._bandwidth is None:
            return
        self._free_at = max(self._free_at, time.monotonic()) + size / self._bandwidth
        self._wait(self._free_at - time.monotonic())
