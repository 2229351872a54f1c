"""The directory of a TIFF layer, read once, in a few small requests, wherever it is.

Only what layers of surface volumes are made of is accepted: one gray sample of 8 or 16 bits per
pixel. Everything else is refused with its reason. The layout follows TIFF 6.0 (Adobe, 1992) and
its 64-bit extension BigTIFF.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, replace
from typing import NoReturn

import numpy as np

from s5engine.errors import SourceError
from s5engine.source.grid import Order
from s5engine.source.retry import CancelToken
from s5engine.source.tiff_layout import (
    BITS,
    COMPRESSION,
    FILL_ORDER,
    HEIGHT,
    MOST_SEGMENTS,
    PHOTOMETRIC,
    PREDICTOR,
    SAMPLE_FORMAT,
    SAMPLES,
    STRIP_OFFSETS,
    STRIP_ROWS,
    STRIP_SIZES,
    TILE_HEIGHT,
    TILE_OFFSETS,
    TILE_SIZES,
    TILE_WIDTH,
    WIDTH,
    Tags,
    TiffDirectory,
    interpret,
)
from s5engine.source.transport import Buffer, RangeFile

_FORMATS = {1: "u1", 2: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}

NEW_SUBFILE, DESCRIPTION = 254, 270
_WANTED = {
    DESCRIPTION,
    WIDTH,
    HEIGHT,
    BITS,
    COMPRESSION,
    PHOTOMETRIC,
    FILL_ORDER,
    STRIP_OFFSETS,
    SAMPLES,
    STRIP_ROWS,
    STRIP_SIZES,
    PREDICTOR,
    TILE_WIDTH,
    TILE_HEIGHT,
    TILE_OFFSETS,
    TILE_SIZES,
    SAMPLE_FORMAT,
}

#: Tags with a value for each strip or tile; of others a few values are read, of text its start.
_PLACES = {STRIP_OFFSETS, STRIP_SIZES, TILE_OFFSETS, TILE_SIZES}
_FEW, _DESCRIBED = 8, 256
#: Further directories that are looked at, and entries of one.
_MOST_PAGES, _MOST_ENTRIES = 32, 1000
#: Bytes asked for when only the start of a directory is known.
DIRECTORY_GUESS = 512
#: Values further apart than this are fetched by requests of their own, bytes.
DIRECTORY_GAP = 4096


class _Window:
    """The parts of a file that were fetched so far."""

    def __init__(self, file: RangeFile, head: Buffer, cancel_token: CancelToken) -> None:
        self._file, self._halt = file, cancel_token
        self._parts: list[tuple[int, Buffer]] = [(0, head)]
        self.size = file.size

    def get(self, start: int, size: int, ahead: int = 0) -> memoryview:
        """Return ``size`` bytes; if they must be fetched, up to ``ahead`` more come along."""
        for first, part in self._parts:
            if first <= start and start + size <= first + len(part):
                return memoryview(part)[start - first : start - first + size]
        part = self._file.read(start, start + size + ahead, self._halt)
        self._parts.append((start, part))
        return memoryview(part)[:size]


@dataclass(frozen=True)
class _Entry:
    """One line of the directory: its values are ``inline`` if they fit, else at ``offset``."""

    format: str
    count: int
    offset: int
    inline: bytes

    @property
    def nbytes(self) -> int:
        return self.count * int(self.format[1:])


def read_directory(
    file: RangeFile, head: Buffer, cancel_token: CancelToken | None = None
) -> TiffDirectory:
    """Return the first directory of the TIFF ``file``, of which ``head`` are the first bytes.

    Raises
    ------
    SourceError
        If it is no TIFF, is cut off, or holds something other than one gray layer.
    """
    window = _Window(file, head, CancelToken() if cancel_token is None else cancel_token)
    order, entries, following = _entries(window, file.name, head)
    tags = _values(window, entries, order, file.name)
    layout = interpret(tags, order, file.size)
    _check_pages(window, tags, following, order, file.name)
    return layout


def _entries(window: _Window, name: str, head: Buffer) -> tuple[Order, dict[int, _Entry], int]:
    """Find and cut up the directory: byte order, entry by tag, and where the next one is."""
    mark = bytes(head[:4])
    order: Order = "<" if mark[:2] == b"II" else ">"
    magic = {b"II*\0": 4, b"MM\0*": 4, b"II+\0": 8, b"MM\0+": 8}.get(mark)
    if magic is None or len(head) < 2 * magic:
        _refuse_head(name, head)
    big = magic == 8
    start = struct.unpack_from(order + ("Q" if big else "I"), head, 8 if big else 4)[0]
    head_size, step, count_code = (8, 20, "Q") if big else (2, 12, "H")
    if start < 8 or start + head_size > window.size:
        raise SourceError(
            f"{name} is cut off: its directory should be at byte {start}, it has {window.size}.",
            "Fetch the file again.",
        )
    ahead = min(DIRECTORY_GUESS, window.size - start - head_size)
    count = struct.unpack(order + count_code, window.get(start, head_size, ahead))[0]
    if count == 0 or start + head_size + count * step > window.size:
        raise SourceError(
            f"{name} is cut off or damaged: its directory at byte {start} has {count} entries.",
            "Fetch the file again.",
        )
    table = window.get(start + head_size, count * step)
    entries: dict[int, _Entry] = {}
    for i in range(count):
        tag, kind, number = struct.unpack_from(order + ("HHQ" if big else "HHI"), table, i * step)
        if tag not in _WANTED or kind not in _FORMATS:
            continue
        field = bytes(table[i * step + step - magic : (i + 1) * step])
        offset = struct.unpack(order + ("Q" if big else "I"), field)[0]
        entries[tag] = _Entry(_FORMATS[kind], number, offset, field)
    return order, entries, _next(window, start + head_size + count * step, order, big)


def _next(window: _Window, place: int, order: Order, big: bool) -> int:
    """Return where the next directory is; 0 if there is none."""
    size = 8 if big else 4
    if place + size > window.size:  # the file ends with its directory
        return 0
    return int(struct.unpack(order + ("Q" if big else "I"), window.get(place, size))[0])


def _check_pages(window: _Window, tags: Tags, following: int, order: Order, name: str) -> None:
    """Refuse a file that holds another picture than the first.

    Smaller copies of a picture, and masks, are no pictures of their own (NewSubfileType 1 and 4).
    """
    values = tags.all(DESCRIPTION)
    text = b"" if values is None else values.astype(np.uint8).tobytes()
    told = re.search(rb"^images=(\d{1,9})", text, re.MULTILINE)
    if text.startswith(b"ImageJ=") and told is not None and int(told[1]) > 1:
        raise _too_many(name, f"{int(told[1])} pictures in a row (ImageJ's way)")
    seen: set[int] = set()
    while following and following not in seen and len(seen) < _MOST_PAGES:
        seen.add(following)
        kind, following = _page(window, following, order, name)
        if not kind & 0b101:
            raise _too_many(name, "several pages")


def _too_many(name: str, what: str) -> SourceError:
    return SourceError(
        f"{name} holds {what}, and a layer is one picture.",
        "Write each page as a file of its own, named after its layer: 00.tif, 01.tif, …",
    )


def _page(window: _Window, start: int, order: Order, name: str) -> tuple[int, int]:
    """Return the NewSubfileType of a further directory, and where the next one is."""
    big = bytes(window.get(0, 4)) in (b"II+\0", b"MM\0+")
    head_size, step, code = (8, 20, "Q") if big else (2, 12, "H")
    if start + head_size > window.size:
        return 1, 0  # nothing is there
    ahead = min(DIRECTORY_GUESS, window.size - start - head_size)
    count = struct.unpack(order + code, window.get(start, head_size, ahead))[0]
    if count == 0 or count > _MOST_ENTRIES or start + head_size + count * step > window.size:
        return 1, 0
    table = window.get(start + head_size, count * step)
    kind = 0
    for i in range(count):
        tag, form = struct.unpack_from(order + "HH", table, i * step)
        if tag == NEW_SUBFILE and form in (3, 4):
            place = i * step + (12 if big else 8)
            kind = struct.unpack_from(order + ("H" if form == 3 else "I"), table, place)[0]
    return kind, _next(window, start + head_size + count * step, order, big)


def _refuse_head(name: str, head: Buffer) -> NoReturn:
    text = bytes(head[:256]).lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        raise SourceError(
            f"{name} is an HTML or XML page, not a TIFF file: the server has probably sent an "
            "error page.",
            "Open the address in a browser to see it.",
        )
    raise SourceError(f"{name} is not a TIFF file: it begins with {bytes(head[:8])!r}.")


def _values(window: _Window, entries: dict[int, _Entry], order: Order, name: str) -> Tags:
    """Fetch what the entries point to, neighbours together; of long claims only what can be."""
    for tag, entry in entries.items():
        most = MOST_SEGMENTS if tag in _PLACES else _DESCRIBED if tag == DESCRIPTION else _FEW
        if entry.count > most and tag in _PLACES:
            raise SourceError(
                f"{name} has {entry.count:,} strips or tiles; at most {most:,} are read.",
                "Write it again with larger ones.",
            )
        entries[tag] = replace(entry, count=min(entry.count, most))
    far = sorted(
        (e.offset, e.offset + e.nbytes) for e in entries.values() if e.nbytes > len(e.inline)
    )
    spans: list[list[int]] = []
    for start, stop in far:
        if spans and start - spans[-1][1] <= DIRECTORY_GAP:
            spans[-1][1] = max(spans[-1][1], stop)
        else:
            spans.append([start, stop])
    for start, stop in spans:
        window.get(start, stop - start)
    values = {}
    for tag, entry in entries.items():
        inline = entry.nbytes <= len(entry.inline)
        raw = entry.inline if inline else window.get(entry.offset, entry.nbytes)
        values[tag] = np.frombuffer(raw, order + entry.format, entry.count).astype(np.int64)
    return Tags(values, name)
