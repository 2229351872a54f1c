"""Names and places on disk: what a folder may be called, and where results may go."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

from s5engine.errors import InvalidArgumentError

#: Longest name, bytes: file systems take 255, and endings are added.
_LONGEST = 180
#: What some file system or shell takes for something else than a letter.
_FORBIDDEN = frozenset('/\\:*?"<>|')
#: Names that are devices on Windows, whatever their ending.
_DEVICES = frozenset(
    ["CON", "PRN", "AUX", "NUL", *(f"{port}{n}" for port in ("COM", "LPT") for n in range(10))]
)


def path_name(name: object, what: str) -> str:
    """Return a name that comes from data as one component of a path.

    Parameters
    ----------
    name : object
        A segment's name in a store's attributes or an address, for example.
    what : str
        What it is the name of, for the error: "segment".

    Returns
    -------
    str
        Composed as Unicode's NFC.

    Raises
    ------
    InvalidArgumentError
        If it is no text, or could lead elsewhere: it is empty, ``.`` or ``..``, holds a slash, a
        colon, a character that cannot be seen, is too long or means something to a shell.
    """
    composed = unicodedata.normalize("NFC", name) if isinstance(name, str) else ""
    # Some file systems compose names themselves: a full-width slash becomes a slash there.
    plain = unicodedata.normalize("NFKC", composed)
    wrong = (
        not composed
        or composed[0] in ".-~ "
        or composed[-1] in ". "
        or not plain.isprintable()
        or not composed.isprintable()
        or bool(_FORBIDDEN & {*composed, *plain})
        or len(os.fsencode(composed)) > _LONGEST
        or plain.partition(".")[0].rstrip().upper() in _DEVICES
    )
    if wrong:
        raise InvalidArgumentError(
            f"A folder cannot be named after the {what} {str(name)[:80]!r}.",
            f'Give the volume another name: volume.attrs["{what}"] = "…".',
        )
    return composed


def check_output(output: str | Path, *inputs: str | Path | None, what: str = "output") -> None:
    """Refuse an output that is, holds or lies in an input.

    Parameters
    ----------
    output : str or Path
        Where results go.
    *inputs : str, Path or None
        What is read; addresses of other machines, and None, hold nothing of this one.
    what : str
        What the output is called, for the error.

    Raises
    ------
    InvalidArgumentError
    """
    from s5engine.address import local_path

    target = local_path(output)
    if target is None:
        return
    there = _real(target)
    for place in inputs:
        path = None if place is None else local_path(place)
        if path is None:
            continue
        here = _real(path)
        how = (
            "is"
            if there == here or _is_same(there, here)
            else "lies in"
            if _holds(here, there)
            else "holds"
            if _holds(there, here)
            else None
        )
        if how is not None:
            raise InvalidArgumentError(
                f"The {what} {target} {how} the input {path}: what is written would be read.",
                "Choose another folder for the results.",
            )


def _real(path: Path) -> Path:
    """Return a path without links and dots; what does not exist yet keeps its name."""
    return Path(os.path.realpath(path))


def _holds(folder: Path, path: Path) -> bool:
    """Return whether ``path`` is below ``folder``: by name, or by what it is where case is none."""
    return any(parent == folder or _is_same(parent, folder) for parent in path.parents)


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False
