"""Pyramids: coarser levels of a volume or of a run's ink, as OME-Zarr multiscales.

Each level is made from the one before it, block by block; a block is whole shards or chunks, so
that nothing is ever written twice or read while it is half there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from s5engine import console
from s5engine.budget import current_rss, give_back, resolve_budget, share_arena
from s5engine.errors import StoreError
from s5engine.store.band_tasks import budget_here
from s5engine.store.create import remove_strays
from s5engine.store.halve import halve
from s5engine.store.levels import (
    Base,
    add_to_list,
    block_heights,
    create_levels,
    find_base,
    forget_token,
    full_resolution,
    is_image,
    listed_levels,
    open_levels,
    remove_levels,
    resolve_store,
)
from s5engine.store.open_levels import open_pyramid as open_pyramid
from s5engine.store.progress import Journal
from s5engine.store.pyramid_plan import BLOCK_HEIGHTS, BLOCK_WIDTH, PyramidPlan, plan_pyramid
from s5engine.store.read_shards import ShardFiles

if TYPE_CHECKING:
    import xarray as xr
    import zarr

#: Rows of a block of a volume that are halved at a time, px: with all layers they are large.
_PIECES = (128, 64)
#: Blocks after which freed memory is given back: threads that decode keep some of it each.
_GIVEN_BACK = 16
#: A block of a level: first layer or window, rows, first column.
_Block = tuple[int, int, int, int]


def write_pyramid(
    store: str | Path,
    *,
    budget: int | str | None = None,
    resume: bool = True,
    progress: bool = True,
) -> list[xr.DataArray]:
    """Add coarser levels to a store: y and x halved by mean until the longer side is ≤ 1024 px.

    Layers and windows are never reduced. Killed at any moment, the same call goes on where it was;
    a level is listed in the OME-Zarr metadata when all of it is there.

    Parameters
    ----------
    store : str or Path
        A volume that `ingest` made, a run's folder or its ``ink.zarr``.
    budget : int or str, optional
        Memory that this process may use, bytes or a text such as ``"4 GiB"``; 60 % of the machine's
        by default.
    resume : bool
        Keep the levels that are there, and go on with unfinished ones. False makes all afresh.
    progress : bool
        Show how far it is.

    Returns
    -------
    list of (layer | window, y, x) DataArray
        What `open_pyramid` gives.

    Raises
    ------
    BudgetError
        If not even the smallest block fits into the budget.
    StoreError
        If the store is not one of ours, is unfinished, or cannot be written.
    """
    path = resolve_store(store)
    record = path.parent / "run.json"
    if path.name == "ink.zarr" and record.exists() and not _is_completed(record):
        raise StoreError(
            f"The run in {path.parent} is not finished; its pyramid is made at its end.",
            "The same command that began it lets it go on.",
        )
    write_levels(path, budget=budget_here(budget), resume=resume, progress=progress)
    return open_pyramid(path)


def _is_completed(record: Path) -> bool:
    try:
        return bool(json.loads(record.read_text(encoding="utf-8")).get("completed"))
    except (OSError, ValueError, AttributeError) as error:
        raise StoreError(f"The run's record {record} cannot be read: {error}.") from error


def write_levels(
    path: Path,
    *,
    budget: int | str | None = None,
    held: int | None = None,
    resume: bool = True,
    progress: bool = True,
) -> None:
    """Do what `write_pyramid` does, for a caller that knows that the full resolution is whole.

    ``held`` are the bytes that the process had before it began to fill the store: what it took for
    that is used again.
    """
    # Loaded before the base of the plan is measured, so that it counts them.
    import cv2  # noqa: F401
    import dask.array  # noqa: F401
    import xarray  # noqa: F401
    import zarr  # noqa: F401

    share_arena()
    base = find_base(path)
    size = resolve_budget(budget)
    if resume and len(listed_levels(base)) == len(base.shapes) and not _needs_listing(base):
        if _journal_path(path).exists():  # killed between its last line and its end
            remove_strays(path)
            if (found := open_levels(base)) is not None:
                forget_token(found[1][0])
            _journal_path(path).unlink()
        return
    try:
        with Journal.open(_journal_path(path), {}, resume=resume) as journal:
            remove_strays(path)
            if not resume:
                remove_levels(base)
            _write_missing(base, current_rss() if held is None else held, size, journal, progress)
            journal.remove()
    except OSError as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(
            f"The pyramid of {path} cannot be written: {error.strerror or error}.",
            "Make room or check the rights, then run the same command to go on.",
        ) from error


def _needs_listing(base: Base) -> bool:
    """Return whether the store does not call itself an image yet: a run's ink at first."""
    return base.is_ink and not is_image(base)


