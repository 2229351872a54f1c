"""Finding the layers of a segment: index pages over HTTP, local folders, any fsspec folder."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote

from s5engine.address import (
    StorageOptions,
    child,
    is_http,
    local_path,
    open_filesystem,
    place_of,
    shown,
)
from s5engine.console import as_html
from s5engine.errors import SourceError, SourceNotFoundError
from s5engine.source.deadline import ask_filesystem
from s5engine.source.http import HttpClient
from s5engine.source.index_page import folder_names
from s5engine.source.retry import Halt, RetryPolicy

_LAYER = re.compile(r"(\d+)\.(tif|tiff|jpg|jpeg|png)", re.IGNORECASE)
_PIECE = re.compile(r"(\d+)\.part(\d+)\.(tif|tiff|jpg|jpeg|png)", re.IGNORECASE)
_FOLDER = "layers"


@dataclass(frozen=True)
class LayerFile:
    """One layer's file: its number, its address and its name in the folder."""

    number: int
    url: str
    name: str


class LayerIndex(Mapping[int, LayerFile]):
    """The layer files of a segment by layer number, ascending; immutable.

    Attributes
    ----------
    url : str
        The folder that holds them.
    segment : str
        Name of the segment: of the folder above ``layers``.
    storage_options : dict or None
        How to reach them, as for fsspec.
    """

    def __init__(
        self,
        files: Mapping[int, LayerFile],
        url: str,
        *,
        segment: str,
        storage_options: StorageOptions | None = None,
    ) -> None:
        self._files = MappingProxyType(dict(sorted(files.items())))
        self.url, self.segment = url, segment
        self.storage_options = storage_options

    def __getitem__(self, number: int) -> LayerFile:
        return self._files[number]

    def __iter__(self) -> Iterator[int]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def _repr_html_(self) -> str:
        return as_html(repr(self))

    def __repr__(self) -> str:
        numbers = list(self)
        return (
            f"<LayerIndex {self.segment}: layers {numbers[0]}–{numbers[-1]} at {shown(self.url)}>"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process may be in another folder.
        files = {n: replace(file, url=_absolute(file.url)) for n, file in self._files.items()}
        return _rebuild, (files, _absolute(self.url), self.segment, self.storage_options)


def _absolute(url: str) -> str:
    path = local_path(url)
    return url if path is None else str(path.absolute())


def _rebuild(
    files: dict[int, LayerFile], url: str, segment: str, options: StorageOptions | None
) -> LayerIndex:
    return LayerIndex(files, url, segment=segment, storage_options=options)


def list_layers(
    url: str | Path,
    *,
    storage_options: StorageOptions | None = None,
    retry: RetryPolicy | None = None,
) -> LayerIndex:
    """Return the layer files in a folder.

    Parameters
    ----------
    url : str or Path
        A folder of layer files (``00.tif``, ``1.tif``, ``02.png`` …), or a segment's folder with
        ``layers/`` in it: a local path, an ``http(s)://`` index page, or any address that fsspec
        knows, ``s3://`` for example (read anonymously unless ``storage_options`` say otherwise).
        Files whose name is not a number are left out.
    storage_options : dict, optional
        Passed to fsspec.
    retry : RetryPolicy, optional
        How failed requests are repeated.

    Returns
    -------
    LayerIndex
        Layer number → file.

    Raises
    ------
    SourceNotFoundError
        If there is no such folder, or it has no layers.
    SourceError
        If it cannot be read, layers are missing in the sequence, or two files are the same layer.
    MissingExtraError
        If a package for this kind of address is missing.
    """
    place = place_of(url)
    base, policy = str(place), retry or RetryPolicy()
    if isinstance(place, Path):
        base, names = _enter(base, _local_names)
    elif is_http(base):
        client = HttpClient(storage_options, policy)
        try:
            base, names = _enter(base, lambda folder: folder_names(folder, client.page))
        finally:
            client.close()
    else:
        base, names = _enter(base, lambda folder: _fsspec_names(folder, storage_options, policy))
    return _index(base, names, storage_options)


def _enter(base: str, names_of: Callable[[str], tuple[str, list[str]]]) -> tuple[str, list[str]]:
    """List ``base``, or ``layers/`` in it if that is where the layers are."""
    base, names = names_of(base)
    if f"{_FOLDER}/" in names and not any(_LAYER.fullmatch(n) for n in names):
        base, names = names_of(child(base, _FOLDER))
    return base, names


# --- the three kinds of folders: file names, and folder names with a slash at the end ----------


def _local_names(folder: str) -> tuple[str, list[str]]:
    path = Path(folder)
    if not path.is_dir():
        what = "is a file, not a folder" if path.exists() else "does not exist"
        raise SourceNotFoundError(f"{path} {what}.", "Give the folder that holds the layer files.")
    return folder, [p.name + "/" * p.is_dir() for p in path.iterdir()]


def _fsspec_names(
    folder: str, options: StorageOptions | None, retry: RetryPolicy
) -> tuple[str, list[str]]:
    filesystem, path = open_filesystem(folder, options)
    found: list[dict[str, Any]] = ask_filesystem(
        lambda: filesystem.ls(path, detail=True), shown(folder), retry, Halt()
    )
    ends = ("/" if entry["type"] == "directory" else "" for entry in found)
    return folder, [
        str(entry["name"]).rstrip("/").rpartition("/")[2] + end
        for entry, end in zip(found, ends, strict=True)
    ]


# --- from names to an index ----------------------------------------------------------------------


def _index(base: str, names: list[str], options: StorageOptions | None) -> LayerIndex:
    """Pick the layer files and check that they make one complete sequence."""
    where = shown(base)
    pieces = sorted(n for n in names if _PIECE.fullmatch(n))
    if pieces:
        raise SourceError(
            f"{where} holds layers in pieces ({_some(pieces)}), which cannot be read.",
            "Join the pieces of each layer into one file named after its number, such as 00.tif.",
        )
    by_number: dict[int, list[str]] = {}
    for name in sorted(set(names)):
        if match := _LAYER.fullmatch(name):
            by_number.setdefault(int(match[1]), []).append(name)
    if not by_number and {"zarr.json", ".zgroup", ".zarray"} & set(names):
        raise SourceNotFoundError(
            f"{where} is a zarr store, not a folder of layers.", "Open it with open_volume."
        )
    if not by_number:
        raise SourceNotFoundError(
            f"{where} has no layer files (00.tif, 01.tif, …); it has "
            f"{_some(sorted(names)) or 'nothing'}.",
            "Give the folder that holds the layers, or the segment's folder above it.",
        )
    double = [name for group in by_number.values() if len(group) > 1 for name in group]
    if double:
        raise SourceError(
            f"{where} has more than one file for the same layer: {_some(double)}.",
            "Remove all but one of them.",
        )
    missing = sorted(set(range(min(by_number), max(by_number))) - by_number.keys())
    if missing:
        like = by_number[min(by_number)][0]
        absent = [_like(like, number) for number in missing]
        raise SourceError(
            f"{where} has layers {min(by_number)} to {max(by_number)}, but these are missing: "
            f"{_some(absent)}.",
            "Fetch the missing layers.",
        )
    files = {n: LayerFile(n, child(base, names[0]), names[0]) for n, names in by_number.items()}
    return LayerIndex(files, base, segment=_segment(base), storage_options=options)


def _like(name: str, number: int) -> str:
    """Return the file name of layer ``number``, written as ``name`` is."""
    stem, _, suffix = name.partition(".")
    return f"{number:0{len(stem)}d}.{suffix}"


def _some(names: list[str], limit: int = 8) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def _segment(base: str) -> str:
    """Return the name of the folder above ``layers``, whatever way the address is written."""
    path = local_path(base)
    if path is not None:  # without links and dots: one folder has one name
        folders = [part for part in path.resolve().parts if part != path.anchor]
    else:
        folders = [part for part in unquote(shown(base).partition("://")[2]).split("/") if part]
        folders = folders[1:] if is_http(base) else folders
    if folders and folders[-1] == _FOLDER:
        folders.pop()
    # Dots lead elsewhere: they are no name, whoever undoes them.
    name = folders[-1] if folders else ""
    return name if name not in ("", ".", "..") else _FOLDER
