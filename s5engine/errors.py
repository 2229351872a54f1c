"""What can go wrong, as exceptions that say what happened, with which values, and what to do.

Every class also inherits the builtin that a caller would expect, so ``except ValueError`` works.
"""

from __future__ import annotations

import re
from typing import NamedTuple

#: User and password in an address, and what follows its question mark: tokens, signatures.
_CREDENTIALS = re.compile(
    r"(?P<scheme>\b[A-Za-z][A-Za-z0-9+.\-]*://)(?:[^\s/?#'\"<>]*@)?(?P<place>[^\s?'\"<>]*)"
    r"(?:\?[^\s'\"<>]*)?"
)


def without_credentials(text: str) -> str:
    """Return a text whose addresses have lost user, password and query."""
    return _CREDENTIALS.sub(r"\g<scheme>\g<place>", text) if "://" in text else text


class WayOut(NamedTuple):
    """The way out of an error as it is named in Python, and on the command line."""

    python: str
    shell: str


def afresh(what: str = "Start afresh", other: str = "") -> WayOut:
    """Return the way out of work that cannot be gone on with, and another one."""
    return WayOut(f"{what} with resume=False{other}.", f"{what} with --fresh{other}.")


#: The way out of a damaged store of ours.
FETCH_AFRESH = WayOut("Ingest it again with resume=False.", "Fetch it again with --fresh.")


class S5Error(Exception):
    """Base of every error that s5engine raises on purpose.

    Parameters
    ----------
    what : str
        What is wrong, with the values, as a full sentence.
    fix : str or WayOut, optional
        The way out, as a full sentence; where it has other names on the command line, both.
    """

    def __init__(self, what: str, fix: str | WayOut = "") -> None:
        ways = fix if isinstance(fix, WayOut) else WayOut(fix, fix)
        # Whatever a library said about an address, nobody's password is printed.
        self.what = without_credentials(what)
        self.way_out = WayOut(*map(without_credentials, ways))
        self.fix = self.way_out.python
        super().__init__(str(self))

    def __reduce__(self) -> tuple[type[S5Error], tuple[str, WayOut]]:
        """Keep all parts when the error crosses a process border."""
        return type(self), (self.what, self.way_out)

    def on_the_command_line(self) -> str:
        """Return the error as the command line says it."""
        return f"{self.what} {self.way_out.shell}".strip()

    def __str__(self) -> str:
        # KeyError and OSError children would otherwise format themselves.
        return f"{self.what} {self.fix}".strip()


class InvalidArgumentError(S5Error, ValueError):
    """An argument does not fit: a crop outside the volume, a stride that does not divide."""


class PartNotFoundError(S5Error, KeyError):
    """A volume has no part of this number."""


class SourceError(S5Error, OSError):
    """A source of layers cannot be read, or is not what it should be."""


class SourceNotFoundError(SourceError, FileNotFoundError):
    """The address, the folder or one of the layers does not exist."""


class SourceChangedError(SourceError):
    """The source is no longer the one that an unfinished store was begun from."""


class StoreError(S5Error, OSError):
    """A store cannot be opened or written, or is not what it should be."""


class StoreRefusedError(StoreError):
    """A server says that a store may not be read, which some say of what is not there."""


class ResumeError(S5Error, ValueError):
    """An unfinished store or run was begun with other settings."""


class CheckpointError(S5Error, ValueError):
    """A checkpoint cannot be loaded, or does not fit the network."""


class CheckpointNotFoundError(CheckpointError, FileNotFoundError):
    """There is no checkpoint at this path."""


class BudgetError(S5Error, MemoryError):
    """The work cannot be done within the memory budget."""


class SchedulerError(S5Error, ConnectionError):
    """No dask scheduler answers, or it has nobody to work."""


class MissingExtraError(S5Error, ImportError):
    """An optional dependency is needed and not installed."""
