"""Pyramids: coarser levels of a volume or of a run's ink, as OME-Zarr multiscales.

Each level is made from the one before it, block by block; a block is whole shards or chunks, so
that nothing is ever written twice or read while it is half there. On a dask cluster each block is
a task of the workers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from s5engine import console
from s5engine.atomic import sync_files_in
from s5engine.budget import current_rss, resolve_budget, share_arena
from s5engine.errors import StoreError
from s5engine.foreign import read_json
from s5engine.runtime.journal import Journal, discard
from s5engine.store.band_tasks import Workers, find_workers
from s5engine.store.chunk_keys import files_of
from s5engine.store.create import remove_strays
from s5engine.store.level_blocks import blocks_of, box_of, made, made_on, unit_of
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
from s5engine.store.nodes import consolidate
from s5engine.store.open_levels import open_pyramid as open_pyramid
from s5engine.store.present import check_present
from s5engine.store.pyramid_plan import (
    BLOCK_HEIGHTS,
    MOST_AT_ONCE,
    PyramidPlan,
    plan_pyramid,
)

if TYPE_CHECKING:
    import xarray as xr

#: Rows of a block of a volume that are halved at a time, px: with all layers they are large.
_PIECES = (128, 64)


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

    On a dask cluster (`s5engine.cluster`) each block of a level is a task, which reads and writes
    on a disk that all workers see.

    Parameters
    ----------
    store : str or Path
        A volume that `ingest` made, a run's folder or its ``ink.zarr``.
    budget : int or str, optional
        Memory that this process, or all processes together, may use, bytes or a text such as
        ``"4 GiB"``; 60 % of the machine's by default.
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
    write_levels(path, budget=budget, resume=resume, progress=progress)
    return open_pyramid(path)


def _is_completed(record: Path) -> bool:
    return bool(read_json(record).get("completed"))


def write_levels(
    path: Path,
    *,
    budget: int | str | None = None,
    held: int | None = None,
    least: int = 0,
    resume: bool = True,
    progress: bool = True,
) -> None:
    """Do what `write_pyramid` does, for a caller that knows that the full resolution is whole.

    Parameters
    ----------
    path : Path
        The store.
    budget, resume, progress
        As `write_pyramid` takes them.
    held : int, optional
        Bytes that the process had before it began to fill the store: what it took for that is used
        again.
    least : int
        Bytes beyond those that each process may use in any case: what was planned for is not
        refused at the end because a process has grown a little.
    """
    # Loaded before the base of the plan is measured, so that it counts them.
    import cv2  # noqa: F401
    import dask.array  # noqa: F401
    import xarray  # noqa: F401
    import zarr  # noqa: F401

    share_arena()
    base = find_base(path)
    if resume and len(listed_levels(base)) == len(base.shapes) and not _needs_listing(base):
        if _journal_path(path).exists():  # killed between its last line and its end
            with contextlib.suppress(OSError):  # or it is for reading alone by now
                remove_strays(path)
                if (found := open_levels(base)) is not None:
                    forget_token(found[1][0])
                discard(_journal_path(path))
        return
    try:
        with Journal.open(_journal_path(path), {}, resume=resume) as journal:
            remove_strays(path)
            if not resume:
                remove_levels(base)
            here = current_rss() if held is None else held
            _write_missing(base, resolve_budget(budget), here, least, journal, progress)
            if base.is_ink:
                consolidate(path)
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


def _write_missing(
    base: Base, budget: int, held: int, least: int, journal: Journal, progress: bool
) -> None:
    """Make each level that the metadata do not list, and list it."""
    if _needs_listing(base):
        add_to_list(base, 0)
    if not base.shapes:
        return
    found = open_levels(base)
    workers = find_workers("pyramid", None, budget)
    plan = plan_levels(
        base.shape[0],
        base.dtype,
        base.chunks,
        is_ink=base.is_ink,
        workers=workers,
        heights=block_heights(base, found[1] if found else ()),
        base=held,
        budget=budget,
        least=least,
    )
    token, arrays = found or create_levels(base, plan.height)
    done = set(listed_levels(base))
    check_present(base.path, base.array)
    source = full_resolution(base)
    todo = []
    for number, target in enumerate(arrays, start=1):
        if base.level(number) not in done:
            todo.append((number, source, target))
        source = target
    units = {
        number: [(unit_of(token, number, b), b) for b in blocks_of(target.shape, plan)]
        for number, _, target in todo
    }
    total = sum(map(len, units.values()))
    there = sum(unit in journal for named in units.values() for unit, _ in named)
    with console.progress("pyramid", total, "blocks", done=there, enabled=progress) as meter:
        for number, source, target in todo:
            named = [(unit, b) for unit, b in units[number] if unit not in journal]
            where = source, target, named, plan
            with closing(
                made_on(workers, journal.attempt(), *where) if workers else made(*where)
            ) as finished:
                boxes = {unit: box_of(b, target.shape, plan) for unit, b in named}
                for unit in finished:
                    journal.finish(unit, files_of(target, boxes[unit]))
                    meter.advance()
            add_to_list(base, number)
            sync_files_in(base.path)
    forget_token(arrays[0])


def plan_levels(
    layers: int,
    dtype: np.dtype,
    chunks: tuple[int, ...],
    *,
    is_ink: bool = False,
    heights: Sequence[int] = BLOCK_HEIGHTS,
    threads: int = MOST_AT_ONCE,
    workers: Workers | None = None,
    base: int,
    budget: int,
    least: int = 0,
) -> PyramidPlan:
    """Return how the levels of a store with such chunks will be made; see `plan_pyramid`.

    Parameters
    ----------
    layers, dtype, chunks :
        Of the full resolution.
    is_ink : bool
        Whether it is a run's ink, whose windows are made one by one.
    heights, threads :
        See `plan_pyramid`.
    workers : Workers, optional
        Who makes them; this process if None.
    base, budget : int
        Bytes that this process holds and may use; workers have their own.
    least : int
        Bytes beyond the base that may be used in any case.

    Raises
    ------
    BudgetError
        If not even the smallest block fits.
    """
    dtype = np.dtype(dtype)

    def plan(base: int, budget: int) -> PyramidPlan:
        return plan_pyramid(
            1 if is_ink else layers,
            dtype,
            source_chunk=int(np.prod(chunks, dtype=np.int64)) * dtype.itemsize,
            heights=heights,
            # Chunks of ink are large: each is read once for all that is made of it.
            pieces=() if is_ink else _PIECES,
            threads=min(threads, workers.threads) if workers else threads,
            base=base,
            budget=budget,
        )

    if workers is not None:
        return workers.plan(plan, least)
    return plan(base, max(budget, base + least))
