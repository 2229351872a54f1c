"""Very large compressed strips: decoded row after row onto disk, only as far as they are wanted."""

from __future__ import annotations

import mmap
import tempfile
import threading
import zlib
from typing import Any

import numpy as np

from s5engine.source.decode import Pixels, damaged, imagecodecs, undo_differences
from s5engine.source.disk import need_disk
from s5engine.source.grid import Codec, SegmentGrid
from s5engine.source.retry import CancelToken
from s5engine.source.spool import RUN, RowFile
from s5engine.source.stream import (
    CHUNK,
    LZW_PATIENCE,
    DeflateStream,
    LzwStream,
    PackBitsStream,
    StreamDecoder,
)
from s5engine.source.transport import RangeFile

#: Encoded bytes per request.
STEP = 4 * 2**20

_STREAMS: dict[str, type[StreamDecoder]] = {
    "lzw": LzwStream,
    "deflate": DeflateStream,
    "packbits": PackBitsStream,
}


class StripSpool:
    """The rows of a layer with very large compressed strips.

    Rows are kept on disk as they are stored in the file: byte order and predictor are undone when
    they are read, up to the last wanted column only.
    """

    exclusive = False

    def __init__(
        self, file: RangeFile, grid: SegmentGrid, codec: Codec, dtype: np.dtype[Any]
    ) -> None:
        self._file, self._grid, self._codec, self._dtype = file, grid, codec, dtype
        self._rows: RowFile | None = None
        self._strips: dict[int, _Strip] = {}
        self._lock = threading.Lock()

    @property
    def overhead(self) -> int:
        """Upper bound of the memory used while decoding, bytes."""
        expanded = 8 * 2**20  # the most that one LZW table's codes can stand for
        patience = LZW_PATIENCE if self._codec.compression == "lzw" else 0
        return 3 * STEP + 2 * patience + 4 * max(CHUNK, RUN) + 2 * expanded

    def bytes_for(self, y0: int, y1: int) -> int:
        """Return the bytes of the strips that these rows are in."""
        return int(self._grid.sizes[self._grid.touched(y0, y1, 0, 1)].sum())

    def ensure(self, y0: int, y1: int, cancel_token: CancelToken) -> None:
        """Decode on until rows ``y0``…``y1`` are on disk."""
        with self._lock:
            if self._rows is None:
                kept = self._dtype.newbyteorder(self._codec.order)
                self._rows = RowFile(self._grid.height, self._grid.width, kept, self._file.name)
            for index in self._grid.touched(y0, y1, 0, 1).tolist():
                if self._grid.sizes[index] == 0:
                    continue  # left out because it is empty: the file on disk reads as 0 there
                if index not in self._strips:
                    self._strips[index] = _Strip(self._file, self._grid, self._codec, index)
                self._strips[index].decode_to(y1, self._rows, cancel_token)

    def read(self, y0: int, y1: int, x0: int, x1: int, out: Pixels) -> None:
        """Copy rows into ``out``, with byte order and predictor undone."""
        if self._rows is None:
            raise RuntimeError("rows are read before they are decoded")
        differences = self._codec.differences
        first = 0 if differences else x0
        for a, b, stored in self._rows.runs(y0, y1, first, x1):
            target = out[a - y0 : b - y0]
            undo_differences(stored.astype(self._dtype), differences, x0 - first, target)

    def close(self) -> None:
        """Remove the rows from disk."""
        self._strips.clear()
        if self._rows is not None:
            self._rows.close()


class _Strip:
    """How far one strip was fetched and decoded."""

    def __init__(self, file: RangeFile, grid: SegmentGrid, codec: Codec, index: int) -> None:
        self._file, self._grid, self._codec, self._index = file, grid, codec, index
        self._position = int(grid.offsets[index])
        self._end = self._position + int(grid.sizes[index])
        self._top = index * grid.seg_height
        self._done = 0  # decoded bytes
        kind = _STREAMS.get(codec.compression)
        self._stream = kind() if kind is not None else None

    def decode_to(self, y1: int, rows: RowFile, cancel_token: CancelToken) -> None:
        """Decode until the strip's rows above ``y1`` are in ``rows``."""
        bottom = min(self._top + self._grid.stored_rows(self._index), y1)
        wanted = (bottom - self._top) * rows.row_bytes
        if self._done >= wanted:
            return
        try:
            if self._stream is None:
                self._decode_whole(rows, cancel_token)
            while self._stream is not None and self._done < wanted and self._position < self._end:
                self._decode_on(self._stream, rows, cancel_token)
            if self._done < wanted:
                raise ValueError("it ends too early")
        except (RuntimeError, ValueError, zlib.error) as error:  # imagecodecs' are RuntimeErrors
            row = self._top + self._done // rows.row_bytes
            where = f"{self._grid.name(self._index)}, at row {row},"
            raise damaged(self._file.name, where, error) from error

    def _decode_on(self, stream: StreamDecoder, rows: RowFile, cancel_token: CancelToken) -> None:
        """Fetch and decode the next bytes."""
        stop = min(self._position + STEP, self._end)
        data = self._file.read(self._position, stop, cancel_token)
        self._position = stop
        full = self._grid.stored_rows(self._index) * rows.row_bytes
        for decoded in stream.feed(data, last=stop == self._end):
            cancel_token.check()
            rows.write(self._top * rows.row_bytes + self._done, decoded[: full - self._done])
            self._done = min(full, self._done + len(decoded))

    def _decode_whole(self, rows: RowFile, cancel_token: CancelToken) -> None:
        """Decode the strip from one file on disk to another, both mapped: for Zstandard.

        The mapped pages are the system's to write back and drop.
        """
        size = self._end - self._position
        full = self._grid.stored_rows(self._index) * rows.row_bytes
        need_disk(size, f"{self._file.name}: fetching a strip to disk")
        with tempfile.TemporaryFile(prefix="s5-strip-") as copy:
            while self._position < self._end:
                stop = min(self._position + STEP, self._end)
                copy.write(self._file.read(self._position, stop, cancel_token))
                self._position = stop
            copy.flush()
            with (
                mmap.mmap(copy.fileno(), size, access=mmap.ACCESS_READ) as source,
                rows.mapped(self._top * rows.row_bytes, full) as target,
            ):
                self._done = len(imagecodecs().zstd_decode(source, out=target))
