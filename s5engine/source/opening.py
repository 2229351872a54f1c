"""Opening layer files, whatever their format."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from s5engine.errors import SourceError
from s5engine.source.grid import BIG_SEGMENT
from s5engine.source.images import JPEG, open_picture
from s5engine.source.layer import Layer
from s5engine.source.listing import LayerFile
from s5engine.source.pipeline import CONNECTIONS
from s5engine.source.png_header import PNG
from s5engine.source.retry import CancelToken, StoppedError
from s5engine.source.strip_spool import StripSpool
from s5engine.source.tiff import read_directory
from s5engine.source.transport import RangeFile, Transport

#: Pieces of a file that are looked into where its server tells no version, and bytes of each.
_SAMPLES, _SAMPLE_BYTES = 5, 256


def open_layer(
    entry: LayerFile, transport: Transport, cancel_token: CancelToken | None = None
) -> Layer:
    """Return a layer whose directory was read.

    Raises
    ------
    SourceError
        If the file cannot be read, or is not a layer.
    """
    file, head = transport.open(entry.url, cancel_token)
    try:
        cancel_token = CancelToken() if cancel_token is None else cancel_token
        if head[:8] == PNG or head[:3] == JPEG:
            layer = open_picture(entry.number, file, head, cancel_token)
        else:
            directory = read_directory(file, head, cancel_token)
            grid, codec, dtype = directory.grid, directory.codec, directory.dtype
            layer = Layer(entry.number, file, dtype, grid, codec)
            decoded = grid.seg_height * grid.width * dtype.itemsize
            if layer.compressed and not grid.tiled and decoded > BIG_SEGMENT:
                layer.spool = StripSpool(file, grid, codec, dtype)
        layer.directory_bytes = file.fetched
        if "etag" not in file.version:
            layer.sample = _sample(file, cancel_token)
        return layer
    except BaseException:
        file.close()
        raise


def _sample(file: RangeFile, cancel_token: CancelToken) -> str:
    """Return a digest of a few pieces spread over a file, whose version nobody tells surely.

    Times tell a file from a later one only if the clock has ticked in between.
    """
    digest = hashlib.sha256()
    for number in range(_SAMPLES):
        start = max(0, file.size - _SAMPLE_BYTES) * number // (_SAMPLES - 1)
        digest.update(file.read(start, min(start + _SAMPLE_BYTES, file.size), cancel_token))
    return digest.hexdigest()[:16]


def open_layers(entries: Sequence[LayerFile], transport: Transport) -> list[Layer]:
    """Open the layers side by side; if one fails, close the others and raise its error."""
    cancel_token = CancelToken()

    def open_one(entry: LayerFile) -> Layer:
        try:
            return open_layer(entry, transport, cancel_token)
        except BaseException:
            cancel_token.set()
            raise

    with ThreadPoolExecutor(min(CONNECTIONS, len(entries)), "s5-open") as pool:
        futures = [pool.submit(open_one, entry) for entry in entries]
        try:
            errors = [future.exception() for future in futures]
        except BaseException:
            cancel_token.set()
            raise
    failed = [error for error in errors if error is not None]
    if not failed:
        return [future.result() for future in futures]
    for future in futures:
        if future.exception() is None:
            future.result().close()
    raise next((error for error in failed if not isinstance(error, StoppedError)), failed[0])


def check_alike(opened: Sequence[Layer]) -> None:
    """Refuse layers that differ in size or type."""
    kinds: dict[tuple[tuple[int, int], np.dtype[Any]], list[str]] = {}
    for layer in opened:
        kinds.setdefault((layer.shape, layer.dtype), []).append(layer.name.rpartition("/")[2])
    if len(kinds) > 1:
        listed = "; ".join(
            f"{height} × {width} px {dtype}: {', '.join(names[:5])}{', …' * (len(names) > 5)}"
            for ((height, width), dtype), names in kinds.items()
        )
        folder = opened[0].name.rpartition("/")[0]
        raise SourceError(
            f"The layers in {folder} differ: {listed}.",
            "All layers of a segment must have one size and type.",
        )
