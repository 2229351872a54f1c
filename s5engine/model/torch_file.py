"""The two layouts of PyTorch files, read without PyTorch: a zip archive, and what was before it.

Weights stay mapped from the file. Sizes that the file claims are held against its length first.
"""

from __future__ import annotations

import io
import mmap
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch

from s5engine.errors import CheckpointError
from s5engine.foreign import cause
from s5engine.model.plain_pickle import PlainUnpickler
from s5engine.model.plain_values import Storage, StorageKind

#: The longest pickle of a checkpoint that is read, bytes; the longest of 2025 has 0.6 MB.
LONGEST_PICKLE = 64 * 2**20
#: The first pickle of the layout before the zip archive.
_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_FIX_ZIP = (
    "Load it with torch.load and write it again with torch.save, or unpack it and pack it without "
    "compression: zip -0 -r NEW.ckpt FOLDER."
)


@dataclass(frozen=True)
class TorchFile:
    """What a PyTorch file holds.

    Attributes
    ----------
    contents : object
        Tensors are mapped from the file; what is neither a tensor nor a plain value is an `Opaque`.
    foreign : list of str
        The classes of those that only unpickling would make, which can run code.
    zipped : bool
        Whether it is a zip archive.
    """

    contents: Any
    foreign: list[str]
    zipped: bool


def read_torch_file(file: Path) -> TorchFile:
    """Read a PyTorch file without running anything that it says.

    Raises
    ------
    CheckpointError
        If it is none, or damaged, cut off, compressed, or for another kind of machine.
    ValueError, TypeError, LookupError, OSError
        If its pickle is damaged.
    """
    if not file.is_file():
        kind = "folder" if file.is_dir() else "device or a pipe"
        raise CheckpointError(f"{str(file)!r} is not a PyTorch checkpoint: it is a {kind}.")
    with file.open("rb") as stream:
        start = stream.read(64)
        if not start:
            raise CheckpointError(f"{str(file)!r} is not a PyTorch checkpoint: it is empty.")
        # Written to by nobody; torch wants memory that could be.
        memory = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)
    if start[:1] == b"\x80" and _MAGIC in start:
        return _read_old(file, memory)
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        raise CheckpointError(
            f"{str(file)!r} is not a PyTorch checkpoint, or is cut off: {_looks_like(start)} "
            f"({cause(error)}).",
            "Copy or download it again.",
        ) from error
    return _Archive(file, memory, members).read()


def _looks_like(start: bytes) -> str:
    """Return what a file that is no PyTorch file seems to be."""
    text = start.lstrip().lower()
    if start.startswith(b"PK"):
        return "it begins as one, and its end is missing"
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "it is a web page"
    if text.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS, not the file itself"
    if start.startswith(b"\x80"):
        return "it is a pickle of something else"
    return f"it begins with {start[:8]!r}"


class _Archive:
    """A zip archive whose members lie in it uncompressed, each at a place of its own."""

    def __init__(self, file: Path, memory: mmap.mmap, members: list[zipfile.ZipInfo]) -> None:
        self._file, self._memory = file, memory
        self._places = {member.filename: self._place(member) for member in members}
        if len(self._places) < len(members):
            raise CheckpointError(f"{str(file)!r} is damaged: it holds two members of one name.")
        roots = [n.removesuffix("data.pkl") for n in self._places if n.count("/") == 1
                 and n.endswith("/data.pkl")]  # fmt: skip
        if len(roots) != 1:
            raise CheckpointError(
                f"{str(file)!r} is not a PyTorch checkpoint: it is a zip archive with "
                f"{len(roots)} members data.pkl, not one."
            )
        self._root = roots[0]
        self._check_sums(members)

    def read(self) -> TorchFile:
        """Follow the pickle."""
        order = self._bytes("byteorder") if f"{self._root}byteorder" in self._places else b"little"
        if order != b"little":
            raise CheckpointError(
                f"{str(self._file)!r} was written in the byte order {order[:20]!r}, not b'little'.",
                "Load and save it with torch on the machine that it comes from.",
            )
        first, last = self._places[f"{self._root}data.pkl"]
        if last - first > LONGEST_PICKLE:
            raise CheckpointError(
                f"{str(self._file)!r} has a pickle of {last - first} bytes: a checkpoint's is "
                f"shorter than {LONGEST_PICKLE}."
            )
        unpickler = PlainUnpickler(self._storage)
        contents = unpickler.load(io.BytesIO(self._bytes("data.pkl")))
        return TorchFile(contents, sorted(unpickler.foreign), zipped=True)

    def _place(self, member: zipfile.ZipInfo) -> tuple[int, int]:
        """Return where a member's bytes begin and end in the file."""
        if member.compress_type != zipfile.ZIP_STORED:
            raise CheckpointError(
                f"{str(self._file)!r} was compressed by another program, and PyTorch keeps its "
                "files uncompressed.",
                _FIX_ZIP,
            )
        head = self._memory[member.header_offset : member.header_offset + 30]
        if head[:4] != b"PK\x03\x04" or member.flag_bits & 1:
            raise CheckpointError(
                f"{str(self._file)!r} is damaged: its member {member.filename[:80]!r} is not where "
                "the archive says."
            )
        first = member.header_offset + 30
        first += int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
        last = first + member.file_size
        if member.file_size != member.compress_size or last > len(self._memory):
            raise CheckpointError(
                f"{str(self._file)!r} is damaged: its member {member.filename[:80]!r} claims "
                f"{member.file_size} bytes, more than the file has."
            )
        return first, last

    def _check_sums(self, members: list[zipfile.ZipInfo]) -> None:
        """Check what the archive says of each member's bytes.

        torch can be told to write no sums (`torch.serialization.set_crc32_options`); then none of
        them fits.
        """
        view = memoryview(self._memory)
        total = sum(last - first for first, last in self._places.values())
        if total > len(view):
            raise CheckpointError(f"{str(self._file)!r} is damaged: its members overlap.")
        bad = [
            member.filename[:80]
            for member in members
            if zlib.crc32(view[slice(*self._places[member.filename])]) != member.CRC
        ]
        if bad and len(bad) < len(members):
            raise CheckpointError(
                f"{str(self._file)!r} is damaged: the checksum of {len(bad)} of its "
                f"{len(members)} members does not fit, the first is {bad[0]!r}.",
                "Copy or download it again.",
            )

    def _bytes(self, name: str) -> bytes:
        first, last = self._places[self._root + name]
        return self._memory[first:last]

    def _storage(self, name: Any) -> Storage:
        kind, key, count = _named(name)
        if f"{self._root}data/{key}" not in self._places:
            raise CheckpointError(
                f"{str(self._file)!r} is damaged: it lacks the member 'data/{str(key)[:60]}', a "
                "tensor's numbers."
            )
        first, last = self._places[f"{self._root}data/{key}"]
        if kind.dtype is not None and count * kind.dtype.itemsize != last - first:
            raise CheckpointError(
                f"{str(self._file)!r} is damaged: a tensor's storage claims {count} numbers of "
                f"{kind.dtype}, and its member has {last - first} bytes."
            )
        return _mapped(kind, count, self._memory, first)


