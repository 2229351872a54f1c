"""Source or volume → the 2025 system's tree of parts, all parts in one pass over the rows."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from s5engine import console
from s5engine.budget import current_rss, resolve_budget
from s5engine.errors import InvalidArgumentError, SourceChangedError, StoreError
from s5engine.geometry import PART_WIDTH, Box, part_columns
from s5engine.store.bands import VolumeBands
from s5engine.store.part_file import PartFile, is_valid_layer, rows_by_token, unit_of
from s5engine.store.parts_tree import (
    CONTRASTED,
    PLAIN,
    RECORD,
    TreeRecord,
    find_parts,
    layer_file,
    part_folder,
    read_tree_record,
)
from s5engine.store.plan import WRITERS, BandPlan, in_flight, plan_split, row_bands
from s5engine.store.png import write_gray_png
from s5engine.store.progress import Journal, as_json, check_settings, differing_settings

if TYPE_CHECKING:
    import xarray as xr

    from s5engine.source.address import StorageOptions
    from s5engine.source.listing import LayerIndex
    from s5engine.source.stack import LayerStack

#: The layer whose zeros are not papyrus, as in 2025.
MASK_LAYER = 10


@dataclass(frozen=True)
class _Job:
    """What one call of `split` cuts."""

    reader: LayerStack | VolumeBands
    tree: Path
    record: TreeRecord
    grid: dict[int, tuple[int, int]]
    layers: tuple[int, ...]
    lookup: np.ndarray | None
    budget: int

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(self.record.dtype)


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
        Memory that this process may use; 60 % of the machine's by default.
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
    size = resolve_budget(budget)
    reader, rows, columns = _reader(source, layers, storage_options)
    with closing(reader):
        dtype = np.dtype(reader.dtype).newbyteorder("=")
        table = _checked_lookup(lookup, contrast, dtype, source)
        record = TreeRecord(
            segment=reader.segment,
            source=str(reader.url),
            fingerprint=as_json(reader.fingerprint()),
            dtype=dtype.name,
            rows=rows,
            columns=columns,
            part_width=width,
            first_offset=first_offset,
            contrast=None if contrast is None else [[float(x), float(y)] for x, y in contrast],
        )
        grid = _chosen_parts(record, parts)
        tree = Path(directory) / record.segment / (PLAIN if table is None else CONTRASTED)
        job = _Job(reader, tree, record, grid, tuple(reader.layers), table, size)
        try:
            _cut(job, resume=resume, progress=progress)
        except OSError as error:
            if isinstance(error, StoreError | SourceChangedError) or error.filename is None:
                raise
            raise StoreError(
                f"{error.filename} cannot be written: {error.strerror}.",
                "Make room or check the rights, then run the same command to go on.",
            ) from error
    folders = {n: part_folder(tree, record.segment, n) for n in grid}
    if progress:
        console.say(f"split: {tree} holds {len(find_parts(tree))} parts of {record.segment}")
    return folders


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
        volume = VolumeBands(source if layers is None else source.sel(layer=list(layers)))
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


def _cut(job: _Job, *, resume: bool, progress: bool) -> None:
    """Write what is missing, pass by pass, then the masks."""
    job.tree.mkdir(parents=True, exist_ok=True)
    with Journal.open(job.tree / "split.journal", {}) as journal:
        _agree(job, resume=resume)
        pending = [file for file in _files(job) if not (resume and _is_there(job, file))]
        finished = rows_by_token(journal.units)
        for file in pending:
            if not resume or not file.adopt(job.record.rows, job.dtype, finished):
                file.done = job.record.rows[0]
            elif file.done == job.record.rows[1]:
                file.finish()
        pending = [file for file in pending if file.done < job.record.rows[1]]
        for files in _passes(job, pending):
            _pass(job, files, journal, progress=progress)
        _masks(job)
        journal.remove()


def _files(job: _Job) -> Iterator[PartFile]:
    for number, columns in job.grid.items():
        for layer in job.layers:
            path = layer_file(job.tree, job.record.segment, number, layer)
            yield PartFile(path, number, layer, columns)


def _is_there(job: _Job, file: PartFile) -> bool:
    rows, (x0, x1) = job.record.rows, file.columns
    return is_valid_layer(file.path, (rows[1] - rows[0], x1 - x0), job.dtype)


def _agree(job: _Job, *, resume: bool) -> None:
    """Compare with what the tree was cut from before, and note what it is cut from now."""
    note, wanted = job.tree / RECORD, job.record.to_json()
    found = read_tree_record(job.tree)
    others = {*find_parts(job.tree)} - {*job.grid}
    if found is not None and (resume or others):
        before = found.to_json()
        check_settings(
            {**before, "fingerprint": None}, {**wanted, "fingerprint": None}, str(job.tree)
        )
        # Layer by layer: a call may have cut others than this one.
        known = before["fingerprint"]
        wanted["fingerprint"] = {**known, **wanted["fingerprint"]}
        changed = differing_settings(known, {k: wanted["fingerprint"][k] for k in known})
        if changed:
            key, (old, new) = next(iter(changed.items()))
            raise SourceChangedError(
                f"The source {job.record.source} has changed since {job.tree} was cut: {key} was "
                f"{old} and is now {new}.",
                "Split all parts afresh with resume=False, or into another directory.",
            )
    if found is None or found.to_json() != wanted:
        temporary = note.with_suffix(".partial")
        temporary.write_text(json.dumps(wanted, indent=1))
        temporary.replace(note)


def _passes(job: _Job, pending: list[PartFile]) -> list[list[PartFile]]:
    """Group the files into passes over the rows.

    One pass for all, unless reading each group of neighbouring parts by itself costs fewer bytes
    (layers in tiles, whose columns can be read alone).
    """
    if not pending:
        return []
    groups: list[list[PartFile]] = []
    for file in pending:
        if groups and file.columns[0] <= groups[-1][-1].columns[1]:
            groups[-1].append(file)
        else:
            groups.append([file])
    if isinstance(job.reader, VolumeBands):
        return groups
    alone = sum(job.reader.bytes_for(_hull(job, files)) for files in groups)
    return groups if alone < job.reader.bytes_for(_hull(job, pending)) else [pending]


def _hull(job: _Job, files: list[PartFile]) -> Box:
    """Return the box that the files still need."""
    return Box(
        min(file.done for file in files),
        job.record.rows[1],
        min(file.columns[0] for file in files),
        max(file.columns[1] for file in files),
    )


def _pass(job: _Job, files: list[PartFile], journal: Journal, *, progress: bool) -> None:
    """Read the rows that the files need, once, and let every file grow by each band."""
    tokens = _begin(job, files, journal)
    box = _hull(job, files)
    layers = tuple(sorted({file.layer for file in files}))
    plan = _plan(job, box, layers)
    bands = [(box.y0 + y0, box.y0 + y1) for y0, y1 in plan.bands]
    incoming = job.reader.iter_bands(
        bands,
        box.x0,
        box.x1,
        layers=layers,
        ahead=plan.ahead,
        in_flight=in_flight(job.budget),
    )
    with (
        console.progress("split", len(bands), "bands", enabled=progress) as meter,
        closing(incoming),  # type: ignore[type-var]
        ThreadPoolExecutor(WRITERS, "s5-split-write") as writers,
    ):
        for _ in bands:
            (y0, y1), pixels = next(incoming)
            for _done in writers.map(
                lambda file, y0=y0, pixels=pixels: _grow(
                    job, file, pixels[layers.index(file.layer)], y0, box.x0
                ),
                files,
            ):
                pass
            del pixels
            for token in tokens:
                journal.finish(unit_of(token, y1))
            meter.advance()
    for file in files:
        file.finish()


def _begin(job: _Job, files: list[PartFile], journal: Journal) -> list[str]:
    """Make the files, or rename those of an interrupted pass; return this pass's tokens.

    Files that have come equally far get one new token: the journal's lines for it then speak of
    these files alone, and not of others from the interrupted pass that are not cut now.
    """
    tokens: dict[int, str] = {}
    for file in files:
        if file.done not in tokens:
            tokens[file.done] = secrets.token_hex(4)
            journal.finish(unit_of(tokens[file.done], file.done))
        if file.token:
            file.rename(tokens[file.done])
        else:
            file.create(job.record.rows, job.dtype, tokens[file.done])
    return list(tokens.values())


def _plan(job: _Job, box: Box, layers: tuple[int, ...]) -> BandPlan:
    return plan_split(
        (len(layers), box.height, box.width),
        job.dtype.itemsize,
        part_width=job.record.part_width,
        budget=job.budget,
        base=current_rss(),
        source_bytes=lambda rows: job.reader.overhead_bytes(
            row_bands(box.y0, box.y1, rows),
            box.x0,
            box.x1,
            layers=layers,
            in_flight=in_flight(job.budget),
        ),
    )


def _grow(job: _Job, file: PartFile, band: np.ndarray, y0: int, x0: int) -> None:
    """Write the file's columns of a band of one layer, from the first row that it lacks."""
    import cv2

    skip = max(0, file.done - y0)
    if skip >= band.shape[0]:
        return
    first, last = file.columns
    pixels = np.ascontiguousarray(band[skip:, first - x0 : last - x0], job.dtype)
    if job.lookup is not None:
        pixels = cv2.LUT(pixels, job.lookup)
    file.write(pixels, y0 + skip - job.record.rows[0])


def _masks(job: _Job) -> None:
    """Write the masks that are missing, from the parts' own layer 10."""
    from s5engine.source.listing import LayerFile, LayerIndex
    from s5engine.source.stack import open_stack

    y0, y1 = job.record.rows
    for number, (x0, x1) in job.grid.items():
        folder = part_folder(job.tree, job.record.segment, number)
        layer = layer_file(job.tree, job.record.segment, number, MASK_LAYER)
        if (folder / "mask.png").exists() or not layer.exists():
            continue
        shape = (y1 - y0, x1 - x0)
        bands = [(y, min(y + 1024, shape[0])) for y in range(0, shape[0], 1024)]
        alone = LayerFile(MASK_LAYER, str(layer.absolute()), layer.name)
        index = LayerIndex({MASK_LAYER: alone}, str(layer.parent), segment=job.record.segment)
        with open_stack(index) as stack:
            rows = stack.iter_bands(bands, 0, shape[1], ahead=0)
            masks = (np.where(pixels[0] != 0, 255, 0).astype(np.uint8) for _, pixels in rows)
            write_gray_png(folder / "mask.png", shape, masks)
