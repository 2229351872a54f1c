"""Masks of a segment's parts as one picture: PNG files, decoded when they are first seen.

A part's mask is 138 million pixels and PNG can only be decoded from the top: it is decoded once, a
band at a time, and kept as bits, with a smaller picture of it for views from further away.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from s5engine.geometry import Box
from s5engine.ops.reduce import block_mean
from s5engine.source.mask_rows import mask_rows
from s5engine.view.picture_levels import TILE, Level, Pixels, levels_of
from s5engine.view.pictures import Gray, Tile

#: Segment pixels along a pixel of the smaller picture.
COARSE = 8
#: Memory for masks at full size as bits, bytes: some 30 parts.
BITS_BYTES = 512 * 2**20
#: Rows that are decoded at a time.
_ROWS = 512


class PartMask:
    """One PNG file and where it lies.

    Parameters
    ----------
    file : Path
    box : Box
        Of the file's pixels, in the segment.
    """

    def __init__(self, file: Path, box: Box) -> None:
        self.file, self.box = file, box
        self._lock = threading.Lock()
        self._bits: Gray | None = None
        self._coarse: Gray | None = None

    def pixels(self, reduction: int) -> Gray:
        """Return the mask (y, x) as 0…255 at full size, or reduced by `COARSE`; decoded if need be.

        At full size it is packed: eight pixels a byte.
        """
        with self._lock:
            if self._coarse is None or (reduction == 1 and self._bits is None):
                self._decode()
            found = self._bits if reduction == 1 else self._coarse
            return np.empty((0, 0), np.uint8) if found is None else found

    def _decode(self) -> None:
        bits, coarse = [], []
        for _, band in mask_rows(self.file, _ROWS):
            bits.append(np.packbits(band, axis=1))
            share = block_mean(band.view(np.uint8)[None], COARSE)[0]
            coarse.append((share * 255).astype(np.uint8))
        self._bits, self._coarse = np.concatenate(bits), np.concatenate(coarse)

    def forget_bits(self) -> None:
        """Drop the mask at full size."""
        with self._lock:
            self._bits = None


class _MaskArray:
    """Masks side by side as one array (1, y, x) that reads what is sliced from it."""

    ndim, dtype = 3, np.dtype(np.uint8)

    def __init__(self, box: Box, parts: Sequence[PartMask], reduction: int) -> None:
        self._box, self._parts, self._reduction = box, parts, reduction
        self.shape = (1, -(-box.height // reduction), -(-box.width // reduction))
        self._used: OrderedDict[int, int] = OrderedDict()
        self._lock = threading.Lock()

    def __getitem__(self, index: tuple[slice, slice, slice]) -> Gray:
        spans = [
            part.indices(size)[:2] for part, size in zip(index[1:], self.shape[1:], strict=True)
        ]
        (y0, y1), (x0, x1) = spans
        block = np.zeros((y1 - y0, x1 - x0), np.uint8)
        for number, part in enumerate(self._parts):
            top = (part.box.y0 - self._box.y0) // self._reduction
            left = (part.box.x0 - self._box.x0) // self._reduction
            height, width = (-(-side // self._reduction) for side in part.box.shape)
            rows = slice(max(y0, top), min(y1, top + height))
            columns = slice(max(x0, left), min(x1, left + width))
            if rows.start < rows.stop and columns.start < columns.stop:
                piece = self._piece(number, _moved(rows, top), _moved(columns, left))
                block[_moved(rows, y0), _moved(columns, x0)] = piece
        return block[None]

    def _piece(self, number: int, rows: slice, columns: slice) -> Gray:
        part = self._parts[number]
        pixels = part.pixels(self._reduction)
        if self._reduction > 1:
            return pixels[rows, columns]
        self._touch(number, pixels.nbytes)
        first = columns.start // 8
        bits = np.unpackbits(pixels[rows, first : -(-columns.stop // 8)], axis=1)
        kept: Gray = bits[:, columns.start - 8 * first : columns.stop - 8 * first] * np.uint8(255)
        return kept

    def _touch(self, number: int, nbytes: int) -> None:
        """Note that a mask at full size was used; drop the ones used longest ago."""
        with self._lock:
            self._used.pop(number, None)
            self._used[number] = nbytes
            while sum(self._used.values()) > BITS_BYTES and len(self._used) > 1:
                gone, _ = self._used.popitem(last=False)
                self._parts[gone].forget_bits()


def _moved(span: slice, by: int) -> slice:
    return slice(span.start - by, span.stop - by)


class MaskPicture:
    """One kind of mask of all parts.

    Parameters
    ----------
    name : str
    box : Box
        Segment pixels that it covers.
    files : mapping of Path to Box
        PNG files and where they lie.
    """

    def __init__(self, name: str, box: Box, files: Mapping[Path, Box]) -> None:
        self.name, self.version = name, 0
        self._box = box
        self.origin = box.y0, box.x0
        self.replace(files)

    def replace(self, files: Mapping[Path, Box]) -> None:
        """Show other files, or the same ones as they are now."""
        self._parts = [PartMask(file, box) for file, box in files.items()]
        self.__dict__.pop("levels", None)
        self.version += 1

    @cached_property
    def levels(self) -> Sequence[Level]:
        """Levels, finest first."""
        import dask.array as da
        import xarray as xr

        arrays = []
        for reduction in (1, COARSE):
            source = _MaskArray(self._box, self._parts, reduction)
            lazy: Any = da.from_array(
                source,
                chunks=(1, 2 * TILE, 2 * TILE),
                inline_array=True,
                name=f"mask-{id(source)}",
                meta=np.empty((0, 0, 0), np.uint8),
            )
            dims = ("mask", "y", "x")
            arrays.append(xr.DataArray(lazy, dims=dims, attrs={"reduction": reduction}))
        return levels_of(arrays)

    def choice_key(self, level: int, choice: str) -> str:
        """Return "": there is one."""
        return ""

    def decoded(self, level: int, choice: str) -> int:
        """Return 1: bytes of a pixel, once its file is decoded."""
        return 1

    def read(self, level: int, tile: Tile, choice: str, count: int = 1) -> Pixels:
        """Return tiles, 0…255: how much of a pixel the mask covers."""
        block = self.levels[level].read(slice(None), tile, count)
        return block.astype(np.uint8, copy=False)

    def show(self, kept: npt.NDArray[Any], level: int, choice: str) -> Gray:
        """Return the tile."""
        gray: Gray = kept[0]
        return gray
