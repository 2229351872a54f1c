"""Which files of a folder are layers, and of which number: by their names alone."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterable

from s5engine.console import say
from s5engine.errors import SourceError, SourceNotFoundError, WayOut

_ENDINGS = r"\.(tif|tiff|jpg|jpeg|png)"
#: A layer's number has few digits: 20230504093154.tif is a segment's picture.
_LAYER = re.compile(r"(\d{1,6})" + _ENDINGS, re.IGNORECASE | re.ASCII)
_NUMBERED = re.compile(r"\d+" + _ENDINGS, re.IGNORECASE | re.ASCII)
#: The only number in a name, or the last, is the layer's.
_ENDING_IN_NUMBER = re.compile(r"(.*\D)(\d{1,6})" + _ENDINGS, re.IGNORECASE | re.ASCII)
_PIECE = re.compile(r"\d+\.part\d+" + _ENDINGS, re.IGNORECASE | re.ASCII)
#: Numbers further apart than so many times their count make no sequence with gaps.
_SPARSEST = 20


def is_numbered(name: str) -> bool:
    """Return whether a name is a number and the ending of a picture."""
    return bool(_NUMBERED.fullmatch(name))


def holds_layers(names: Iterable[str]) -> bool:
    """Return whether there are layers among names."""
    names = list(names)
    return any(_LAYER.fullmatch(name) or _PIECE.fullmatch(name) for name in names) or bool(
        _families(names)
    )


def pick_layers(names: Iterable[str], where: str, wanted: Collection[int] | None) -> dict[int, str]:
    """Return the name of each layer, ascending.

    Parameters
    ----------
    names : iterable of str
        Of the files in a folder, and of folders with a slash at the end.
    where : str
        The folder, for errors.
    wanted : collection of int or None
        The layers that have to be there; None: all from the first to the last.

    Raises
    ------
    SourceNotFoundError
        If there are no layers.
    SourceError
        If layers lie in pieces, are missing, or are there twice, or a file's number is none of a
        layer.
    """
    names = sorted(set(names))
    if pieces := [name for name in names if _PIECE.fullmatch(name)]:
        raise SourceError(
            f"{where} holds layers in pieces ({some(pieces)}), which cannot be read.",
            "Join the pieces of each layer into one file named after its number, such as 00.tif.",
        )
    by_number = _numbers(names, where)
    if not by_number:
        raise _no_layers(names, where)
    double = [name for group in by_number.values() if len(group) > 1 for name in group]
    if double:
        raise SourceError(
            f"{where} has more than one file for the same layer: {some(double)}.",
            "Remove all but one of them.",
        )
    _check_odd([name for name in names if is_numbered(name)], by_number, where)
    if wanted is None:
        _check_gaps(by_number, where)
    return {number: group[0] for number, group in sorted(by_number.items())}


def some(names: Collection[str], limit: int = 8) -> str:
    """Return the first names as text, each cut to a bearable length."""
    shown = ", ".join(name if len(name) <= 60 else name[:59] + "…" for name in list(names)[:limit])
    return shown + (f" and {len(names) - limit} more" if len(names) > limit else "")


def _numbers(names: list[str], where: str) -> dict[int, list[str]]:
    """Return the names that are layers by number; those of one family where none is a number."""
    by_number: dict[int, list[str]] = {}
    for name in names:
        if match := _LAYER.fullmatch(name):
            by_number.setdefault(int(match[1]), []).append(name)
    if by_number:
        return by_number
    families = _families(names)
    if len(families) > 1:
        listed = [f"{prefix}…" for prefix in families]
        raise SourceError(
            f"{where} has several kinds of numbered pictures: {some(listed)}.",
            "Give a folder that holds the layers alone.",
        )
    for prefix, family in families.items():
        say(f"{where}: the layers are {prefix}…, by the numbers at the end of their names")
        for number, name in family:
            by_number.setdefault(number, []).append(name)
    return by_number


def _families(names: Iterable[str]) -> dict[str, list[tuple[int, str]]]:
    """Return names that differ by the number at their end, two at least, by what is before it."""
    found: dict[str, list[tuple[int, str]]] = {}
    for name in names:
        if match := _ENDING_IN_NUMBER.fullmatch(name):
            found.setdefault(match[1], []).append((int(match[2]), name))
    return {prefix: family for prefix, family in found.items() if len(family) > 1}


def _no_layers(names: list[str], where: str) -> SourceNotFoundError:
    if {"zarr.json", ".zgroup", ".zarray"} & set(names):
        return SourceNotFoundError(
            f"{where} is a zarr store, not a folder of layers.",
            WayOut(
                "Open it with open_volume.", "It needs no fetching: give it to the other verbs."
            ),
        )
    return SourceNotFoundError(
        f"{where} has no layer files (00.tif, 01.tif, …); it has {some(names) or 'nothing'}.",
        "Give the folder that holds the layers, or the segment's folder above it.",
    )


def _check_odd(numbered: list[str], by_number: dict[int, list[str]], where: str) -> None:
    """Refuse pictures named after numbers that are no layer's, beside layers."""
    odd = [name for name in numbered if not _LAYER.fullmatch(name)]
    numbers = sorted(by_number)
    middle = numbers[len(numbers) // 2]
    reach = _SPARSEST * (len(numbers) + 1)
    odd += [by_number[n][0] for n in numbers if len(numbers) > 2 and abs(n - middle) > reach]
    if odd:
        raise SourceError(
            f"{where} has {some(sorted(odd))} beside {len(numbers)} layers: a number that is no "
            "layer's.",
            "Move it out of the folder of layers.",
        )


def _check_gaps(by_number: dict[int, list[str]], where: str) -> None:
    first, last = min(by_number), max(by_number)
    count = last - first + 1 - len(by_number)
    if not count:
        return
    like = by_number[first][0]
    missing = (number for number in range(first, last) if number not in by_number)
    listed = ", ".join(_like(like, number) for number in itertools.islice(missing, 8))
    more = f" and {count - 8} more" if count > 8 else ""
    raise SourceError(
        f"{where} has layers {first} to {last}, but these are missing: {listed}{more}.",
        "Fetch the missing layers, or name those that are wanted.",
    )


def _like(name: str, number: int) -> str:
    """Return the file name of layer ``number``, written as ``name`` is."""
    stem, _, suffix = name.rpartition(".")
    digits = re.search(r"\d+$", stem)
    width = len(digits[0]) if digits else 1
    return f"{stem[: len(stem) - width]}{number:0{width}d}.{suffix}"
