"""Boxes, parts, layer windows and the tile grid: pure arithmetic, no I/O.

All lengths are pixels. Boxes are half-open.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from s5engine.errors import InvalidArgumentError, WayOut

Edge = Literal["cover", "drop"]

#: Width of a part, px (the 2025 system's cut).
PART_WIDTH = 10_000
#: Number of consecutive layers that the network reads.
WINDOW_LAYERS = 16


class Box(NamedTuple):
    """A half-open rectangle ``(y0, y1, x0, x1)`` in segment pixels."""

    y0: int
    y1: int
    x0: int
    x1: int

    @property
    def height(self) -> int:
        """Rows in the box."""
        return self.y1 - self.y0

    @property
    def width(self) -> int:
        """Columns in the box."""
        return self.x1 - self.x0

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.height, self.width

    def within(self, height: int, width: int, what: str = "segment") -> Box:
        """Return this box if it is non-empty and inside ``height`` × ``width``.

        Raises
        ------
        InvalidArgumentError
            If the box is empty or reaches outside.
        """
        inside = 0 <= self.y0 < self.y1 <= height and 0 <= self.x0 < self.x1 <= width
        if not inside:
            raise InvalidArgumentError(
                f"The crop y {self.y0}:{self.y1}, x {self.x0}:{self.x1} is empty or not inside "
                f"the {what}, which has y 0:{height}, x 0:{width}.",
                "Give a box (y0, y1, x0, x1), half-open, inside it.",
            )
        return self


def as_box(value: Sequence[int] | None, height: int, width: int) -> Box:
    """Return ``value`` as a checked `Box`; ``None`` means everything.

    Raises
    ------
    InvalidArgumentError
        If ``value`` is not four integers or lies outside.
    """
    if value is None:
        return Box(0, height, 0, width)
    try:
        y0, y1, x0, x1 = (int(v) for v in value)
    except (TypeError, ValueError):
        raise InvalidArgumentError(
            f"A box is four whole numbers (y0, y1, x0, x1), not {value!r}."
        ) from None
    return Box(y0, y1, x0, x1).within(height, width)


def part_columns(
    width: int, part_width: int = PART_WIDTH, first_offset: int = 0
) -> dict[int, tuple[int, int]]:
    """Return the column range ``(x0, x1)`` of every part, numbered from 1.

    The first part is ``part_width - first_offset`` wide, the last one is what remains.

    Raises
    ------
    InvalidArgumentError
        If ``part_width`` is not positive or ``first_offset`` is not in ``[0, part_width)``.
    """
    whole = isinstance(part_width, int) and isinstance(first_offset, int)
    if not whole or part_width < 1 or not 0 <= first_offset < part_width:
        raise InvalidArgumentError(
            f"Parts {part_width} px wide with a first offset of {first_offset} px cannot be cut.",
            "Both are whole numbers: the width positive, the offset in 0 ≤ offset < width.",
        )
    first = part_width - first_offset
    starts = [0, *range(first, width, part_width)]
    ends = [*starts[1:], width]
    return dict(enumerate(zip(starts, ends, strict=True), start=1))


def window_layers(first: int, count: int = WINDOW_LAYERS) -> range:
    """Return the layer numbers of the window named ``first``."""
    return range(first, first + count)


@dataclass(frozen=True)
class AxisBlocks:
    """How one axis is cut into blocks: pixels per block and tiles that each block owns."""

    pixels: tuple[int, ...]
    tiles: tuple[int, ...]


@dataclass(frozen=True)
class TileAxis:
    """Where tiles lie along one axis.

    Parameters
    ----------
    length : int
        Pixels along the axis.
    tile, stride : int
        Tile size and step, px; ``stride`` divides ``tile``.
    edge : {"cover", "drop"}
        ``"drop"`` keeps only the regular grid ``range(0, length - tile + 1, stride)``, as in 2025:
        what lies past the last full tile is never predicted. ``"cover"`` adds a last tile flush
        with the far border, so that every pixel is covered; an axis shorter than a tile has one
        tile that reaches beyond it, over zeros.
    """

    length: int
    tile: int
    stride: int
    edge: Edge = "cover"

    def __post_init__(self) -> None:
        if self.edge not in ("cover", "drop"):
            raise InvalidArgumentError(f'edge is "cover" or "drop", not {self.edge!r}.')
        if not isinstance(self.stride, int | np.integer):
            raise InvalidArgumentError(f"stride is a whole number of px, not {self.stride!r}.")
        if self.stride < 1 or self.tile % self.stride:
            choices = [s for s in range(8, self.tile + 1) if self.tile % s == 0]
            raise InvalidArgumentError(
                f"The stride {self.stride} px does not divide the tile size {self.tile} px.",
                f"Choose one of {choices}.",
            )
        if self.length < 1 or (self.length < self.tile and self.edge == "drop"):
            raise InvalidArgumentError(
                f"The volume is {self.length} px along one side, smaller than one tile of "
                f"{self.tile} px, and the edge {self.edge!r} keeps whole tiles only.",
                WayOut(
                    'Choose a larger crop, or edge="cover".',
                    "Choose a larger crop, or --edge cover.",
                ),
            )

    @property
    def regular(self) -> int:
        """Tiles on the regular grid."""
        return max(self.length - self.tile, 0) // self.stride + 1

    @property
    def has_flush(self) -> bool:
        """Whether a last tile, off the regular grid, is flush with the far border."""
        beyond = self.length - self.tile
        return self.edge == "cover" and beyond > 0 and beyond % self.stride != 0

    @cached_property
    def origins(self) -> npt.NDArray[np.int64]:
        """First pixel of each tile, ascending, relative to the start of the axis."""
        grid = np.arange(self.regular, dtype=np.int64) * self.stride
        return np.append(grid, self.length - self.tile) if self.has_flush else grid

    @property
    def count(self) -> int:
        """Number of tiles."""
        return self.regular + self.has_flush

    def blocks(self, size: int) -> AxisBlocks:
        """Cut the axis into blocks of about ``size`` px on the tile grid.

        Block starts are multiples of a block size that is a multiple of ``stride`` and at least
        ``tile``; what would be a last block of fewer than two tiles joins the one before, so that
        every block owns at least ``tile / stride`` tiles and overlaps only its direct neighbours.
        The flush tile belongs to the last block.
        """
        step = self.block_step(size)
        count = max(1, (self.length - 2 * self.tile) // step + 1)
        starts = [i * step for i in range(count)]
        ends = [*starts[1:], self.length]
        per_block = step // self.stride
        tiles = [per_block] * (count - 1)
        tiles.append(self.count - per_block * (count - 1))
        return AxisBlocks(tuple(e - s for s, e in zip(starts, ends, strict=True)), tuple(tiles))

    def block_step(self, size: int) -> int:
        """Return the distance between block starts: ``size`` rounded down to the tile grid."""
        return max(self.tile, size // self.stride * self.stride)


Index = slice | npt.ArrayLike


def take(
    read: Callable[[tuple[slice, ...]], np.ndarray],
    shape: Sequence[int],
    index: Sequence[Index],
    dtype: npt.DTypeLike,
) -> np.ndarray:
    """Return what an array's own indexing would, of pixels that are read in plain boxes.

    dask hands on slices with steps, whole numbers and lists; files are read in boxes.

    Parameters
    ----------
    read : callable
        Returns a box of pixels, given a slice with both ends and step 1 for each axis; it is not
        asked for empty boxes.
    shape : sequence of int
        Of the whole array.
    index : sequence of slice, int or (n,) array
        One for each axis; each is applied to its own axis alone.
    dtype : dtype
        Of the pixels.

    Returns
    -------
    ndarray
        C-contiguous; a whole number drops its axis.
    """
    hulls = [_hull(part, length) for part, length in zip(index, shape, strict=True)]
    boxes = tuple(box for box, _ in hulls)
    if all(box.stop > box.start for box in boxes):
        pixels = read(boxes)
    else:
        pixels = np.empty([box.stop - box.start for box in boxes], dtype)
    # From the last axis to the first: an axis that is dropped moves none that is still to come.
    for axis in reversed(range(len(hulls))):
        pixels = pixels[(*[slice(None)] * axis, hulls[axis][1])]
    return np.asarray(pixels, order="C")


def _hull(part: Any, length: int) -> tuple[slice, Any]:
    """Return the span that an index of one axis lies in, and the index within that span."""
    if isinstance(part, slice):
        wanted = range(*part.indices(length))
        if not wanted:
            return slice(0, 0), slice(None)
        low, high = sorted((wanted[0], wanted[-1]))
        return slice(low, high + 1), slice(None, None, wanted.step)
    places = np.asarray(part)
    places = np.flatnonzero(places) if places.dtype == bool else np.asarray(places, np.int64)
    if not places.size:
        return slice(0, 0), places
    if places.min() < -length or places.max() >= length:
        raise IndexError(f"index {places.max()} is out of bounds for an axis of {length}")
    places = np.where(places < 0, places + length, places)
    low = int(places.min())
    within = places - low
    return slice(low, int(places.max()) + 1), within if within.ndim else int(within)
