"""Cutting bands of rows into the files of parts: in this process's threads, or on workers."""

from __future__ import annotations

import functools
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from s5engine.errors import S5Error, StoreError
from s5engine.runtime.attempts import Attempt
from s5engine.store.band_plan import WRITERS
from s5engine.store.band_tasks import Band, LayersThere, Workers, in_order, layers_there
from s5engine.store.bands import VolumeBands
from s5engine.store.part_file import PartFile

if TYPE_CHECKING:
    from s5engine.source.stack import LayerStack

#: What cutting a band is called in dask graphs and on the dashboard.
SPLIT_STEP = "split-band"


@dataclass(frozen=True)
class Cutting:
    """What one pass cuts out of each band, and how.

    Attributes
    ----------
    files : tuple of PartFile
        Where the pixels go.
    layers : tuple of int
        Layer numbers that are read.
    columns : (int, int)
        ``(x0, x1)`` that are read, segment pixels.
    first_row : int
        Of the parts, segment pixels.
    dtype : dtype
        Of the pixels.
    lookup : (256,) or (65536,) ndarray or None
        Table that every pixel goes through.
    ahead : int
        Bands that are read while one is written.
    in_flight : int
        Compressed bytes that may be on their way.
    threads : int or None
        That decode.
    """

    files: tuple[PartFile, ...]
    layers: tuple[int, ...]
    columns: tuple[int, int]
    first_row: int
    dtype: np.dtype
    lookup: np.ndarray | None
    ahead: int
    in_flight: int
    threads: int | None

    def cut(self, reader: LayerStack | VolumeBands, bands: Sequence[Band]) -> Generator[Band]:
        """Read bands of rows, write them to all files, and yield each that is on disk."""
        incoming = reader.iter_bands(
            bands,
            *self.columns,
            layers=self.layers,
            ahead=self.ahead,
            in_flight=self.in_flight,
            threads=self.threads,
        )
        with closing(incoming), ThreadPoolExecutor(WRITERS, "s5-split-write") as writers:
            for band in bands:
                (y0, _), pixels = next(incoming)
                grow = functools.partial(self._grow, pixels, y0)
                for _done in writers.map(grow, self.files):
                    pass
                del pixels, grow
                yield band

    def _grow(self, pixels: np.ndarray, y0: int, file: PartFile) -> None:
        """Write the file's columns of a band of its layer, from the first row that it lacks."""
        import cv2

        band = pixels[self.layers.index(file.layer)]
        skip = max(0, file.done - y0)
        if skip >= band.shape[0]:
            return
        first, last = (column - self.columns[0] for column in file.columns)
        part = np.ascontiguousarray(band[skip:, first:last], self.dtype)
        if self.lookup is not None:
            part = cv2.LUT(part, self.lookup)
        file.write(part, y0 + skip - self.first_row)

    def cut_on(
        self,
        workers: Workers,
        attempt: Attempt,
        reader: LayerStack | VolumeBands,
        bands: Sequence[Band],
    ) -> Generator[Band]:
        """As `cut`, each band as a task of its own on the workers."""
        # Workers may be in another folder.
        files = tuple(replace(file, path=file.path.absolute()) for file in self.files)
        there = replace(self, files=files)
        tasks = (
            (band, functools.partial(_cut_there, there, _travelling(reader, band), band))
            for band in bands
        )
        # Each file's rows are finished from the first one on: so the journal counts them.
        with closing(workers.run(SPLIT_STEP, tasks, attempt)) as done:
            yield from in_order(bands, done)


def _travelling(reader: LayerStack | VolumeBands, band: Band) -> LayersThere | VolumeBands:
    """Return what lets a worker read a band, small enough to be sent with each."""
    return reader.alone(*band) if isinstance(reader, VolumeBands) else layers_there(reader)


def _cut_there(cutting: Cutting, source: LayersThere | VolumeBands, band: Band) -> None:
    """Cut one band; runs in a worker."""
    try:
        with closing(source.open()) as reader:
            for _ in cutting.cut(reader, [band]):
                pass
    except OSError as error:
        if isinstance(error, S5Error):
            raise
        raise unwritable(error, str(cutting.files[0].path.parent)) from error


def unwritable(error: OSError, where: str) -> StoreError:
    """Return the error of a disk that is full, refuses, or is not there."""
    return StoreError(
        f"{error.filename or where} cannot be written: {error.strerror or error}.",
        "Make room or check the rights, then run the same command to go on.",
    )
