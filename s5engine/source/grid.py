"""How the pixels of one layer lie in its file: strips or tiles, and how each is encoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Compression = Literal["none", "lzw", "packbits", "deflate", "zstd"]
Order = Literal["<", ">"]

#: A compressed strip that decodes to more than this is decoded as a stream, onto disk (bytes).
BIG_SEGMENT = 32 * 2**20


@dataclass(frozen=True)
class Codec:
    """How a strip or tile is encoded.

    Parameters
    ----------
    compression : {"none", "lzw", "packbits", "deflate", "zstd"}
        The code.
    differences : bool
        Whether each row holds differences to its left neighbour (TIFF predictor 2).
    order : {"<", ">"}
        Byte order of the samples.
    """

    compression: Compression = "none"
    differences: bool = False
    order: Order = "<"


@dataclass(frozen=True)
class SegmentGrid:
    """Where the strips or tiles of one layer are; a strip is a tile as wide as the image.

    Parameters
    ----------
    height, width : int
        The image, px.
    seg_height, seg_width : int
        One strip or tile, px.
    offsets, sizes : ndarray of int64, shape (rows * columns,)
        First byte and number of bytes of each, row by row.
    tiled : bool
        Tiles are stored whole at the borders, the last strip only as far as the image.
    """

    height: int
    width: int
    seg_height: int
    seg_width: int
    offsets: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    tiled: bool

    @property
    def rows(self) -> int:
        """Rows of segments."""
        return -(-self.height // self.seg_height)

    @property
    def columns(self) -> int:
        """Segments side by side."""
        return -(-self.width // self.seg_width)

    @property
    def sparse(self) -> bool:
        """Whether segments were left out because they are empty."""
        return bool((self.sizes == 0).any())

    def stored_rows(self, index: int) -> int:
        """Image rows that segment ``index`` holds."""
        if self.tiled:
            return self.seg_height
        return min(self.seg_height, self.height - index * self.seg_height)

    def name(self, index: int) -> str:
        """Return "strip 7 (rows 7–7)" or the like, for messages."""
        y0 = index // self.columns * self.seg_height
        kind = "tile" if self.tiled else "strip"
        return f"{kind} {index} (rows {y0}–{min(y0 + self.seg_height, self.height) - 1})"

    def touched(
        self, y0: int, y1: int, x0: int, x1: int, first_row: int = 0
    ) -> npt.NDArray[np.int64]:
        """Return the indices of the segments in a box, none above segment row ``first_row``."""
        rows = np.arange(max(y0 // self.seg_height, first_row), (y1 - 1) // self.seg_height + 1)
        columns = np.arange(x0 // self.seg_width, (x1 - 1) // self.seg_width + 1)
        indices: npt.NDArray[np.int64] = (rows[:, None] * self.columns + columns).ravel()
        return indices.astype(np.int64)
