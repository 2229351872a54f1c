"""One at a time: threads and processes of this machine wait for each other at a file or folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def alone_at(path: Path) -> Iterator[None]:
    """Wait until nobody else is at a file or folder, which must not be replaced meanwhile."""
    descriptor = os.open(path, os.O_RDONLY)  # the lock goes with it
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
