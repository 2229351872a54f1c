"""One layer, opened: where its pixels are, and how a fetched piece becomes pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from s5engine.source.decode import Pixels, Scratch, damaged, decode_segment
from s5engine.source.grid import Codec, SegmentGrid
from s5engine.source.read_plan import Piece, Span, plan_spans
from s5engine.source.retry import CancelToken
from s5engine.source.transport import RangeFile


class RowSpool(Protocol):
    """Decoded rows of a layer in a temporary file, for what cannot be read piece by piece.

    ``exclusive``: whether only one layer at a time is decoded this way.
    """

    exclusive: bool

    def ensure(self, y0: int, y1: int, cancel_token: CancelToken) -> None:
        """Have rows ``y0``…``y1`` decoded."""

    def read(self, y0: int, y1: int, x0: int, x1: int, out: Pixels) -> None:
        """Copy decoded rows into ``out``."""

    def bytes_for(self, y0: int, y1: int) -> int:
        """Return the bytes of the file that these rows need."""

    @property
    def overhead(self) -> int:
        """Upper bound of the memory used while decoding, bytes."""

    def close(self) -> None:
        """Remove the temporary file."""


@dataclass
class Layer:
    """An opened layer.

    Attributes
    ----------
    number : int
        The layer number.
    file : RangeFile
        Its bytes.
    dtype : dtype
        Of the pixels, native byte order.
    grid, codec
        Where and how they are stored.
    spool : RowSpool or None
        If not None the rows are read from there.
    directory_bytes : int
        Bytes fetched to know all this.
    sample : str or None
        A digest of pieces of the file, where nothing else surely tells its version.
    """

    number: int
    file: RangeFile
    dtype: np.dtype[Any]
    grid: SegmentGrid
    codec: Codec
    spool: RowSpool | None = None
    directory_bytes: int = 0
    sample: str | None = None

    @property
    def name(self) -> str:
        """Its address as it may be printed."""
        return self.file.name

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, px."""
        return self.grid.height, self.grid.width

    @property
    def compressed(self) -> bool:
        """Whether segments must be decoded as a whole."""
        return self.codec.compression != "none"

    @property
    def row_step(self) -> int:
        """Bands of a multiple of this many rows touch no segment twice."""
        return self.grid.seg_height if self.compressed and self.spool is None else 1

    @property
    def largest_segment(self) -> int:
        """Bytes of the largest strip or tile in the file."""
        return int(self.grid.sizes.max())

    def pieces_in(self, rows: int, columns: int) -> int:
        """Return about how many pieces a band has."""
        grid = self.grid
        return (rows // grid.seg_height + 2) * (columns // grid.seg_width + 2)

    def spans(
        self, band: tuple[int, int], columns: tuple[int, int], first_row: int = 0
    ) -> list[Span]:
        """Return the requests for a band (none if it is spooled)."""
        if self.spool is not None:
            return []
        itemsize = self.dtype.itemsize
        return plan_spans(self.grid, self.compressed, itemsize, band, columns, first_row)

    def bytes_for(self, band: tuple[int, int], columns: tuple[int, int]) -> int:
        """Return the bytes of the strips or tiles (if uncompressed: the rows) that are touched."""
        if self.spool is not None:
            return self.spool.bytes_for(*band)
        return sum(p.size for span in self.spans(band, columns) for p in span.pieces)

    def columns(self, piece: Piece, x0: int, x1: int) -> tuple[int, int]:
        """Return the wanted image columns that a piece yields, of ``x0``…``x1``."""
        left = piece.segment % self.grid.columns * self.grid.seg_width
        return max(x0, left), min(x1, left + self.grid.seg_width)

    def decode(
        self, piece: Piece, data: memoryview, y0: int, x0: int, out: Pixels, scratch: Scratch
    ) -> None:
        """Decode the wanted part of a piece.

        Parameters
        ----------
        piece : Piece
            The piece.
        data : memoryview
            Its bytes.
        y0, x0 : int
            First wanted row and column of the image; both inside the piece.
        out : ndarray
            Where they go; its shape says how many are wanted.
        scratch : Scratch
            Memory to work in.

        Raises
        ------
        SourceError
            If the data are damaged.
        """
        grid = self.grid
        row, column = divmod(piece.segment, grid.columns)
        c0 = x0 - column * grid.seg_width
        if not self.compressed:
            dtype = self.dtype.newbyteorder(self.codec.order)
            pitch = grid.seg_width * dtype.itemsize
            skipped = (y0 - piece.y0) * pitch
            out[...] = np.ndarray(out.shape, dtype, data, skipped, (pitch, dtype.itemsize))
            return
        r0 = y0 - row * grid.seg_height
        wanted = (r0, r0 + out.shape[0], c0, c0 + out.shape[1])
        size = grid.seg_height, grid.seg_width  # some writers fill up the last strip
        try:
            decode_segment(data, self.codec, size, wanted, out, scratch)
        except ValueError as error:
            raise damaged(self.name, grid.name(piece.segment), error) from error

    def close(self) -> None:
        """Release files."""
        if self.spool is not None:
            self.spool.close()
        self.file.close()
