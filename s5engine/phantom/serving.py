"""Serves a phantom under the path that segments have on the data server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from s5engine.budget import format_bytes
from s5engine.errors import InvalidArgumentError
from s5engine.phantom.content import File
from s5engine.phantom.layouts import Layout, encode_layers
from s5engine.phantom.papyrus import Phantom
from s5engine.phantom.server import LayerServer
from s5engine.phantom.true_scale import TrueScaleSegment

#: A phantom is encoded in memory up to this many bytes of pixels.
LARGEST = 4 << 30


def layers_path(segment: str = "phantom") -> str:
    """Return the folder of a segment's layers, as on the data server."""
    return f"scrolls/s5/autogens/{segment}/layers/"


def serve_phantom(
    phantom: Phantom | TrueScaleSegment,
    *,
    layout: str | Layout | None = None,
    segment: str = "phantom",
    pad: int = 2,
    parts: int = 1,
    knobs: Mapping[str, Any] | None = None,
    **server: Any,
) -> LayerServer:
    """Serve a phantom's layers at ``server.url(layers_path(segment))``.

    Parameters
    ----------
    phantom : Phantom or TrueScaleSegment
        A `Phantom` is encoded whole, in memory, layer by layer.
    layout : str or Layout, optional
        ``"rows-lzw"`` by default. A `TrueScaleSegment` has its own already.
    segment : str
        The segment's name in the path.
    pad : int
        Digits of a file name.
    parts : int
        Above 1: each layer as so many part files, see `encode_layers`.
    knobs : mapping, optional
        Fields of `Layout` to change.
    **server
        Options of `LayerServer`.

    Returns
    -------
    LayerServer
        A context manager.

    Raises
    ------
    InvalidArgumentError
        If the phantom is too large to be encoded, or a true-scale segment is asked for another
        layout.
    """
    files: Mapping[str, File]
    if isinstance(phantom, TrueScaleSegment):
        if layout is not None or knobs or parts != 1 or pad != 2:
            raise InvalidArgumentError(
                "The files of a true-scale segment exist already: layout, knobs, parts and pad "
                "cannot be changed.",
                "Give them to true_scale_segment.",
            )
        files = phantom.files
    else:
        layers, height, width = phantom.shape
        size = layers * height * width * (2 if phantom.dtype == "uint16" else 1)
        if size > LARGEST:
            raise InvalidArgumentError(
                f"{layers} layers of {height} × {width} px ({format_bytes(size)}) are too much to "
                f"be encoded in memory; the limit is {format_bytes(LARGEST)}.",
                "Use true_scale_segment, whose rows repeat.",
            )
        files = encode_layers(
            phantom, layout or "rows-lzw", pad=pad, parts=parts, **dict(knobs or {})
        )
    folder = layers_path(segment)
    return LayerServer({folder + name: file for name, file in files.items()}, **server)
