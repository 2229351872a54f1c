"""One layer of one part on disk: an uncompressed TIFF that grows band by band.

Its layout is fixed when it is made, so rows are written where they belong and an interrupted file
is gone on with. Until it is whole it has a temporary name.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from s5engine.atomic import sync_folder
from s5engine.errors import StoreError

#: Bytes of one strip, about.
STRIP_BYTES = 2**20
#: Above this size a file needs 64-bit offsets.
BIG_TIFF = 2**32 - 2**25


@dataclass
class PartFile:
    """A layer of a part that is being written.

    Attributes
    ----------
    path : Path
        Its name when it is whole.
    number, layer : int
        Which part and layer it is.
    columns : (int, int)
        ``(x0, x1)``, segment pixels.
    done : int
        Rows up to here are on disk, segment pixels.
    token : str
        Names the pass that the temporary file belongs to.
    offset : int
        Where the pixels begin in the file.
    """

    path: Path
    number: int
    layer: int
    columns: tuple[int, int]
    done: int = 0
    token: str = ""
    offset: int = 0

    @property
    def temporary(self) -> Path:
        """The name until it is whole."""
        return self.path.with_suffix(f".{self.token}.partial")

    def adopt(self, rows: tuple[int, int], dtype: np.dtype, finished: dict[str, int]) -> bool:
        """Go on with the file that an interrupted pass left, if there is one; clear others away.

        Parameters
        ----------
        rows : (int, int)
            The part's rows, segment pixels.
        dtype : dtype
            Type of the pixels.
        finished : dict
            Pass → row up to which the journal says that it has written.
        """
        shape = (rows[1] - rows[0], self.columns[1] - self.columns[0])
        for left in self.path.parent.glob(f"{self.path.stem}.*.partial"):
            token = left.name.split(".")[-2]
            offset = pixels_offset(left, shape, dtype)
            if not self.token and offset is not None and finished.get(token, rows[0]) > rows[0]:
                self.token, self.offset, self.done = token, offset, finished[token]
            else:
                left.unlink()
        return bool(self.token)

    def create(self, rows: tuple[int, int], dtype: np.dtype, token: str) -> None:
        """Make the temporary file, with its directory and room for the pixels."""
        import tifffile

        self.token, self.done = token, rows[0]
        shape = (rows[1] - rows[0], self.columns[1] - self.columns[0])
        row_bytes = shape[1] * dtype.itemsize
        self.path.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(
            self.temporary,
            shape=shape,
            dtype=dtype,
            photometric="minisblack",
            rowsperstrip=max(1, STRIP_BYTES // row_bytes),
            metadata=None,
            bigtiff=shape[0] * row_bytes > BIG_TIFF,
        )
        offset = pixels_offset(self.temporary, shape, dtype)
        if offset is None:
            raise StoreError(f"{self.temporary} cannot be read back after it was made.")
        self.offset = offset

    def rename(self, token: str) -> None:
        """Give the temporary file to another pass."""
        before = self.temporary
        self.token = token
        before.replace(self.temporary)

    def write(self, pixels: npt.NDArray[np.generic], row: int) -> None:
        """Write contiguous ``(rows, width)`` pixels from ``row`` of the part, counted from 0."""
        width = self.columns[1] - self.columns[0]
        data = pixels.data.cast("B")
        position = self.offset + row * width * pixels.itemsize
        with self.temporary.open("r+b", buffering=0) as file:
            while data:
                written = os.pwrite(file.fileno(), data, position)
                data, position = data[written:], position + written

    def end_of(self, rows: int, dtype: np.dtype) -> int:
        """Return the byte at which so many rows of the part end."""
        return self.offset + rows * (self.columns[1] - self.columns[0]) * dtype.itemsize

    def finish(self) -> None:
        """Give the whole file its name."""
        self.temporary.replace(self.path)
        sync_folder(self.path.parent)


def pixels_offset(path: Path, shape: tuple[int, int], dtype: np.dtype) -> int | None:
    """Return where the pixels of such an uncompressed TIFF begin; None if it is not one."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages.first
            fits = page.shape == shape and page.dtype == dtype and page.is_contiguous
            offset = int(page.dataoffsets[0]) if fits else None
    except (OSError, ValueError, IndexError, KeyError, struct.error, tifffile.TiffFileError):
        return None
    if offset is None:
        return None
    needed = offset + shape[0] * shape[1] * dtype.itemsize
    return offset if path.stat().st_size >= needed else None


def is_valid_layer(path: Path, shape: tuple[int, int], dtype: np.dtype) -> bool:
    """Return whether ``path`` is a readable TIFF of that shape and type, whatever its layout."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages.first
            ends = [o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=True)]
            return (
                page.shape == shape
                and page.dtype == dtype
                and bool(ends)
                and max(ends) <= path.stat().st_size
            )
    except (OSError, ValueError, IndexError, KeyError, struct.error, tifffile.TiffFileError):
        return False


def unit_of(token: str, row: int) -> str:
    """Return the journal's unit: the pass ``token`` has written all its files up to ``row``."""
    return f"{token} rows up to {row}"


def rows_by_token(units: Iterable[str]) -> dict[str, int]:
    """Return how far each pass has come, from the journal's units."""
    rows: dict[str, int] = {}
    for unit in units:
        match = re.fullmatch(r"(\w+) rows up to (\d+)", unit)
        if match:
            rows[match[1]] = max(int(match[2]), rows.get(match[1], 0))
    return rows
