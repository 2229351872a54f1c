"""Files that are there whole or not at all, whenever the process is killed or the power is cut."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

#: The ending of a file until it is whole.
PARTIAL = ".partial"


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a path beside ``path``; what is written there takes its place when all is on the disk.

    The data first, then the name: a power cut between the two leaves the former file. If writing
    fails, nothing is left behind.

    Parameters
    ----------
    path : Path
        The file to write; its folder must exist.

    Raises
    ------
    OSError
        If it cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_write(Path(folder) / "a.txt") as partial:
    ...         _ = partial.write_text("all of it")
    ...     (Path(folder) / "a.txt").read_text()
    'all of it'
    """
    partial = path.with_name(f"{path.name}{PARTIAL}")
    try:
        yield partial
        _sync(partial)
        partial.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file, as `atomic_write`."""
    with atomic_write(path) as partial:
        partial.write_bytes(text.encode())


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write a JSON file that people can read, as `atomic_write`."""
    write_text(path, json.dumps(record, indent=2, ensure_ascii=False) + "\n")


def sync_files(files: Iterable[Path], known: set[Path]) -> None:
    """Have files on the disk, then their names, and those of folders that lead to them.

    Parameters
    ----------
    files : iterable of Path
        Whole files.
    known : set of Path
        Folders whose own names are on the disk; those that are brought there are added.
    """
    folders: dict[Path, None] = {}
    for file in files:
        _sync(file)
        folder = file.parent
        folders[folder] = None
        while folder not in known:
            known.add(folder)
            folder = folder.parent
            folders[folder] = None
    for folder in folders:
        sync_folder(folder)


def sync_tree(folder: Path) -> None:
    """Have a folder on the disk with all that is in it, and its own name; for what is small."""
    found = [*folder.rglob("*")]
    for path in found:
        (sync_folder if path.is_dir() else _sync)(path)
    sync_folder(folder)
    sync_folder(folder.parent)


def sync_files_in(folder: Path) -> None:
    """Have the files right in a folder on the disk, such as the metadata of a store."""
    sync_files([path for path in folder.iterdir() if path.is_file()], {folder})


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk; systems that cannot do that for folders go without.

    Windows opens no folder, and some network file systems sync none.
    """
    with contextlib.suppress(OSError):
        _sync(folder)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
