"""The blocks of one level of a pyramid, made from the level before it, some at a time."""

from __future__ import annotations

import functools
from collections.abc import Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice, product
from typing import TYPE_CHECKING, Any

import numpy as np

from s5engine.budget import trim_malloc
from s5engine.runtime.attempts import Attempt
from s5engine.store.band_tasks import Workers
from s5engine.store.halve import halve
from s5engine.store.pyramid_plan import BLOCK_WIDTH, PyramidPlan
from s5engine.store.read_shards import ShardFiles, reader_of

if TYPE_CHECKING:
    import zarr

#: What making a block of a level is called in dask graphs and on the dashboard.
LEVEL_STEP = "pyramid-level"
#: Blocks after which freed memory is given back: threads that decode keep some of it each.
_GIVEN_BACK = 16
#: A block of a level: first layer or window, rows, first column.
Block = tuple[int, int, int, int]


def unit_of(token: str, number: int, block: Block) -> str:
    """Return the journal's name of a block; the levels' token is part of it."""
    return " ".join(map(str, (token, number, *block)))


def blocks_of(shape: tuple[int, ...], plan: PyramidPlan) -> list[Block]:
    """Return the blocks of a level of this shape."""
    layers, height, width = shape
    rows = [(y, min(y + plan.height, height)) for y in range(0, height, plan.height)]
    places = product(range(0, layers, plan.layers), rows, range(0, width, BLOCK_WIDTH))
    return [(layer, y0, y1, x0) for layer, (y0, y1), x0 in places]


def box_of(block: Block, shape: tuple[int, ...], plan: PyramidPlan) -> tuple[slice, slice, slice]:
    """Return the place of a block in its level, of this shape."""
    layer, y0, y1, x0 = block
    layers = slice(layer, min(layer + plan.layers, shape[0]))
    return layers, slice(y0, y1), slice(x0, min(x0 + BLOCK_WIDTH, shape[2]))


def made(
    source: zarr.Array[Any],
    target: zarr.Array[Any],
    named: Sequence[tuple[str, Block]],
    plan: PyramidPlan,
) -> Generator[str]:
    """Make blocks, as many at a time as the plan allows; yield the name of each written one."""
    waiting, count = iter(named), 0
    running: dict[Future[None], str] = {}
    with ThreadPoolExecutor(plan.threads, "s5-pyramid") as threads:
        try:
            while True:
                for unit, block in islice(waiting, plan.threads - len(running)):
                    running[threads.submit(_make, source, target, block, plan)] = unit
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    future.result()
                    yield running.pop(future)
                    count += 1
                    if count % _GIVEN_BACK == 0:
                        trim_malloc()
        finally:
            for future in running:
                future.cancel()


def made_on(
    workers: Workers,
    attempt: Attempt,
    source: zarr.Array[Any],
    target: zarr.Array[Any],
    named: Sequence[tuple[str, Block]],
    plan: PyramidPlan,
) -> Generator[str]:
    """As `made`, each block as a task of its own on the workers, in any order."""
    tasks = (
        (unit, functools.partial(_make_there, source, target, block, plan)) for unit, block in named
    )
    return workers.run(LEVEL_STEP, tasks, attempt, plan.threads)


def _make_there(
    source: zarr.Array[Any], target: zarr.Array[Any], block: Block, plan: PyramidPlan
) -> None:
    """Make one block; runs in a worker."""
    _make(source, target, block, plan)
    trim_malloc()


def _make(
    source: zarr.Array[Any], target: zarr.Array[Any], block: Block, plan: PyramidPlan
) -> None:
    """Halve what a block is made of, some rows at a time, and write it whole."""
    layers, whole, columns = box = box_of(block, target.shape, plan)
    y0, x0 = whole.start, columns.start
    pixels = np.empty([side.stop - side.start for side in box], target.dtype)
    for y in range(y0, whole.stop, plan.piece):
        rows = slice(y, min(y + plan.piece, whole.stop))
        pixels[:, y - y0 : rows.stop - y0] = _halved(source, layers, rows, columns)
    shards = ShardFiles.of(target)
    if shards is None:
        target[box] = pixels
    else:  # a block is one whole shard
        shards.writer().write(y0, x0, pixels)


def _halved(source: zarr.Array[Any], layers: slice, rows: slice, columns: slice) -> np.ndarray:
    """Return the given place of the level after ``source``; of shards, all layers."""
    wanted = (slice(2 * s.start, 2 * s.stop) for s in (rows, columns))
    return halve(reader_of(source)[(layers, *wanted)])
