"""Cutting the missing parts: bands of rows in, rows of many files out, masks at the end."""

from __future__ import annotations

import functools
import secrets
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from s5engine import console
from s5engine.atomic import write_json
from s5engine.budget import current_rss
from s5engine.errors import afresh
from s5engine.geometry import Box
from s5engine.runtime.clients import asked_threads
from s5engine.runtime.journal import Journal
from s5engine.runtime.same_work import check_settings, check_source
from s5engine.store.band_plan import BandPlan, choose_split_bands, in_flight, row_bands
from s5engine.store.band_tasks import Task, Workers, budget_here, find_workers
from s5engine.store.bands import VolumeBands
from s5engine.store.cut_bands import Cutting
from s5engine.store.part_file import PartFile, is_valid_layer, rows_by_token, unit_of
from s5engine.store.part_mask import MASK_LAYER, MASK_STEP, write_mask
from s5engine.store.parts_tree import (
    RECORD,
    TreeRecord,
    find_parts,
    layer_file,
    part_folder,
    read_tree_record,
)

if TYPE_CHECKING:
    from s5engine.source.stack import LayerStack


@dataclass(frozen=True)
class Job:
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
        """Type of the pixels."""
        return np.dtype(self.record.dtype)


def cut(job: Job, *, resume: bool, progress: bool) -> None:
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
        _masks(job, journal, progress=progress)
        journal.remove()


def _files(job: Job) -> Iterator[PartFile]:
    for number, columns in job.grid.items():
        for layer in job.layers:
            path = layer_file(job.tree, job.record.segment, number, layer)
            yield PartFile(path, number, layer, columns)


def _is_there(job: Job, file: PartFile) -> bool:
    rows, (x0, x1) = job.record.rows, file.columns
    return is_valid_layer(file.path, (rows[1] - rows[0], x1 - x0), job.dtype)


def _agree(job: Job, *, resume: bool) -> None:
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
        check_source(
            known,
            wanted["fingerprint"],
            job.record.source,
            str(job.tree),
            afresh("Split all parts afresh", ", or into another directory"),
        )
    if found is None or found.to_json() != wanted:
        write_json(note, wanted)


def _passes(job: Job, pending: list[PartFile]) -> list[list[PartFile]]:
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


def _hull(job: Job, files: list[PartFile]) -> Box:
    """Return the box that the files still need."""
    return Box(
        min(file.done for file in files),
        job.record.rows[1],
        min(file.columns[0] for file in files),
        max(file.columns[1] for file in files),
    )


def _pass(job: Job, files: list[PartFile], journal: Journal, *, progress: bool) -> None:
    """Read the rows that the files need, once, and let every file grow by each band."""
    workers = find_workers("split", job.reader, job.budget)
    box, layers = _hull(job, files), _layers(files)
    threads = workers.threads if workers else asked_threads()
    plan = plan_pass(job, files, workers)
    bands = [(box.y0 + y0, box.y0 + y1) for y0, y1 in plan.bands]
    tokens = _begin(job, files, journal)
    cutting = Cutting(
        tuple(files),
        layers,
        (box.x0, box.x1),
        job.record.rows[0],
        job.dtype,
        job.lookup,
        ahead=plan.ahead,
        in_flight=in_flight(plan.budget),
        threads=threads,
    )
    cut_bands = (
        functools.partial(cutting.cut_on, workers, journal.attempt()) if workers else cutting.cut
    )
    with (
        console.progress(
            "split", sum(y1 - y0 for y0, y1 in bands), "rows", enabled=progress
        ) as meter,
        closing(cut_bands(job.reader, bands)) as done,
    ):
        for y0, y1 in done:
            for token in tokens:
                rows = y1 - job.record.rows[0]
                mine = [file for file in files if file.token == token]
                ends = {file.temporary: file.end_of(rows, job.dtype) for file in mine}
                journal.finish(unit_of(token, y1), ends, ends=ends)
            meter.advance(y1 - y0)
    for file in files:
        file.finish()


def fresh_passes(job: Job) -> list[list[PartFile]]:
    """Return the passes in which all files of a job are cut if none of them is there."""
    files = list(_files(job))
    for file in files:
        file.done = job.record.rows[0]
    return _passes(job, files)


def plan_pass(job: Job, files: list[PartFile], workers: Workers | None) -> BandPlan:
    """Return the bands of one pass, for this process or for each worker.

    Raises
    ------
    BudgetError
        If not even the lowest bands fit.
    """
    threads = workers.threads if workers else asked_threads()
    make = functools.partial(_plan, job, _hull(job, files), _layers(files), threads)
    return workers.plan(make) if workers else make(current_rss(), budget_here(job.budget))


def _layers(files: list[PartFile]) -> tuple[int, ...]:
    return tuple(sorted({file.layer for file in files}))


def _begin(job: Job, files: list[PartFile], journal: Journal) -> list[str]:
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


def _plan(
    job: Job, box: Box, layers: tuple[int, ...], threads: int | None, base: int, budget: int
) -> BandPlan:
    return choose_split_bands(
        (len(layers), box.height, box.width),
        job.dtype.itemsize,
        part_width=job.record.part_width,
        budget=budget,
        base=base,
        source_bytes=lambda rows: job.reader.overhead_bytes(
            row_bands(box.y0, box.y1, rows),
            box.x0,
            box.x1,
            layers=layers,
            in_flight=in_flight(budget),
            threads=threads,
        ),
    )


def _masks(job: Job, journal: Journal, *, progress: bool) -> None:
    """Write the masks that are missing, from the parts' own layer 10."""
    todo = []
    for number in job.grid:
        layer = layer_file(job.tree, job.record.segment, number, MASK_LAYER)
        mask = part_folder(job.tree, job.record.segment, number) / "mask.png"
        if layer.exists() and not mask.exists():
            todo.append((number, functools.partial(write_mask, layer.absolute(), mask.absolute())))
    # Parts are files on this disk, wherever the layers came from.
    workers = find_workers("split", None, job.budget) if todo else None
    masks = workers.run(MASK_STEP, todo, journal.attempt()) if workers else _each(todo)
    with (
        console.progress("masks", len(todo), "parts", enabled=progress and bool(todo)) as meter,
        closing(masks) as done,
    ):
        for _ in done:
            meter.advance()


def _each(tasks: Sequence[tuple[int, Task]]) -> Generator[int]:
    """Do one task after the other in this thread; yield what each was for."""
    for number, task in tasks:
        task()
        yield number
