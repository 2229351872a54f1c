"""PyTorch files, read by PyTorch without running anything; what they claim is checked first."""

from __future__ import annotations

import pathlib
import pickle
import re
import zipfile
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from s5engine.errors import CheckpointError
from s5engine.foreign import brief, cause

#: The longest pickle of a checkpoint that is read, bytes; the longest of 2025 has 0.6 MB.
LONGEST_PICKLE = 64 * 2**20
#: The first pickle of the layout before the zip archive.
_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
#: Paths of the system that a file comes from, as such of any system.
_PATHS: dict[str, type[PurePath]] = {
    "WindowsPath": PureWindowsPath,
    "PureWindowsPath": PureWindowsPath,
    "PosixPath": PurePosixPath,
    "PurePosixPath": PurePosixPath,
}
_NUMBERS = "?bhilqBHILQefdFD"


def _harmless() -> list[Any]:
    """Return what may be made beside tensors: it holds numbers and texts, and runs nothing."""
    found: list[Any] = [frozenset, slice, complex, bytearray, set]
    for module in ("pathlib", "pathlib._local"):
        found += [(kind, f"{module}.{name}") for name, kind in _PATHS.items()]
    made, scalar = np.empty(1).__reduce__()[0], np.float64(1).__reduce__()[0]
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        found += [(made, f"{module}._reconstruct"), (scalar, f"{module}.scalar")]
    kinds = {type(np.dtype(code)) for code in _NUMBERS} | {type(np.dtype("U1"))}
    return [*found, np.ndarray, np.dtype, np.str_, *kinds]


def load_plain(file: Path) -> tuple[Any, list[str]]:
    """Return what a PyTorch file holds, or the classes in it that only trust would make.

    Tensors, numbers, texts, containers of them, numpy's numbers and arrays, and paths are read;
    tensors stay mapped from the file.

    Raises
    ------
    CheckpointError
        If it is no PyTorch file, or is cut off, compressed, or claims more than it holds.
    """
    zipped = _check_layout(file)
    with torch.serialization.safe_globals(_harmless()):
        if zipped and (foreign := torch.serialization.get_unsafe_globals_in_checkpoint(str(file))):
            return None, sorted(foreign)
        try:
            return torch.load(file, map_location="cpu", weights_only=True, mmap=zipped), []
        except pickle.UnpicklingError as error:
            # The older layout has no list of classes: the error names the first.
            if found := re.search(r"Unsupported global: GLOBAL (\S+)", str(error)):
                return None, [found[1]]
            raise


def load_trusted(file: Path) -> Any:
    """Return what a PyTorch file holds, objects of any class included: this can run its code.

    Raises
    ------
    CheckpointError
        If a class is not installed.
    """
    reader = SimpleNamespace(
        __name__="pickle", Unpickler=_AnySystem, load=lambda f, **how: _AnySystem(f, **how).load()
    )
    try:
        return torch.load(
            file,
            map_location="cpu",
            weights_only=False,
            mmap=zipfile.is_zipfile(file),
            pickle_module=reader,
        )
    except (ImportError, AttributeError) as error:
        raise CheckpointError(
            f"{str(file)!r} holds an object whose class is not installed here: {cause(error)}."
        ) from error


class _AnySystem(pickle.Unpickler):
    """Python's own, which also reads the paths of another system."""

    def find_class(self, module: str, name: str) -> Any:
        foreign = module.startswith("pathlib") and name in _PATHS
        if foreign and getattr(pathlib, name) is not type(Path()):
            return _PATHS[name]
        return super().find_class(module, name)


def _check_layout(file: Path) -> bool:
    """Return whether a file is a zip archive, not of the layout before; refuse all others."""
    if not file.is_file():
        kind = "folder" if file.is_dir() else "device or a pipe"
        raise CheckpointError(f"{str(file)!r} is not a PyTorch checkpoint: it is a {kind}.")
    with file.open("rb") as stream:
        start = stream.read(64)
    if start[:1] == b"\x80" and _MAGIC in start:
        return False
    try:
        with zipfile.ZipFile(file) as archive:
            _check_archive(file, archive)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(
            f"{str(file)!r} is not a PyTorch checkpoint, or is cut off: {_looks_like(start)} "
            f"({cause(error)}).",
            "Copy or download it again.",
        ) from error
    return True


def _check_archive(file: Path, archive: zipfile.ZipFile) -> None:
    """Hold what an archive claims against the length of its file, and its checksums."""
    members = archive.infolist()
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise CheckpointError(
            f"{str(file)!r} was compressed by another program, and PyTorch keeps its files "
            "uncompressed.",
            "Load it with torch.load and write it again with torch.save, or unpack it and pack it "
            "without compression: zip -0 -r NEW.ckpt FOLDER.",
        )
    pickles = [m for m in members if re.fullmatch(r"[^/]+/data\.pkl", m.filename)]
    if len(pickles) != 1 or pickles[0].file_size > LONGEST_PICKLE:
        raise CheckpointError(
            f"{str(file)!r} is not a PyTorch checkpoint: it is a zip archive with {len(pickles)} "
            f"members data.pkl, not one of at most {LONGEST_PICKLE} bytes."
        )
    if sum(member.file_size for member in members) > file.stat().st_size:
        raise CheckpointError(
            f"{str(file)!r} is damaged: its members claim more bytes than it has."
        )
    # torch can be told to write no sums; then the first is wrong, and so is that of its pickle.
    bad = archive.testzip()
    if bad is not None and not _has_no_sums(archive, members):
        raise CheckpointError(
            f"{str(file)!r} is damaged: the checksum of its member {brief(bad, 80)} is wrong.",
            "Copy or download it again.",
        )


def _has_no_sums(archive: zipfile.ZipFile, members: list[zipfile.ZipInfo]) -> bool:
    """Return whether no member's checksum is right, as where none was written."""
    for member in members:
        try:
            with archive.open(member) as stream:
                while stream.read(2**20):
                    pass
        except zipfile.BadZipFile:
            continue
        return False
    return True


def _looks_like(start: bytes) -> str:
    """Return what a file that is no PyTorch file seems to be."""
    text = start.lstrip().lower()
    if not start:
        return "it is empty"
    if start.startswith(b"PK"):
        return "it begins as one, and its end is missing"
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "it is a web page"
    if text.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS, not the file itself"
    if start.startswith(b"\x80"):
        return "it is a pickle of something else"
    return f"it begins with {start[:8]!r}"
