"""Writes the TIFF around encoded strips or tiles, with the directory where one wants it.

TIFF 6.0 (Adobe, 1992) and the BigTIFF extension; the structure alone: pixels are encoded in
`layouts`. Ordinary writers do not let one choose the place of the directory, the byte order and
the kind of header, which is what a reader has to be tested with.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from s5engine.errors import InvalidArgumentError
from s5engine.phantom.virtual import VirtualFile

ByteOrder = Literal["<", ">"]
Place = Literal["start", "end"]

_SHORT, _LONG, _LONG8 = 3, 4, 16
_DTYPES = {_SHORT: "u2", _LONG: "u4", _LONG8: "u8"}


@dataclass(frozen=True)
class Frame:
    """What the directory says about the image, besides where its segments are.

    Parameters
    ----------
    height, width : int
        Pixels.
    bits : int
        8 or 16, unsigned.
    compression, predictor : int
        As in the tags of these names.
    rows : int
        Rows per strip; 0 for tiles.
    tile : (int, int)
        Height and width of a tile, px; (0, 0) for strips.
    byteorder : {"<", ">"}
        Little or big endian.
    bigtiff : bool, optional
        None: only if the file does not fit in 4 GiB.
    ifd : {"start", "end"}
        Whether the directory precedes the segments or follows them.
    """

    height: int
    width: int
    bits: int
    compression: int
    predictor: int
    rows: int
    tile: tuple[int, int]
    byteorder: ByteOrder
    bigtiff: bool | None
    ifd: Place


def tiff_file(
    frame: Frame,
    library: Sequence[bytes],
    order: npt.NDArray[np.integer],
    *,
    per_segment: int = 1,
) -> VirtualFile:
    """Return the TIFF whose segments are pieces of ``library``.

    Parameters
    ----------
    frame : Frame
        The image.
    library : sequence of bytes
        Encoded pieces. An empty piece is a segment that is not stored (a sparse file).
    order : (n,) array of int
        Which piece comes first, second, … in the file.
    per_segment : int
        How many pieces make one strip or tile (the last one may have fewer).

    Raises
    ------
    InvalidArgumentError
        If the file does not fit in a classic TIFF that was asked for.
    """
    lengths = np.array([len(piece) for piece in library], dtype=np.int64)[order]
    counts = np.add.reduceat(lengths, np.arange(0, len(order), per_segment))
    data_size = int(counts.sum())
    # The directory takes at most 16 bytes for each segment and a little more.
    fits = data_size + 16 * len(counts) + 1024 < 2**32
    big = not fits if frame.bigtiff is None else frame.bigtiff
    if not big and not fits:
        raise InvalidArgumentError(
            f"{data_size:,} bytes of pixels do not fit in a classic TIFF, whose limit is 4 GiB.",
            "Use bigtiff=True or None.",
        )
    header_size = 16 if big else 8
    pad = b"\0" * (-data_size % 16)
    if frame.ifd == "start":
        ifd_at = header_size
        size = len(_directory(frame, big, ifd_at, counts, counts))
        data_at = ifd_at + size
    else:
        data_at = header_size
        ifd_at = data_at + data_size + len(pad)
    starts = data_at + np.concatenate(([0], np.cumsum(counts)[:-1]))
    starts[counts == 0] = 0
    directory = _directory(frame, big, ifd_at, starts, counts)
    header = _header(frame.byteorder, big, ifd_at)
    # Header and directory join the library as its last pieces.
    n = len(library)
    before = [n, n + 1] if frame.ifd == "start" else [n]
    after = [] if frame.ifd == "start" else [n + 2, n + 1]
    return VirtualFile([*library, header, directory, pad], np.concatenate((before, order, after)))


def _header(byteorder: ByteOrder, big: bool, ifd_at: int) -> bytes:
    mark = b"II" if byteorder == "<" else b"MM"
    if big:
        return mark + struct.pack(byteorder + "HHHQ", 43, 8, 0, ifd_at)
    return mark + struct.pack(byteorder + "HI", 42, ifd_at)


def _directory(
    frame: Frame,
    big: bool,
    ifd_at: int,
    starts: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64],
) -> bytes:
    """Return the directory and the arrays behind it, to be written at ``ifd_at``."""
    order = frame.byteorder
    tags = _tags(frame, big, starts, counts)
    room = 8 if big else 4
    entry = order + ("HHQ" if big else "HHI")
    head_size = (8 + 20 * len(tags) + 8) if big else (2 + 12 * len(tags) + 4)
    head = [struct.pack(order + ("Q" if big else "H"), len(tags))]
    tail = b""
    for number in sorted(tags):
        kind, values = tags[number]
        data = np.atleast_1d(values).astype(order + _DTYPES[kind]).tobytes()
        head.append(struct.pack(entry, number, kind, np.size(values)))
        if len(data) > room:
            where = ifd_at + head_size + len(tail)
            tail += data + b"\0" * (-len(data) % 8)
            data = struct.pack(order + ("Q" if big else "I"), where)
        head.append(data.ljust(room, b"\0"))
    head.append(bytes(room))  # no further directory
    return b"".join(head) + tail


def _tags(
    frame: Frame, big: bool, starts: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]
) -> dict[int, tuple[int, npt.ArrayLike]]:
    """Return every tag's type and values, by its number."""
    tiled = frame.tile[0] > 0
    tags: dict[int, tuple[int, npt.ArrayLike]] = {
        256: (_LONG, frame.width),
        257: (_LONG, frame.height),
        258: (_SHORT, frame.bits),
        259: (_SHORT, frame.compression),
        262: (_SHORT, 1),  # 0 is black
        277: (_SHORT, 1),  # samples per pixel
        284: (_SHORT, 1),  # planar configuration
        339: (_SHORT, 1),  # unsigned integers
    }
    if frame.predictor != 1:
        tags[317] = (_SHORT, frame.predictor)
    # Like libtiff, which stores byte counts as SHORT where they all fit.
    longest = int(counts.max(initial=0))
    count_kind = _SHORT if longest < 2**16 else _LONG if longest < 2**32 else _LONG8
    tags[325 if tiled else 279] = (count_kind, counts)
    tags[324 if tiled else 273] = (_LONG8 if big else _LONG, starts)
    if tiled:
        tags[322], tags[323] = (_LONG, frame.tile[1]), (_LONG, frame.tile[0])
    else:
        tags[278] = (_LONG, frame.rows)
    return tags
