"""Which attempt at a piece of work is going on: its tasks write, those of earlier ones do not.

A command that works on somebody else's workers may be killed while its tasks are at work there, and
they do not end with it. The next attempt waits for those that are writing, and what has not begun
to write by then never does: files of two attempts do not mix.
"""

from __future__ import annotations

import fcntl
import glob
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from s5engine import console
from s5engine.errors import StoreError

_ENDING = ".attempt"


class AttemptOverError(StoreError):
    """A task is of an attempt that is over; nobody waits for its answer."""


@dataclass(frozen=True)
class Attempt:
    """One attempt at a piece of work, small enough to be sent with each task.

    Attributes
    ----------
    path : Path
        An empty file beside the journal, there as long as the attempt goes on.
    """

    path: Path

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Let no other attempt begin while a task writes.

        Raises
        ------
        AttemptOverError
            If another one has begun, or this one is done.
        """
        try:
            descriptor = os.open(self.path, os.O_RDONLY)  # the lock goes with it
        except FileNotFoundError:
            raise self._over() from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            if not _is_open_there(self.path, descriptor):
                raise self._over()
            yield
        finally:
            os.close(descriptor)

    def _over(self) -> AttemptOverError:
        return AttemptOverError(
            f"{self.path} is not there: the command that made it has ended, or this machine does "
            "not see the same disk."
        )


def begin_attempt(journal: Path) -> Attempt:
    """Return a new attempt at the work of a journal, whose lock the caller holds."""
    path = journal.absolute().with_name(f"{journal.name}.{secrets.token_hex(4)}{_ENDING}")
    path.touch(exist_ok=False)
    return Attempt(path)


def end_attempts(journal: Path) -> None:
    """Wait until no task of any attempt is writing, and let none begin to."""
    for path in journal.parent.glob(f"{glob.escape(journal.name)}.*{_ENDING}"):
        descriptor = os.open(path, os.O_RDWR)
        try:
            _lock(descriptor, journal)
            path.unlink()
        finally:
            os.close(descriptor)


def _lock(descriptor: int, journal: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        console.say(f"waiting for tasks of an earlier command, which still write for {journal}")
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def _is_open_there(path: Path, descriptor: int) -> bool:
    """Return whether a file that was opened is the one that is still at the path."""
    try:
        return path.stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False
