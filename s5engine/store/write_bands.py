"""Bands of rows → whole shards on disk, each written once."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from s5engine.budget import trim_malloc
from s5engine.errors import StoreError
from s5engine.geometry import Box
from s5engine.runtime.attempts import Attempt
from s5engine.store.band_plan import SHARD_WIDTH, WRITERS, BandPlan, in_flight, row_bands
from s5engine.store.band_tasks import Band, LayersThere, Workers, layers_there
from s5engine.store.growing_shards import GrowingShards
from s5engine.store.scratch import BandScratch
from s5engine.store.shards import ChunkFiles

if TYPE_CHECKING:
    from s5engine.source.stack import LayerStack

#: What writing a band is called in dask graphs and on the dashboard.
INGEST_STEP = "ingest-band"
#: Some rows at a time: which, and their pixels (layers, rows, width).
Incoming = Iterator[tuple[Band, np.ndarray]]


def write_bands(
    stack: LayerStack,
    files: ChunkFiles,
    box: Box,
    plan: BandPlan,
    bands: Sequence[Band],
    threads: int | None = None,
) -> Generator[Band]:
    """Write each band, and yield it when it is on disk; ``threads`` decode."""
    if not bands:
        return
    pieces = [piece for band in bands for piece in row_bands(*band, plan.rows)]
    in_segment = [(box.y0 + y0, box.y0 + y1) for y0, y1 in pieces]
    incoming = stack.iter_bands(
        in_segment,
        box.x0,
        box.x1,
        ahead=plan.ahead,
        in_flight=in_flight(plan.budget),
        threads=threads,
    )
    with closing(incoming), ThreadPoolExecutor(WRITERS, "s5-ingest-write") as writers:
        if not plan.grows:
            for y0, y1 in bands:
                _, pixels = next(incoming)
                write_band(files, y0, pixels, writers)
                # Before the next band is made: two of them are all that the plan allows.
                del pixels
                yield y0, y1
            return
        with _scratch(files.folder, plan, np.dtype(stack.dtype).newbyteorder("=")) as scratch:
            for band in bands:
                _grow_band(files, band, plan, incoming, scratch, writers)
                trim_malloc()  # what shards took, before rows fill it up again
                yield band


def write_bands_on(
    workers: Workers,
    attempt: Attempt,
    stack: LayerStack,
    files: ChunkFiles,
    box: Box,
    plan: BandPlan,
    bands: Sequence[Band],
) -> Generator[Band]:
    """As `write_bands`, each band as a task of its own on the workers, in any order."""
    there = layers_there(stack)
    tasks = (
        (band, functools.partial(_write_there, there, files, box, plan, band, workers.threads))
        for band in bands
    )
    return workers.run(INGEST_STEP, tasks, attempt)


def _write_there(
    source: LayersThere, files: ChunkFiles, box: Box, plan: BandPlan, band: Band, threads: int
) -> None:
    """Write one band; runs in a worker."""
    with closing(source.open()) as stack:
        for _ in write_bands(stack, files, box, plan, [band], threads):
            pass


def scratch_path(folder: Path) -> Path:
    """Return where rows of chunks are collected: among the temporary files of the store."""
    return folder / f"band-{uuid.uuid4().hex}.partial"


@contextmanager
def _scratch(folder: Path, plan: BandPlan, dtype: np.dtype) -> Iterator[BandScratch | None]:
    """Give room on disk for a row of chunks, if memory does not hold one."""
    if not plan.collects:
        yield None
        return
    shape = (plan.layers, plan.rows_written, plan.width)
    with closing(BandScratch(scratch_path(folder), shape, dtype)) as scratch:
        yield scratch


def _grow_band(
    files: ChunkFiles,
    band: Band,
    plan: BandPlan,
    incoming: Incoming,
    scratch: BandScratch | None,
    writers: ThreadPoolExecutor,
) -> None:
    """Write one band, of which memory or the scratch file holds some rows of chunks at a time."""
    with closing(GrowingShards(files, band[0])) as shards:
        for y0, y1 in row_bands(*band, plan.rows_written):
            if scratch is None:
                _, pixels = next(incoming)
                grow(shards, y0, pixels, writers)
                del pixels  # before the next are made
            else:
                _collect(scratch, incoming, row_bands(y0, y1, plan.rows))
                grow_scratch(shards, y0, y1 - y0, scratch, writers)
        try:
            shards.finish()
        except OSError as error:
            raise _unwritable(files.folder, band[0], error) from error


def _collect(scratch: BandScratch, incoming: Incoming, pieces: Sequence[Band]) -> None:
    """Put rows down on disk, a few at a time."""
    for y0, _ in pieces:
        _, pixels = next(incoming)
        try:
            scratch.put(y0 - pieces[0][0], pixels)
        except OSError as error:
            raise _unwritable(scratch.path, y0, error) from error
        del pixels


def write_band(files: ChunkFiles, y0: int, pixels: np.ndarray, writers: ThreadPoolExecutor) -> None:
    """Write one band in whole shards.

    Parameters
    ----------
    files : ChunkFiles
        Where to.
    y0 : int
        First row of the band in the array, px.
    pixels : (layers, rows, width) ndarray
        All rows up to the end of the shards, or of the array.
    writers : ThreadPoolExecutor
        Where shards are encoded.

    Raises
    ------
    StoreError
        If the band is not whole shards, or cannot be written.
    """
    files.check(y0, pixels.shape)
    _on_columns(files, y0, lambda x0: files.write(y0, x0, _columns(pixels, x0)), writers)


def grow(shards: GrowingShards, y0: int, pixels: np.ndarray, writers: ThreadPoolExecutor) -> None:
    """Add some rows to every shard of a band.

    Parameters
    ----------
    shards : GrowingShards
        Where to.
    y0 : int
        The first of the rows in the array, px.
    pixels : (layers, rows, width) ndarray
        Whole rows of chunks, but at the end of the array.
    writers : ThreadPoolExecutor
        Where chunks are encoded.

    Raises
    ------
    StoreError
        If they cannot be written.
    """
    _on_columns(shards.files, y0, lambda x0: shards.add(y0, x0, _columns(pixels, x0)), writers)


def grow_scratch(
    shards: GrowingShards, y0: int, rows: int, scratch: BandScratch, writers: ThreadPoolExecutor
) -> None:
    """Add ``rows`` rows that were collected on disk; see `grow`."""
    _on_columns(shards.files, y0, lambda x0: shards.add(y0, x0, scratch.shard(x0, rows)), writers)


def _columns(pixels: np.ndarray, x0: int) -> np.ndarray:
    return pixels[:, :, x0 : x0 + SHARD_WIDTH]


def _on_columns(
    files: ChunkFiles, y0: int, write: Callable[[int], None], writers: ThreadPoolExecutor
) -> None:
    """Encode and write every shard of some rows, some at a time."""
    running = [writers.submit(write, x0) for x0 in files.columns()]
    try:
        for future in running:
            future.result()
    except OSError as error:
        raise _unwritable(files.folder, y0, error) from error
    finally:
        for future in running:
            future.cancel()


def _unwritable(where: Path, y0: int, error: OSError) -> StoreError:
    """Return the error of a disk that is full or refuses."""
    return StoreError(
        f"Rows from {y0} cannot be written to {where}: {error.strerror or error}.",
        "Make room or check the rights, then run the same command to go on.",
    )
