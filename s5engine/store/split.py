"""Source or volume → the 2025 system's tree of parts, all parts in one pass over the rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from s5engine import console
from s5engine.address import on_this_machine, recorded
from s5engine.alignment import check_ascending
from s5engine.budget import resolve_budget, share_arena
from s5engine.errors import InvalidArgumentError, S5Error
from s5engine.geometry import PART_WIDTH, part_columns
from s5engine.paths import check_output, path_name
from s5engine.runtime.same_work import as_json
from s5engine.store.bands import VolumeBands
from s5engine.store.cut import Job, cut
from s5engine.store.cut_bands import unwritable
from s5engine.store.origins import stores_below
from s5engine.store.parts_tree import CONTRASTED, PLAIN, TreeRecord, find_parts, part_folder

if TYPE_CHECKING:
    import xarray as xr

    from s5engine.address import StorageOptions
    from s5engine.source.listing import LayerIndex
    from s5engine.source.stack import LayerStack


def split(
    source: str | Path | LayerIndex | xr.DataArray,
    directory: str | Path,
    *,
    width: int = PART_WIDTH,
    first_offset: int = 0,
    parts: Sequence[int] | None = None,
    layers: Sequence[int] | None = None,
    lookup: np.ndarray | None = None,
    contrast: Sequence[Sequence[float]] | None = None,
    budget: int | str | None = None,
    storage_options: StorageOptions | None = None,
    resume: bool = True,
    progress: bool = True,
) -> dict[int, Path]:
    """Cut a segment into the 2025 system's tree of parts, as TIFF files.

    Writes ``<directory>/<segment>/parts_contrasted/<segment>_<NN>/layers/<LL>.tif`` (``parts/``
    without a lookup) and, where layer 10 is among the layers, ``mask.png`` beside ``layers``: 255
    where layer 10 is not 0. Layers that are there and fit are kept, an interrupted call goes on
    where it was, a mask that is there is never replaced.

    On a dask cluster (`s5engine.cluster`) each band of rows is a task, which reads and writes on a
    disk that all workers see; layers on a server are read by this process alone.

    Parameters
    ----------
    source : str, Path, LayerIndex or (layer, y, x) DataArray
        Layer files or an opened volume; uint8 or uint16.
    directory : str or Path
        Where the segment's folder goes.
    width, first_offset : int
        The grid of the parts, px (see `s5engine.geometry.part_columns`).
    parts : sequence of int, optional
        Only these parts, numbered from 1.
    layers : sequence of int, optional
        Only these layer numbers.
    lookup : (256,) or (65536,) ndarray, optional
        Table that every pixel goes through, of the pixels' type.
    contrast : sequence of (x, y), optional
        The points that the lookup was made from, to be noted; given exactly if ``lookup`` is.
    budget : int or str, optional
        Memory that this process, or all processes together, may use; 60 % of the machine's by
        default.
    storage_options : mapping, optional
        Passed on to the source.
    resume : bool
        If false, the chosen layers are written again even if they are there.
    progress : bool
        Show how far it is.

    Returns
    -------
    dict of int to Path
        The folder of each chosen part.

    Raises
    ------
    InvalidArgumentError
        If the parts, layers or lookup do not fit.
    BudgetError
        If even the lowest bands do not fit into the budget.
    ResumeError, SourceChangedError
        If the tree was cut with other settings, or from what the source no longer is.
    StoreError
        If a file cannot be written.
    """
    share_arena()
    wanted = opened_job(
        source,
        directory,
        width=width,
        first_offset=first_offset,
        parts=parts,
        layers=layers,
        lookup=lookup,
        contrast=contrast,
        budget=budget,
        storage_options=storage_options,
    )
    with wanted as job:
        try:
            cut(job, resume=resume, progress=progress)
        except OSError as error:
            if isinstance(error, S5Error):
                raise
            raise unwritable(error, str(job.tree)) from error
    segment = job.record.segment
    if progress:
        console.say(f"split: {job.tree} holds {len(find_parts(job.tree))} parts of {segment}")
    return {n: part_folder(job.tree, segment, n) for n in job.grid}


@contextmanager
def opened_job(
    source: str | Path | LayerIndex | xr.DataArray,
    directory: str | Path,
    *,
    width: int,
    first_offset: int,
    parts: Sequence[int] | None,
    layers: Sequence[int] | None,
    lookup: np.ndarray | None,
    contrast: Sequence[Sequence[float]] | None,
    budget: int | str | None,
    storage_options: StorageOptions | None,
) -> Iterator[Job]:
    """Open the source and say what is cut from it; the arguments are those of `split`.

    Raises
    ------
    InvalidArgumentError
        If the parts, layers or lookup do not fit.
    """
    reader, rows, columns = _reader(source, layers, storage_options)
    with closing(reader):
        dtype = np.dtype(reader.dtype).newbyteorder("=")
        table = _checked_lookup(lookup, contrast, dtype, source)
        record = TreeRecord(
            segment=path_name(reader.segment, "segment"),
            source=recorded(reader.url),
            fingerprint=as_json(reader.fingerprint()),
            dtype=dtype.name,
            rows=rows,
            columns=columns,
            part_width=width,
            first_offset=first_offset,
            contrast=None if contrast is None else [[float(x), float(y)] for x, y in contrast],
        )
        grid = _chosen_parts(record, parts)
        place = on_this_machine(directory, "Parts are written on this machine, not to {}.")
        tree = place / record.segment / (PLAIN if table is None else CONTRASTED)
        check_output(tree, *_places(source), reader.url or None, what="tree of parts")
        size = resolve_budget(budget)
        yield Job(reader, tree, record, grid, tuple(reader.layers), table, size)


def _places(source: str | Path | LayerIndex | xr.DataArray) -> list[str | Path | None]:
    """Return where a source lies, as far as it says so."""
    import xarray as xr

    if isinstance(source, xr.DataArray):
        return list(stores_below(source))
    return [source if isinstance(source, str | Path) else source.url]


def _reader(
    source: str | Path | LayerIndex | xr.DataArray,
    layers: Sequence[int] | None,
    storage_options: StorageOptions | None,
) -> tuple[LayerStack | VolumeBands, tuple[int, int], tuple[int, int]]:
    """Open the source; return it with its rows and columns in segment pixels."""
    import xarray as xr

    if isinstance(source, xr.DataArray):
        missing = sorted({*layers} - {*source["layer"].values.tolist()}) if layers else []
        if missing:
            raise InvalidArgumentError(
                f"The volume has no layers {missing}; it has {source['layer'].values.tolist()}."
            )
        check_ascending(source["layer"].values if layers is None else layers)
        volume = VolumeBands(source, layers)
        box = volume.box
        return volume, (box.y0, box.y1), (box.x0, box.x1)
    from s5engine.source.stack import open_stack

    stack = open_stack(source, layers=layers, storage_options=storage_options)
    return stack, (0, stack.shape[0]), (0, stack.shape[1])


def _checked_lookup(
    lookup: np.ndarray | None, contrast: object, dtype: np.dtype, source: object
) -> np.ndarray | None:
    if dtype not in (np.uint8, np.uint16):
        raise InvalidArgumentError(f"Parts are cut from uint8 or uint16 layers, not {dtype}.")
    if (lookup is None) != (contrast is None):
        raise InvalidArgumentError(
            "A lookup and the contrast points that it was made from are given together or not at "
            "all; one of them is missing."
        )
    if lookup is None:
        return None
    size = 256**dtype.itemsize
    if lookup.shape != (size,) or lookup.dtype != dtype:
        raise InvalidArgumentError(
            f"The lookup has {lookup.shape} values of {lookup.dtype}; {dtype} pixels need {size} "
            f"values of {dtype}."
        )
    if getattr(source, "attrs", {}).get("contrast") is not None:
        raise InvalidArgumentError(
            "The volume has gone through a contrast lookup already.",
            "Split it without one, or open it without contrast.",
        )
    return np.ascontiguousarray(lookup)


def _chosen_parts(record: TreeRecord, parts: Sequence[int] | None) -> dict[int, tuple[int, int]]:
    """Return the columns of the chosen parts, as far as the source has them."""
    x0, x1 = record.columns
    grid = {
        number: (max(start, x0), end)
        for number, (start, end) in part_columns(x1, record.part_width, record.first_offset).items()
        if end > x0
    }
    wanted = list(grid) if parts is None else sorted({int(n) for n in parts})
    missing = [n for n in wanted if n not in grid]
    if missing or not wanted:
        raise InvalidArgumentError(
            f"There are no parts {missing}: the segment {record.segment} has the parts "
            f"{min(grid)} to {max(grid)}."
        )
    return {n: grid[n] for n in wanted}
