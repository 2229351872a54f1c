"""How layers are laid out in TIFF files in the wild, and the encoder for each.

Four layouts are known by name, see `LAYOUTS`; every knob can be turned for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, get_args

import numpy as np
import numpy.typing as npt

from s5engine.errors import InvalidArgumentError
from s5engine.phantom.tiff_writer import ByteOrder, Frame, Place, tiff_file

Compression = Literal["none", "lzw", "packbits", "deflate", "zstd"]
_CODES = {"none": 1, "lzw": 5, "packbits": 32773, "deflate": 8, "zstd": 50000}
#: Which codecs horizontal differencing goes with.
_DIFFERENCED = ("lzw", "deflate", "zstd")


@dataclass(frozen=True)
class Layout:
    """How one layer becomes a TIFF.

    Parameters
    ----------
    rows : int, optional
        Rows per strip; None for one strip. Without effect on tiles.
    tile : (int, int or None), optional
        Height and width of a tile, px; width None: as wide as the image, rounded up to 16.
        None for strips.
    compression : {"none", "lzw", "packbits", "deflate", "zstd"}
        The codec.
    predictor : {1, 2}, optional
        2 is horizontal differencing; None is 2 where the codec goes with it.
    byteorder : {"<", ">"}
        Little or big endian.
    bigtiff : bool, optional
        None: only where 4 GiB are not enough.
    ifd : {"start", "end"}
        Where the directory is.
    sparse : bool
        Strips or tiles that are 0 throughout are not stored: offset and byte count are 0.

    Raises
    ------
    InvalidArgumentError
        If the knobs do not go together.
    """

    rows: int | None = 1
    tile: tuple[int, int | None] | None = None
    compression: Compression = "lzw"
    predictor: Literal[1, 2] | None = None
    byteorder: ByteOrder = "<"
    bigtiff: bool | None = None
    ifd: Place = "end"
    sparse: bool = False

    def __post_init__(self) -> None:
        if self.compression not in _CODES:
            raise InvalidArgumentError(
                f"There is no compression {self.compression!r} here.",
                f"Choose one of {list(_CODES)}.",
            )
        if self.predictor == 2 and self.compression not in _DIFFERENCED:
            raise InvalidArgumentError(
                f"The predictor 2 does not go with compression {self.compression!r}.",
                f"Use it with one of {list(_DIFFERENCED)}.",
            )
        if self.predictor not in (None, 1, 2) or self.byteorder not in get_args(ByteOrder):
            raise InvalidArgumentError(
                f"The predictor must be 1, 2 or None (got {self.predictor!r}) and the byte order "
                f'"<" or ">" (got {self.byteorder!r}).'
            )
        if self.ifd not in get_args(Place):
            raise InvalidArgumentError(f'ifd is "start" or "end", not {self.ifd!r}.')
        sides = [side for side in self.tile or () if side is not None]
        if any(side < 16 or side % 16 for side in sides) or (
            self.rows is not None and self.rows < 1
        ):
            raise InvalidArgumentError(
                f"Tile sides are multiples of 16 (got {self.tile}), rows per strip at least 1 "
                f"(got {self.rows})."
            )

    def frame(self, height: int, width: int, dtype: npt.DTypeLike) -> Frame:
        """Return what the directory says for an image of this size."""
        predictor = self.predictor or (2 if self.compression in _DIFFERENCED else 1)
        tile_height, tile_width = self.tile or (0, 0)
        return Frame(
            height=height,
            width=width,
            bits=8 * np.dtype(dtype).itemsize,
            compression=_CODES[self.compression],
            predictor=predictor,
            rows=0 if self.tile else min(self.rows or height, height),
            tile=(tile_height, -(-width // 16) * 16 if tile_width is None else tile_width),
            byteorder=self.byteorder,
            bigtiff=self.bigtiff,
            ifd=self.ifd,
        )


#: The layouts in the wild. "rows-lzw": early 2025, OpenCV's writer. "tiles-128": autumn 2025.
#: "tiles-wide": 2026 (also with PackBits, and classic). "one-strip": official volumes.
LAYOUTS: dict[str, Layout] = {
    "rows-lzw": Layout(),
    "tiles-128": Layout(tile=(128, 128), bigtiff=True, ifd="end"),
    "tiles-wide": Layout(tile=(16, None), bigtiff=True, ifd="end"),
    "one-strip": Layout(rows=None, compression="none", ifd="start"),
}


def make_layout(layout: str | Layout, **knobs: Any) -> Layout:
    """Return a layout by its name, with some knobs turned.

    Raises
    ------
    InvalidArgumentError
        If the name or a knob is unknown, or the knobs do not go together.
    """
    if isinstance(layout, str) and layout not in LAYOUTS:
        raise InvalidArgumentError(
            f"There is no layout {layout!r}.", f"Choose one of {list(LAYOUTS)}."
        )
    found = LAYOUTS[layout] if isinstance(layout, str) else layout
    unknown = sorted(set(knobs) - set(Layout.__dataclass_fields__))
    if unknown:
        raise InvalidArgumentError(
            f"A layout has no {unknown}.", f"It has {list(Layout.__dataclass_fields__)}."
        )
    return replace(found, **knobs)


class Layers(Protocol):
    """Anything that gives layers by region, such as a `Phantom`."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Layers, height, width."""

    def read(
        self,
        box: tuple[int, int, int, int] | None = None,
        layers: Any = None,
    ) -> npt.NDArray[Any]:
        """Return ``(n, h, w)``."""