def _journal_path(path: Path) -> Path:
    """Return where the journal of an unfinished pyramid is: beside the store."""
    return path.with_name(f"{path.name}.pyramid.journal")


def _write_missing(base: Base, held: int, budget: int, journal: Journal, progress: bool) -> None:
    """Make each level that the metadata do not list, and list it."""
    if _needs_listing(base):
        add_to_list(base, 0)
    if not base.shapes:
        return
    found = open_levels(base)
    plan = plan_levels(
        base.shape[0], base.dtype, base.chunks, is_ink=base.is_ink,
        heights=block_heights(base, found[1] if found else ()), base=held, budget=budget,
    )  # fmt: skip
    token, arrays = found or create_levels(base, plan.height)
    done = set(listed_levels(base))
    source = full_resolution(base)
    todo = []
    for number, target in enumerate(arrays, start=1):
        if base.level(number) not in done:
            todo.append((number, source, target))
        source = target
    units = {
        number: [(_unit(token, number, b), b) for b in _blocks(target.shape, plan)]
        for number, _, target in todo
    }
    total = sum(map(len, units.values()))
    made = sum(unit in journal for named in units.values() for unit, _ in named)
    with console.progress("pyramid", total, "blocks", done=made, enabled=progress) as meter:
        for number, source, target in todo:
            named = [(unit, b) for unit, b in units[number] if unit not in journal]
            for unit in _made(source, target, named, plan):
                journal.finish(unit)
                meter.advance()
            add_to_list(base, number)
    forget_token(arrays[0])


def plan_levels(
    layers: int,
    dtype: np.dtype,
    chunks: tuple[int, ...],
    *,
    is_ink: bool = False,
    heights: Sequence[int] = BLOCK_HEIGHTS,
    base: int,
    budget: int,
) -> PyramidPlan:
    """Return how the levels of a store with such chunks will be made; see `plan_pyramid`.

    Raises
    ------
    BudgetError
        If not even the smallest block fits.
    """
    dtype = np.dtype(dtype)
    return plan_pyramid(
        1 if is_ink else layers,
        dtype,
        source_chunk=int(np.prod(chunks, dtype=np.int64)) * dtype.itemsize,
        heights=heights,
        # Chunks of ink are large: each is read once for all that is made of it.
        pieces=() if is_ink else _PIECES,
        base=base,
        budget=budget,
    )


def _unit(token: str, number: int, block: _Block) -> str:
    """Return the journal's name of a block; the levels' token is part of it."""
    return " ".join(map(str, (token, number, *block)))


def _blocks(shape: tuple[int, ...], plan: PyramidPlan) -> list[_Block]:
    layers, height, width = shape
    rows = [(y, min(y + plan.height, height)) for y in range(0, height, plan.height)]
    places = product(range(0, layers, plan.layers), rows, range(0, width, BLOCK_WIDTH))
    return [(layer, y0, y1, x0) for layer, (y0, y1), x0 in places]


def _made(
    source: zarr.Array[Any],
    target: zarr.Array[Any],
    named: Sequence[tuple[str, _Block]],
    plan: PyramidPlan,
) -> Iterator[str]:
    """Make blocks, as many at a time as the plan allows; yield the name of each written one."""
    waiting, made = iter(named), 0
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
                    made += 1
                    if made % _GIVEN_BACK == 0:
                        give_back()
        finally:
            for future in running:
                future.cancel()


def _make(
    source: zarr.Array[Any], target: zarr.Array[Any], block: _Block, plan: PyramidPlan
) -> None:
    """Halve what a block is made of, some rows at a time, and write it whole."""
    layer, y0, y1, x0 = block
    x1 = min(x0 + BLOCK_WIDTH, target.shape[2])
    layers = slice(layer, min(layer + plan.layers, target.shape[0]))
    pixels = np.empty((layers.stop - layer, y1 - y0, x1 - x0), target.dtype)
    for y in range(y0, y1, plan.piece):
        rows = slice(y, min(y + plan.piece, y1))
        pixels[:, y - y0 : rows.stop - y0] = _halved(source, layers, rows, slice(x0, x1))
    shards = ShardFiles.of(target)
    if shards is None:
        target[layers, y0:y1, x0:x1] = pixels
    else:  # a block is one whole shard
        shards.writer().write(y0, x0, pixels)


def _halved(source: zarr.Array[Any], layers: slice, rows: slice, columns: slice) -> np.ndarray:
    """Return the given place of the level after ``source``; of shards, all layers."""
    wanted = (slice(2 * s.start, 2 * s.stop) for s in (rows, columns))
    shards = ShardFiles.of(source)
    pixels: Any = source[(layers, *wanted)] if shards is None else shards.read(*wanted)
    return halve(np.asarray(pixels))
