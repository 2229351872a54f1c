"""The layers of a segment, opened together and read in bands of rows."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Generator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from s5engine.address import StorageOptions
from s5engine.alignment import check_ascending
from s5engine.budget import parse_bytes
from s5engine.errors import InvalidArgumentError, SourceError
from s5engine.geometry import Box, as_box
from s5engine.source.band import BATCH, Band
from s5engine.source.decode import Pixels
from s5engine.source.layer import Layer
from s5engine.source.listing import LayerIndex, list_layers
from s5engine.source.opening import check_alike, open_layers
from s5engine.source.pipeline import CONNECTIONS, BandReader
from s5engine.source.read_plan import MERGE_SIZE
from s5engine.source.retry import RetryPolicy
from s5engine.source.transport import Transport

#: Memory of one open connection (socket buffers, pieces on their way), bytes.
_CONNECTION_BYTES = 2**20
#: Memory of one planned strip or tile, bytes.
_PIECE_BYTES = 300


class LayerStack:
    """Layers of one segment, opened for reading; close it, or use it in a ``with`` block.

    Attributes
    ----------
    index : LayerIndex
        Where the layers are.
    layers : tuple of int
        Numbers of the opened layers, ascending.
    shape : (height, width)
        Of each layer, px.
    dtype : dtype
        uint8 or uint16, native byte order.
    row_step : int
        Bands that begin and end on multiples of this many rows touch no strip or tile twice.
    directory_bytes : int
        Bytes that were fetched to open the layers.
    """

    def __init__(self, index: LayerIndex, opened: Sequence[Layer], transport: Transport) -> None:
        self.index = index
        self._opened, self._transport = list(opened), transport
        self.layers = tuple(layer.number for layer in opened)
        self.shape, self.dtype = opened[0].shape, opened[0].dtype
        self.row_step = min(math.lcm(*(layer.row_step for layer in opened)), self.shape[0])
        self.directory_bytes = sum(layer.directory_bytes for layer in opened)
        self._closed = False

    @property
    def segment(self) -> str:
        """Name of the segment."""
        return self.index.segment

    @property
    def url(self) -> str:
        """Address of the folder."""
        return self.index.url

    def fingerprint(self) -> dict[str, Any]:
        """Return what tells these files from others: size, version and sample of each layer."""
        return {
            str(layer.number): {
                "url": layer.name,
                "size": layer.file.size,
                **layer.file.version,
                **({} if layer.sample is None else {"sample": layer.sample}),
            }
            for layer in self._opened
        }

    def bytes_for(self, box: Sequence[int] | None, layers: Sequence[int] | None = None) -> int:
        """Return the bytes of the strips or tiles that a box touches (uncompressed: of its rows).

        Parameters
        ----------
        box : (y0, y1, x0, x1) or None
            Half-open, px; None is everything.
        layers : sequence of int, optional
            Layer numbers; all by default.
        """
        y0, y1, x0, x1 = as_box(box, *self.shape)
        return sum(layer.bytes_for((y0, y1), (x0, x1)) for layer in self._select(layers))

    def read(self, box: Sequence[int] | None = None, layers: Sequence[int] | None = None) -> Pixels:
        """Return a box of the layers.

        Returns
        -------
        (layers, y1 - y0, x1 - x0) ndarray
            Native byte order.
        """
        y0, y1, x0, x1 = as_box(box, *self.shape)
        bands = self.iter_bands([(y0, y1)], x0, x1, layers=layers, ahead=0)
        (_, pixels), *_ = bands
        return pixels

    def iter_bands(
        self,
        bands: Sequence[Band],
        x0: int,
        x1: int,
        *,
        layers: Sequence[int] | None = None,
        ahead: int = 1,
        in_flight: int | str = "64 MiB",
        threads: int | None = None,
    ) -> Generator[tuple[Band, Pixels], None, None]:
        """Yield bands of rows, each complete, while the next ones are being read.

        Every strip or tile is fetched and decoded at most once, also when it reaches into several
        bands. Closing the iterator, or an error, stops all work.

        Parameters
        ----------
        bands : sequence of (y0, y1)
            Row ranges, ascending and disjoint, half-open.
        x0, x1 : int
            Columns, half-open.
        layers : sequence of int, optional
            Layer numbers, in the order wanted; all by default.
        ahead : int
            How many bands are read while the consumer works on one: so many band arrays exist
            besides the consumer's, if that drops each one before it asks for the next. With 0
            nothing is read meanwhile.
        in_flight : int or str
            Limit of the compressed bytes in memory, such as ``"64 MiB"``.
        threads : int, optional
            Decoding threads; by default one for each processor.

        Yields
        ------
        (y0, y1), (layers, y1 - y0, x1 - x0) ndarray
            The band and its pixels, native byte order; the array is the consumer's.

        Raises
        ------
        InvalidArgumentError
            If the bands or columns do not fit the layers.
        SourceError
            If a layer cannot be read, or its data are damaged.
        SourceChangedError
            If a file is no longer the one that was opened.
        """
        bands = self._check_bands(bands, x0, x1)
        if ahead < 0 or (threads is not None and threads < 1):
            raise InvalidArgumentError(
                f"ahead={ahead} with threads={threads} cannot be done.",
                "ahead is at least 0, threads at least 1.",
            )
        reader = BandReader(
            self._select(layers),
            bands,
            (x0, x1),
            ahead=ahead,
            in_flight=parse_bytes(in_flight),
            threads=threads or default_threads(),
        )
        return iter(reader)

    def overhead_bytes(
        self,
        bands: Sequence[Band],
        x0: int,
        x1: int,
        *,
        layers: Sequence[int] | None = None,
        in_flight: int | str = "64 MiB",
        threads: int | None = None,
    ) -> int:
        """Return an upper bound of the memory that `iter_bands` needs beside the band arrays.

        It holds the bytes in flight, what each decoding thread works in, and the rows of segments
        that reach into the next band.
        """
        bands = self._check_bands(bands, x0, x1)
        opened = self._select(layers)
        itemsize, threads = self.dtype.itemsize, threads or default_threads()
        direct = [layer for layer in opened if layer.spool is None]
        largest = max((layer.largest_segment for layer in direct if layer.compressed), default=0)
        flying = max(parse_bytes(in_flight), largest, MERGE_SIZE) + largest
        decoded = [
            layer.grid.seg_height * layer.grid.seg_width * itemsize
            for layer in direct
            if layer.compressed
        ]
        working = 2 * max(decoded, default=BATCH) * threads
        carried = sum(
            (layer.row_step - 1) * (x1 - x0 + layer.grid.seg_width) * itemsize
            for layer in direct
            if any(y % layer.row_step for band in bands for y in band)
        )
        tallest = max(y1 - y0 for y0, y1 in bands)
        pieces = sum(layer.pieces_in(tallest, x1 - x0) for layer in direct) * 2
        spools = [layer.spool for layer in opened if layer.spool is not None]
        alone = max((spool.overhead for spool in spools if spool.exclusive), default=0)
        streams = sorted(spool.overhead for spool in spools if not spool.exclusive)
        return (
            flying
            + working
            + carried
            + pieces * _PIECE_BYTES
            + alone
            + sum(streams[-CONNECTIONS:])
            + CONNECTIONS * _CONNECTION_BYTES
        )

    def close(self) -> None:
        """Close connections and files and remove temporary copies."""
        if not self._closed:
            self._closed = True
            for layer in self._opened:
                layer.close()
            self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        height, width = self.shape
        return (
            f"<LayerStack {self.segment}: layers {self.layers[0]}–{self.layers[-1]}, "
            f"{height} × {width} px, {self.dtype}>"
        )

    def _select(self, layers: Sequence[int] | None) -> list[Layer]:
        if self._closed:
            raise SourceError(f"The layers of {self.segment} were closed.", "Open the stack again.")
        if layers is None:
            return self._opened
        by_number = {layer.number: layer for layer in self._opened}
        _check_numbers(layers, by_number, self.segment)
        return [by_number[number] for number in layers]

    def _check_bands(self, bands: Sequence[Band], x0: int, x1: int) -> list[Band]:
        checked = [Box(*band, x0, x1).within(*self.shape)[:2] for band in bands]
        if not checked:
            raise InvalidArgumentError("There are no bands to read.", "Give at least one (y0, y1).")
        for before, after in itertools.pairwise(checked):
            if after[0] < before[1]:
                raise InvalidArgumentError(
                    f"The bands {before} and {after} overlap or are not in ascending order."
                )
        return checked


def open_stack(
    source: str | Path | LayerIndex,
    *,
    layers: Sequence[int] | None = None,
    storage_options: StorageOptions | None = None,
    retry: RetryPolicy | None = None,
) -> LayerStack:
    """Open layers of a segment: read their directories, side by side.

    Parameters
    ----------
    source : str, Path or LayerIndex
        A folder of layers, as for `list_layers`, or its index.
    layers : sequence of int, optional
        Layer numbers; all by default.
    storage_options : dict, optional
        Passed to fsspec; by default the index's.
    retry : RetryPolicy, optional
        How failed requests are repeated.

    Raises
    ------
    SourceNotFoundError
        If the folder or a layer does not exist.
    SourceError
        If a layer cannot be read, is cut off or not a gray 8- or 16-bit image, or the layers differ
        in size or type.
    InvalidArgumentError
        If ``layers`` names one that is not there, or a sequence of them does not ascend.
    """
    if isinstance(source, LayerIndex):
        index = source
        storage_options = index.storage_options if storage_options is None else storage_options
    else:
        index = list_layers(source, layers=layers, storage_options=storage_options, retry=retry)
    numbers = sorted(index if layers is None else map(int, layers))
    _check_numbers(numbers, index, index.segment)
    check_ascending(numbers if layers is None else layers)
    transport = Transport(storage_options, retry)
    opened: list[Layer] = []
    try:
        opened = open_layers([index[number] for number in numbers], transport)
        check_alike(opened)
        return LayerStack(index, opened, transport)
    except BaseException:
        for layer in opened:
            layer.close()
        transport.close()
        raise


def default_threads() -> int:
    """Return the number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _check_numbers(layers: Sequence[int], known: Any, segment: str) -> None:
    if not len(layers):
        raise InvalidArgumentError("No layers are asked for.", "Name at least one layer number.")
    unknown = [int(number) for number in layers if number not in known]
    if unknown or len(set(layers)) != len(layers):
        raise InvalidArgumentError(
            f"Layers {unknown or list(layers)} of {segment} cannot be read: it has "
            f"{min(known)} to {max(known)}.",
            "Name layers that exist, each once.",
        )