def encode_layer(image: npt.NDArray[Any], layout: str | Layout = "rows-lzw", **knobs: Any) -> bytes:
    """Return a whole layer as the bytes of a TIFF file.

    Parameters
    ----------
    image : (H, W) ndarray of uint8 or uint16
        The layer.
    layout : str or Layout
        A name in `LAYOUTS`, or a layout.
    **knobs
        Fields of `Layout` to change.

    Raises
    ------
    InvalidArgumentError
        If the image is not 2-D uint8 or uint16, or the layout is not possible.
    """
    if image.ndim != 2 or image.dtype not in (np.uint8, np.uint16) or not image.size:
        raise InvalidArgumentError(
            f"A layer is a non-empty uint8 or uint16 array (H, W), not {image.dtype} {image.shape}."
        )
    chosen = make_layout(layout, **knobs)
    frame = chosen.frame(image.shape[0], image.shape[1], image.dtype)
    encode = encoder(frame)
    library = [
        b"" if chosen.sparse and not segment.any() else encode(segment)
        for segment in _segments(image, frame)
    ]
    return tiff_file(frame, library, np.arange(len(library))).read()


def encode_layers(
    source: Layers | npt.NDArray[Any],
    layout: str | Layout = "rows-lzw",
    *,
    pad: int = 2,
    parts: int = 1,
    **knobs: Any,
) -> dict[str, bytes]:
    """Return every layer as a TIFF file, by its name: ``{"00.tif": …}``.

    Parameters
    ----------
    source : (n, H, W) ndarray, or anything with ``shape`` and ``read`` (a `Phantom`)
        The layers; one is held at a time.
    layout : str or Layout
        A name in `LAYOUTS`, or a layout.
    pad : int
        Digits in a name; 1 for ``5.tif``.
    parts : int
        Above 1, each layer comes as so many files ``NN.partK.tif``, as a render that is shared
        between machines leaves it: each of full size, with a share of the tile rows (strips)
        stored and the others missing.
    **knobs
        Fields of `Layout` to change.
    """
    chosen = make_layout(layout, **knobs)
    if parts > 1:
        chosen = replace(chosen, sparse=True)
    files = {}
    for number in range(source.shape[0]):
        image = source[number] if isinstance(source, np.ndarray) else source.read(None, [number])[0]
        name = f"{number:0{pad}d}"
        if parts == 1:
            files[f"{name}.tif"] = encode_layer(image, chosen)
            continue
        step = chosen.tile[0] if chosen.tile else chosen.rows or image.shape[0]
        owner = np.arange(image.shape[0]) // step % parts
        for part in range(parts):
            own = np.where((owner == part)[:, None], image, 0).astype(image.dtype)
            files[f"{name}.part{part}.tif"] = encode_layer(own, chosen)
    return files


def _segments(image: npt.NDArray[Any], frame: Frame) -> Iterator[npt.NDArray[Any]]:
    """Yield the strips or tiles of an image in file order; tiles padded with 0."""
    if not frame.tile[0]:
        for y in range(0, frame.height, frame.rows):
            yield image[y : y + frame.rows]
        return
    th, tw = frame.tile
    for y in range(0, frame.height, th):
        for x in range(0, frame.width, tw):
            tile = image[y : y + th, x : x + tw]
            yield np.pad(tile, ((0, th - tile.shape[0]), (0, tw - tile.shape[1])))


def encoder(frame: Frame) -> Callable[[npt.NDArray[Any]], bytes]:
    """Return the function that turns pixels ``(h, w)`` into the bytes of one strip or tile."""
    import imagecodecs

    codecs: dict[int, Callable[[npt.NDArray[Any]], bytes]] = {
        1: lambda pixels: pixels.tobytes(),
        5: lambda pixels: bytes(imagecodecs.lzw_encode(pixels.tobytes())),
        # TIFF 6.0, section 9: each row is packed separately.
        32773: lambda pixels: b"".join(
            bytes(imagecodecs.packbits_encode(row.tobytes())) for row in pixels
        ),
        8: lambda pixels: bytes(imagecodecs.zlib_encode(pixels.tobytes(), level=6)),
        50000: lambda pixels: bytes(imagecodecs.zstd_encode(pixels.tobytes(), level=3)),
    }
    codec = codecs[frame.compression]

    def encode(pixels: npt.NDArray[Any]) -> bytes:
        pixels = np.ascontiguousarray(pixels)
        if frame.predictor == 2:
            pixels = imagecodecs.delta_encode(pixels, axis=-1)
        return codec(pixels.astype(pixels.dtype.newbyteorder(frame.byteorder), copy=False))

    return encode
