"""Opening one layer file, whatever its format."""

from __future__ import annotations

from s5engine.source.grid import BIG_SEGMENT
from s5engine.source.images import JPEG, PNG, open_picture
from s5engine.source.layer import Layer
from s5engine.source.listing import LayerFile
from s5engine.source.retry import Halt
from s5engine.source.strip_spool import StripSpool
from s5engine.source.tiff import read_directory
from s5engine.source.transport import Transport


def open_layer(entry: LayerFile, transport: Transport, halt: Halt | None = None) -> Layer:
    """Return a layer whose directory was read.

    Raises
    ------
    SourceError
        If the file cannot be read, or is not a layer.
    """
    file, head = transport.open(entry.url, halt)
    try:
        halt = Halt() if halt is None else halt
        if head[:8] == PNG or head[:3] == JPEG:
            layer = open_picture(entry.number, file, head, halt)
        else:
            directory = read_directory(file, head, halt)
            grid, codec, dtype = directory.grid, directory.codec, directory.dtype
            layer = Layer(entry.number, file, dtype, grid, codec)
            decoded = grid.seg_height * grid.width * dtype.itemsize
            if layer.compressed and not grid.tiled and decoded > BIG_SEGMENT:
                layer.spool = StripSpool(file, grid, codec, dtype)
        layer.directory_bytes = file.fetched
        return layer
    except BaseException:
        file.close()
        raise
