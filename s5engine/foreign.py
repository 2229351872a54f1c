"""The door to files that others may have written: whatever they hold, one clear error comes out.

A guard encloses one call that takes bytes apart (a JSON parser, zarr) and no code of ours, whose
faults stay visible.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from s5engine.errors import S5Error, StoreError, WayOut

#: The longest file of metadata that is read, bytes.
LONGEST = 256 * 2**20
#: The longest side of an array that is believed, px: its coordinates take 8 bytes each.
LONGEST_SIDE = 2**22


@contextmanager
def reading(
    what: str | Path,
    fix: str | WayOut = "",
    fault: str = "cannot be read",
    kind: type[S5Error] = StoreError,
) -> Iterator[None]:
    """Turn what a parser makes of odd bytes into one error.

    Parameters
    ----------
    what : str or Path
        What is read, the subject of the message's sentence.
    fix : str or WayOut, optional
        The way out.
    fault : str
        What is the matter with it, the sentence's verb.
    kind : type of S5Error
        The error that comes out.

    Raises
    ------
    StoreError
        If anything but an error of ours is raised inside.

    Examples
    --------
    >>> with reading("The note"):
    ...     int("seven")
    Traceback (most recent call last):
    s5engine.errors.StoreError: The note cannot be read: invalid literal for int() ... 'seven'.
    """
    try:
        yield
    except S5Error:
        raise
    except Exception as error:  # whatever a file holds, one clear error
        raise kind(f"{what} {fault}: {cause(error)}.", fix) from error


def cause(error: BaseException, length: int = 200) -> str:
    """Return why something failed, in at most ``length`` characters and without a full stop."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    text = " ".join(str(text).split()).replace("\0", "\\0")
    return (text if len(text) <= length else text[: length - 1] + "…").rstrip(".")


def read_json(path: Path, fix: str = "") -> dict[str, Any]:
    """Return the JSON object in a file.

    Raises
    ------
    FileNotFoundError
        If nothing is there.
    StoreError
        If it is no file, cannot be read, or holds no JSON object.
    """
    if path.parent.is_file():
        raise StoreError(f"{path} cannot be read: {path.parent} is a file.", fix)
    check_file(path, fix)
    with reading(path, fix):
        value = json.loads(path.read_bytes())
        if not isinstance(value, dict):
            raise ValueError(f"it holds a {type(value).__name__} where an object should be")
        return value


def check_file(path: Path, fix: str = "") -> None:
    """Check that a file of metadata is one before it is opened: a pipe would never end.

    Raises
    ------
    FileNotFoundError
        If nothing is there.
    StoreError
        If it is a folder, a broken link or the like, or longer than any metadata are.
    """
    if not path.is_file():
        if path.exists() or path.is_symlink():
            kind = "folder" if path.is_dir() else "broken link" if path.is_symlink() else "device"
            raise StoreError(f"{path} is a {kind}, and should be a file.", fix)
        raise FileNotFoundError(path)
    if (size := path.stat().st_size) > LONGEST:
        raise StoreError(f"{path} has {size} bytes: metadata are not so long.", fix)


def whole(value: Any, least: int = 0, most: int = 2**53) -> int:
    """Return a whole number that was read.

    Raises
    ------
    ValueError
        If it is none, or out of its range.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"{brief(value)} is no whole number from {least} to {most}")
    return value


def wholes(value: Any, count: int | None = None, least: int = 0) -> tuple[int, ...]:
    """Return a list of whole numbers that was read; ``count`` of them, or at least one.

    Raises
    ------
    ValueError
        If it is none.
    """
    if not isinstance(value, list | tuple) or len(value) != (count or max(1, len(value))):
        raise ValueError(f"{brief(value)} is no list of {count or 'some'} whole numbers")
    return tuple(whole(number, least, LONGEST_SIDE) for number in value)


def text(value: Any) -> str:
    """Return a text that was read.

    Raises
    ------
    ValueError
        If it is none.
    """
    if not isinstance(value, str):
        raise ValueError(f"{brief(value)} is no text")
    return value


def mapping(value: Any) -> dict[str, Any]:
    """Return a JSON object that was read.

    Raises
    ------
    ValueError
        If it is none.
    """
    if not isinstance(value, dict):
        raise ValueError(f"{brief(value)} is no object")
    return value


def brief(value: Any, length: int = 60) -> str:
    """Return a value that was read as a message may show it: of nested values only a few are."""
    try:
        shown = _FEW.repr(value)
    except (ValueError, RecursionError):  # a number of too many digits
        shown = f"a {type(value).__name__}"
    return shown if len(shown) <= length else shown[: length - 1] + "…"


#: Of 2⁶⁰ values that hold each other, these are shown.
_FEW = reprlib.Repr()
_FEW.maxlevel, _FEW.maxstring, _FEW.maxother, _FEW.maxlong = 3, 200, 200, 200
_FEW.maxlist = _FEW.maxtuple = _FEW.maxdict = _FEW.maxset = _FEW.maxfrozenset = 8

#: Attributes of volumes and ink that have a structure.
STRUCTURED = ("fingerprint", "contrast")


def as_attributes(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes that netCDF and zarr can hold alike: text, numbers and lists of numbers.

    What is None is left out; what has a structure is JSON text, which `structured` reads.
    """
    return {name: _flat(value) for name, value in values.items() if value is not None}


def _flat(value: Any) -> Any:
    if isinstance(value, int) and abs(value) >= 2**31:  # the oldest netCDF has no longer ones
        return float(value)
    numbers = isinstance(value, list | tuple) and all(isinstance(v, int | float) for v in value)
    if isinstance(value, Mapping) or (isinstance(value, list | tuple) and not (numbers and value)):
        return json.dumps(value, sort_keys=True, ensure_ascii=False)
    return value


def structured(value: Any) -> Any:
    """Return what an attribute holds, also where `as_attributes` wrote it as JSON text."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def restored(attributes: Mapping[Any, Any]) -> dict[str, Any]:
    """Return attributes of volumes and ink with the structure that `as_attributes` made text of."""
    return {str(k): structured(v) if k in STRUCTURED else v for k, v in attributes.items()}