def _named(name: Any) -> tuple[StorageKind, Any, int]:
    """Return kind, key and count of a storage from its persistent id."""
    if not isinstance(name, tuple) or len(name) < 5:
        raise ValueError("a tensor's storage is named in an unknown way")
    mark, kind, key, _, count, *rest = name
    if mark != "storage" or not isinstance(kind, StorageKind) or any(rest):
        raise ValueError("a tensor's storage is named in an unknown way")
    if not isinstance(key, str | int) or not isinstance(count, int) or not 0 <= count < 2**60:
        raise ValueError("a tensor's storage has a key or a size that is none")
    return kind, key, count


def _mapped(kind: StorageKind, count: int, memory: mmap.mmap, first: int) -> Storage:
    if kind.dtype is None or count == 0:
        return Storage(kind.dtype, count, None if count else torch.empty(0, dtype=kind.dtype))
    buffer: Any = memory
    if first % kind.dtype.itemsize:  # numbers that do not lie on their borders are copied
        buffer, first = bytearray(memory[first : first + count * kind.dtype.itemsize]), 0
    values = torch.frombuffer(buffer, dtype=kind.dtype, count=count, offset=first)
    return Storage(kind.dtype, count, values)


def _read_old(file: Path, memory: mmap.mmap) -> TorchFile:
    """Read the layout before the zip archive: pickles, then each storage's numbers in a row.

    The pickle is followed twice: first to learn how long each storage is, then with its numbers.
    """
    found: dict[Any, tuple[StorageKind, int]] = {}

    def noted(name: Any) -> Storage:
        kind, key, count = _named(name)
        if found.setdefault(key, (kind, count))[1] != count:
            raise ValueError("two tensors name one storage with two sizes")
        return Storage(kind.dtype, count, None)

    with file.open("rb") as stream:
        for _ in range(2):  # the magic number, the version
            _follow(stream, noted)
        system = _follow(stream, noted).contents
        if not isinstance(system, dict) or not system.get("little_endian", True):
            raise CheckpointError(f"{str(file)!r} was written on a machine of another byte order.")
        begin = stream.tell()
        _follow(stream, noted)
        keys = _follow(stream, noted).contents
        texts = isinstance(keys, list) and all(isinstance(key, str) for key in keys)
        if not texts or sorted(keys) != sorted(map(str, found)):
            raise ValueError("its list of storages is another than its tensors'")
        places, place = {}, stream.tell()
        for key in keys:
            kind, count = found[key]
            if kind.dtype is None:
                raise ValueError("it holds tensors of an unknown kind")
            claimed = int.from_bytes(memory[place : place + 8], "little")
            places[key], place = place + 8, place + 8 + count * kind.dtype.itemsize
            if claimed != count or place > len(memory):
                raise CheckpointError(
                    f"{str(file)!r} is cut off or damaged: a tensor's {count} numbers are not "
                    "where they should be."
                )
        stream.seek(begin)

        def mapped(name: Any) -> Storage:
            kind, key, count = _named(name)
            return _mapped(kind, count, memory, places[key])

        return _follow(stream, mapped)


def _follow(stream: BinaryIO, storage: Callable[[Any], Any]) -> TorchFile:
    unpickler = PlainUnpickler(storage)
    contents = unpickler.load(stream)
    return TorchFile(contents, sorted(unpickler.foreign), zipped=False)
