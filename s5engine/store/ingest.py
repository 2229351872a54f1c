"""Source → store: whole shards, band by band, within a memory budget, resumable at any moment."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from s5engine import console
from s5engine.address import on_this_machine
from s5engine.budget import current_rss, resolve_budget, share_arena
from s5engine.errors import afresh
from s5engine.geometry import Box
from s5engine.paths import check_output
from s5engine.runtime.clients import asked_threads
from s5engine.runtime.journal import Journal, discard
from s5engine.runtime.same_work import as_json, check_settings, check_source
from s5engine.store.band_plan import BandPlan
from s5engine.store.band_tasks import Workers, budget_here, find_workers
from s5engine.store.chunk_keys import files_of
from s5engine.store.create import (
    create_store,
    find_record,
    first_level,
    level_files,
    make_folder,
    mark_complete,
    remove_strays,
)
from s5engine.store.ingest_plan import (
    bands_of,
    check_format,
    load_libraries,
    plan_coarser,
    wanted_record,
)
from s5engine.store.ome import VolumeRecord, ZarrFormat
from s5engine.store.present import check_present
from s5engine.store.pyramid import write_levels
from s5engine.store.volume import open_volume
from s5engine.store.write_bands import write_bands, write_bands_on

if TYPE_CHECKING:
    import xarray as xr

    from s5engine.address import StorageOptions
    from s5engine.source.listing import LayerIndex
    from s5engine.source.stack import LayerStack


def ingest(
    source: str | Path | LayerIndex,
    store: str | Path,
    *,
    layers: Sequence[int] | None = None,
    box: Sequence[int] | None = None,
    resume: bool = True,
    budget: int | str | None = None,
    storage_options: StorageOptions | None = None,
    zarr_format: ZarrFormat = 3,
    progress: bool = True,
    pyramid: bool = True,
) -> xr.DataArray:
    """Copy the layers of a source into a chunked store, and open it.

    The source is read once, in bands of whole rows; what is fetched, decoded and written at a time
    stays within the budget. Killed at any moment, the same call goes on where it was.

    On a dask cluster (`s5engine.cluster`) each band is a task, which reads and writes on a disk
    that all workers see, and so is each block of the coarser levels; layers on a server are read
    by this process alone.

    Parameters
    ----------
    source : str, Path or LayerIndex
        Address or folder of the layers, or what `list_layers` found there.
    store : str or Path
        Where the OME-Zarr goes, on this machine.
    layers : sequence of int, optional
        Layer numbers to take; all by default.
    box : (y0, y1, x0, x1), optional
        Crop in segment pixels, half-open; everything by default.
    resume : bool
        Go on with an unfinished store. If false, an earlier store of ours is deleted first.
    budget : int or str, optional
        Memory that this process, or all processes together, may use, bytes or a text such as
        ``"4 GiB"``; 60 % of the machine's by default.
    storage_options : mapping, optional
        Passed on to the source.
    zarr_format : {3, 2}
        3: OME-Zarr 0.5 with shards. 2: OME-Zarr 0.4 with plain chunks, as older viewers read it.
    progress : bool
        Show how far it is.
    pyramid : bool
        Add coarser levels to the store when it is complete, as `write_pyramid` does.

    Returns
    -------
    (layer, y, x) DataArray
        The store, opened by `open_volume`.

    Raises
    ------
    BudgetError
        If even the smallest bands do not fit into the budget.
    SourceChangedError
        If the source is no longer what the unfinished store was begun from.
    ResumeError
        If the store was begun with other settings.
    StoreError
        If the store cannot be written, or something else is at its place.
    """
    check_format(zarr_format)
    load_libraries(pyramid)
    from s5engine.source.stack import open_stack

    share_arena()
    path = _target(store)
    size, here, held = resolve_budget(budget), budget_here(budget), current_rss()
    with open_stack(source, layers=layers, storage_options=storage_options) as stack:
        check_output(path, stack.url, what="store")
        wanted = wanted_record(stack, box, zarr_format)
        found = find_record(path)
        if found is not None and resume:
            check_same(found, wanted, path)
        if pyramid:  # what would not fit at the end is refused now
            halving = find_workers("pyramid", None, size)
            plan_coarser(wanted, base=held, budget=size, workers=halving)
        if found is None or not found.complete or not resume:
            workers = find_workers("ingest", stack, size)
            height = found.band_height if found and resume else None
            plan = bands_of(stack, wanted, size if workers else here, height, workers)
            _fill(stack, path, wanted, plan, found, workers, resume=resume, progress=progress)
        else:
            check_present(path)
            # Killed between the last line of the journal and its end.
            discard(journal_path(path))
    if pyramid:
        write_levels(path, budget=size, held=held, progress=progress)
    volume = open_volume(path)
    if progress:
        console.say(
            f"ingest: {path} holds {len(wanted.layers)} layers of {wanted.segment}, "
            f"{volume.sizes['y']} × {volume.sizes['x']} px"
        )
    return volume


def journal_path(store: Path) -> Path:
    """Return where the journal of an unfinished store is: beside it."""
    return store.with_name(store.name + ".journal")


def check_same(found: VolumeRecord, wanted: VolumeRecord, path: Path) -> None:
    """Refuse to go on with a store that was begun from another source or with other settings.

    Raises
    ------
    ResumeError
        If the settings differ.
    SourceChangedError
        If the source's files are other ones now.
    """
    check_settings(found.settings(), wanted.settings(), f"The store {path}")
    check_source(
        found.fingerprint,
        as_json(wanted.fingerprint),
        wanted.source,
        str(path),
        afresh(other=", or choose another store"),
    )


def _target(store: str | Path) -> Path:
    return on_this_machine(
        store,
        "The store {} is not on this machine; shards are only written to local disks.",
        "Ingest into a local path and upload the folder when it is complete.",
    )


def _fill(
    stack: LayerStack,
    path: Path,
    wanted: VolumeRecord,
    plan: BandPlan,
    found: VolumeRecord | None,
    workers: Workers | None,
    *,
    resume: bool,
    progress: bool,
) -> None:
    """Write the bands that the journal does not have yet."""
    from dataclasses import replace

    record, box = replace(wanted, band_height=plan.band_height), Box(*wanted.box)
    make_folder(path.parent)
    settings = {**record.settings(), "band_height": plan.band_height}
    # A journal whose store is gone proves nothing.
    go_on = resume and found is not None
    with Journal.open(journal_path(path), settings, resume=go_on) as journal:
        if not journal.units:
            create_store(path, record)
        remove_strays(path)
        todo = [band for band in plan.bands if unit_of_band(band) not in journal]
        rows = [sum(y1 - y0 for y0, y1 in bands) for bands in (plan.bands, todo)]
        where = stack, level_files(path, record), box, plan, todo
        with (
            console.progress(
                "ingest", rows[0], "rows", done=rows[0] - rows[1], enabled=progress
            ) as meter,
            closing(
                write_bands_on(workers, journal.attempt(), *where)
                if workers
                else write_bands(*where, threads=asked_threads())
            ) as written,
        ):
            array = first_level(path)
            for band in written:
                box_of_band = (slice(None), slice(*band), slice(None))
                journal.finish(unit_of_band(band), files_of(array, box_of_band))
                meter.advance(band[1] - band[0])
        mark_complete(path)
        journal.remove()


def unit_of_band(band: tuple[int, int]) -> str:
    """Return the journal's name of a band."""
    return f"rows {band[0]}:{band[1]}"
