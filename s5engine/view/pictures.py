"""What can be shown: ink, surface; each gives 8-bit tiles of its levels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from s5engine.errors import InvalidArgumentError
from s5engine.ops.contrast import DEFAULT_POINTS, apply_table, lookup_table
from s5engine.view.picture_levels import Level, Pixels, levels_of

if TYPE_CHECKING:
    import xarray as xr

Gray = npt.NDArray[np.uint8]
Tile = tuple[int, int]

#: Layers of a tile are kept together up to so many bytes.
TOGETHER = 16 * 2**20
#: How windows are combined, apart from single ones.
MEAN, MAX = "mean", "max"


class Picture(Protocol):
    """Something to show.

    Attributes
    ----------
    name : str
        What tells it from others in a cache.
    origin : (int, int)
        Segment pixel (y, x) where it begins.
    version : int
        Changes when what was read before may be out of date.
    """

    name: str
    origin: tuple[int, int]
    version: int

    @property
    def levels(self) -> Sequence[Level]:
        """Levels, finest first."""

    def choice_key(self, level: int, choice: str) -> str:
        """Return under which name a tile of this choice is kept."""

    def decoded(self, level: int, choice: str) -> int:
        """Return the bytes that are decoded for a pixel of what the level is stored as."""

    def read(self, level: int, tile: Tile, choice: str, count: int = 1) -> Pixels:
        """Read what is kept of a tile, and of some to its right, as one array."""

    def show(self, kept: Pixels, level: int, choice: str) -> Gray:
        """Return the (y, x) pixels of a tile that was kept."""


class InkPicture:
    """The ink of a run or store: the mean, the maximum or one of its windows.

    Parameters
    ----------
    name : str
    opener : callable
        Returns the levels (window, y, x), finest first; called again by `reopen`.
    """

    def __init__(self, name: str, opener: Callable[[], Sequence[xr.DataArray]]) -> None:
        self.name, self.version = name, 0
        self._opener = opener
        self._open()

    def _open(self) -> None:
        pyramid = self._opener()
        self.ink = pyramid[0]
        self.origin = int(self.ink.y[0]), int(self.ink.x[0])
        self.shape = self.ink.sizes["y"], self.ink.sizes["x"]
        self.windows = [int(window) for window in self.ink.window.values]
        self._levels = levels_of(pyramid)

    def reopen(self) -> None:
        """Look at the store again: what was read before is out of date."""
        self._open()
        self.version += 1

    @property
    def levels(self) -> Sequence[Level]:
        """Levels, finest first."""
        return self._levels

    @property
    def choices(self) -> list[str]:
        """What can be chosen: mean, maximum, each window's number."""
        return [MEAN, MAX, *map(str, self.windows)]

    def choice_key(self, level: int, choice: str) -> str:
        """Return the choice: what is kept is one plane, combined."""
        return choice

    def planes(self, choice: str) -> slice:
        """Return the planes that a choice needs.

        Raises
        ------
        InvalidArgumentError
            If there is no such window.
        """
        if choice in (MEAN, MAX):
            return slice(None)
        if choice not in self.choices:
            raise InvalidArgumentError(
                f"There is no window {choice!r} in {self.name}.", f"It has {self.windows}."
            )
        index = self.windows.index(int(choice))
        return slice(index, index + 1)

    def decoded(self, level: int, choice: str) -> int:
        """Return the bytes of a pixel in all windows of the choice."""
        found = self._levels[level]
        planes = len(range(*self.planes(choice).indices(found.data.shape[0])))
        return max(found.depth, planes) * int(found.data.dtype.itemsize)

    def read(self, level: int, tile: Tile, choice: str, count: int = 1) -> Gray:
        """Return tiles of ink · 255, truncated as in saved pictures."""
        block = self._levels[level].read(self.planes(choice), tile, count)
        ink = combine(block, choice)
        np.clip(ink, 0, 1, out=ink)
        ink *= np.float32(255)
        gray: Gray = ink.astype(np.uint8)
        return gray[None]

    def show(self, kept: Pixels, level: int, choice: str) -> Gray:
        """Return the one plane that is kept."""
        gray: Gray = kept[0]
        return gray


def combine(block: Pixels, choice: str) -> Pixels:
    """Return (window, y, x) ink as one (y, x) plane of float32, one plane in memory at a time."""
    plane: Pixels = block[0].astype(np.float32)
    for other in block[1:]:
        if choice == MAX:
            np.maximum(plane, other, out=plane)
        else:
            plane += other
    if choice == MEAN and len(block) > 1:
        plane /= np.float32(len(block))
    return plane


class SurfacePicture:
    """One layer of a surface volume, contrasted.

    The layers of a tile are decoded together where they lie in one chunk; they are then kept
    together, so that going through the stack reads nothing.

    Parameters
    ----------
    name : str
    pyramid : sequence of (layer, y, x) DataArray
        Levels, finest first.
    chunks : sequence of (layers, rows, columns)
        What is decoded at once of each level.
    """

    def __init__(
        self,
        name: str,
        pyramid: Sequence[xr.DataArray],
        chunks: Sequence[tuple[int, int, int]] = (),
    ) -> None:
        self.name, self.version = name, 0
        self.volume = pyramid[0]
        self.origin = int(self.volume.y[0]), int(self.volume.x[0])
        self.shape = self.volume.sizes["y"], self.volume.sizes["x"]
        self.layers = [int(layer) for layer in self.volume.layer.values]
        self._levels = levels_of(pyramid, chunks)

    @property
    def levels(self) -> Sequence[Level]:
        """Levels, finest first."""
        return self._levels

    @cached_property
    def table(self) -> Any:
        """The contrast table, or None for layers that went through one already."""
        if self.volume.attrs.get("contrast"):
            return None
        return lookup_table(DEFAULT_POINTS, self.volume.dtype)

    def _group(self, level: int, choice: str) -> tuple[slice, int]:
        """Return the planes that are decoded with a layer, and its place among them."""
        if int(choice) not in self.layers:
            raise InvalidArgumentError(
                f"There is no layer {choice} in {self.name}.",
                f"It has {self.layers[0]}…{self.layers[-1]}.",
            )
        index, found = self.layers.index(int(choice)), self._levels[level]
        tile = math.prod(found.side) * self.volume.dtype.itemsize
        unit = found.depth if found.depth * tile <= TOGETHER else 1
        first = index // unit * unit
        return slice(first, first + unit), index - first

    def choice_key(self, level: int, choice: str) -> str:
        """Return the group of layers."""
        return str(self._group(level, choice)[0].start)

    def decoded(self, level: int, choice: str) -> int:
        """Return the bytes of a pixel in all layers of a chunk."""
        found = self._levels[level]
        return found.depth * int(found.data.dtype.itemsize)

    def read(self, level: int, tile: Tile, choice: str, count: int = 1) -> Pixels:
        """Return the layers of tiles that are decoded together, in the stored type."""
        block = self._levels[level].read(self._group(level, choice)[0], tile, count)
        kept: Pixels = block.astype(self.volume.dtype, copy=False)
        return kept

    def show(self, kept: Pixels, level: int, choice: str) -> Gray:
        """Return one layer, contrasted, in 8 bits."""
        plane = np.ascontiguousarray(kept[self._group(level, choice)[1]])
        if self.table is not None:
            plane = apply_table(plane, self.table)
        gray: Gray = (plane >> 8).astype(np.uint8) if plane.dtype == np.uint16 else plane
        return gray
