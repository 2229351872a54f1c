"""Finding the layers of a segment: index pages over HTTP, local folders, any fsspec folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
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
from s5engine.console import as_html, say
from s5engine.errors import SourceNotFoundError
from s5engine.source.deadline import ask_filesystem
from s5engine.source.http import HttpClient
from s5engine.source.index_page import folder_names
from s5engine.source.layer_names import holds_layers, is_numbered, pick_layers, some
from s5engine.source.retry import CancelToken, RetryPolicy

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
    layers: Iterable[int] | None = None,
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
        Files whose name is not a number are left out. Where no name is one, names that end in
        one are layers (``layer_000.tif``, ``surface_00.tif``).
    layers : iterable of int, optional
        Only these layers have to be there; by default all from the first to the last.
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
    files = pick_layers(names, shown(base), None if layers is None else {*map(int, layers)})
    found = {n: LayerFile(n, child(base, name), name) for n, name in files.items()}
    return LayerIndex(found, base, segment=_segment(base), storage_options=storage_options)


def _enter(base: str, names_of: Any) -> tuple[str, list[str]]:
    """List ``base``, or ``layers/`` in it if there are layers in that."""
    names: list[str]
    base, names = names_of(base)
    if f"{_FOLDER}/" not in names:
        return base, names
    inside, names_inside = names_of(child(base, _FOLDER))
    if not holds_layers(names_inside):
        return base, names
    if beside := [name for name in names if is_numbered(name)]:
        say(f"{shown(base)}: the layers are those in {_FOLDER}/, not {some(beside)} beside it")
    return inside, names_inside


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
        lambda: filesystem.ls(path, detail=True), shown(folder), retry, CancelToken()
    )
    ends = ("/" if entry["type"] == "directory" else "" for entry in found)
    return folder, [
        str(entry["name"]).rstrip("/").rpartition("/")[2] + end
        for entry, end in zip(found, ends, strict=True)
    ]


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
