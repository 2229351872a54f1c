"""Write a run: tile predictions, ink and products, block by block, so that it can be killed.

The network's answers are stored before they are blended. A run that goes on therefore never runs a
finished tile again, and the ink can be blended anew without the network.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from s5engine.address import local_file
from s5engine.budget import current_rss, peak_rss, share_arena
from s5engine.console import as_html, say
from s5engine.errors import S5Error, StoreError, WayOut
from s5engine.foreign import brief
from s5engine.infer.execution import Execution
from s5engine.infer.memory_plan import levels_least
from s5engine.infer.products import write_npy, write_overview, write_png
from s5engine.infer.record import (
    JOURNAL,
    RECORD_NAME,
    STORES,
    read_record,
    stores_in,
    versions,
    write_record,
)
from s5engine.infer.run_settings import FORMATS, check_ink, settings_of
from s5engine.infer.stored import open_stored
from s5engine.infer.tile_array import pick_statistic
from s5engine.paths import check_output
from s5engine.runtime.clients import current_client
from s5engine.runtime.journal import Journal
from s5engine.runtime.journal_lines import read_finished, read_units
from s5engine.runtime.same_work import as_json, check_settings
from s5engine.store.nodes import consolidate
from s5engine.store.origins import stores_below
from s5engine.store.present import check_present, holds_nothing, note_all_present
from s5engine.store.pyramid import write_levels

if TYPE_CHECKING:
    import xarray as xr

_FOLDERS = (*STORES, "npy_files", "visualizations")
_FILES = (RECORD_NAME, "overview.png")


@dataclass(frozen=True)
class Run:
    """An inference, finished unless it was opened with ``partial=True``: its folder and record.

    Attributes
    ----------
    directory : Path
        Where everything lies.
    record : dict
        What ``run.json`` says: settings, source, checkpoint, versions, times, memory peak, device.
    """

    directory: Path
    record: dict[str, Any]

    def __repr__(self) -> str:
        settings = self.record.get("settings", {})
        windows = [str(window) for window in settings.get("written_windows") or []]
        y0, y1, x0, x1 = settings.get("written_box") or (0, 0, 0, 0)
        done = "finished" if self.completed else f"unfinished, {self.share_done:.0%} done"
        place = f"{brief(settings.get('segment'))}, {y1 - y0} × {x1 - x0} px"
        return f"<Run {self.directory}: {done}; {place}, windows {', '.join(windows[:8])}>"

    def _repr_html_(self) -> str:
        return as_html(repr(self))

    @property
    def ink(self) -> xr.DataArray:
        """The ink, lazy (window, y, x); of an unfinished run, 0 where it is not there yet."""
        return open_stored(self.directory / "ink.zarr", "ink")

    @property
    def completed(self) -> bool:
        """Whether everything is written."""
        return bool(self.record.get("completed"))

    @property
    def blocks_done(self) -> dict[str, int]:
        """Blocks that the journal calls finished, of ``"predict"`` and of ``"blend"``."""
        units = read_units(self.directory / JOURNAL)
        return {s: sum(u.startswith(f"{s} ") for u in units) for s in ("predict", "blend")}

    @property
    def share_done(self) -> float:
        """How much of the blocks' work is done, 0 … 1."""
        total = sum(self.record.get("blocks", {}).values())
        return 1.0 if self.completed else sum(self.blocks_done.values()) / max(total, 1)

    @property
    def tiles(self) -> xr.DataArray:
        """The tile predictions, lazy (window, tile_y, tile_x, v, u), ready for `blend`."""
        tiles = open_stored(self.directory / "tiles.zarr", "tiles")
        return pick_statistic(tiles, "mean") if "statistic" in tiles.dims else tiles

    @property
    def spread(self) -> xr.DataArray:
        """How far the views of test-time augmentation disagree in each tile, as `tiles`.

        The population standard deviation, in [0, 0.5], 0 at ``tta=0``; lazy and ready for `blend`.

        Raises
        ------
        StoreError
            If the run was predicted without it.
        """
        tiles = open_stored(self.directory / "tiles.zarr", "tiles")
        if "statistic" not in tiles.dims:
            raise StoreError(
                f"The run in {self.directory} holds no spread: it was predicted without it.",
                WayOut("Predict again with spread=True.", "Predict again with --spread."),
            )
        return pick_statistic(tiles, "spread")


def open_run(directory: str | Path, *, partial: bool = False) -> Run:
    """Open a run that `write_run` has finished.

    Parameters
    ----------
    directory : str or Path
        Folder of the run.
    partial : bool
        Open an unfinished run as well, also while another process writes it: `Run.ink` is 0 where
        it is not there yet, `Run.blocks_done` says how far it is.

    Raises
    ------
    StoreError
        If there is no finished run in the folder; with ``partial``, none at all.
    """
    folder = local_file(directory, "run")
    record = read_record(folder)
    if not record.get("completed") and not partial:
        raise StoreError(
            f"The run in {folder} is not finished.",
            WayOut(
                "The same command again lets it go on; partial=True opens what is there.",
                "The same `s5 infer` again lets it go on; `s5 view` shows what is there.",
            ),
        )
    return Run(folder, record)


def write_run(
    ink: xr.DataArray,
    directory: str | Path,
    *,
    formats: Sequence[str] = FORMATS,
    dtype: str = "float32",
    resume: bool = True,
    progress: bool = True,
) -> Run:
    """Compute lazy ink and write it with its tile predictions, pictures and record.

    Parameters
    ----------
    ink : (window, y, x) DataArray
        From `predict_ink` (sliced or not) or `blend`; in memory works too.
    directory : str or Path
        Folder of the run: ``ink.zarr`` with its pyramid, ``tiles.zarr``, ``npy_files/``,
        ``visualizations/``, ``overview.png`` and ``run.json``.
    formats : sequence of {"zarr", "npy", "png"}
        What to leave there. Without ``"zarr"`` the zarr stores, which the run itself needs while
        it works, are removed at the end.
    dtype : {"float32", "float16"}
        How tile predictions and ink are stored as zarr.
    resume : bool
        Go on with a run that was stopped; false starts afresh.
    progress : bool
        Show how far it is.

    Returns
    -------
    Run

    Raises
    ------
    InvalidArgumentError
        If the ink, the formats or the type do not fit.
    ResumeError
        If the folder holds a run with other settings.
    StoreError
        If the folder cannot be written.
    """
    check_ink(ink, formats, dtype)
    folder = local_file(directory, "run")
    check_output(folder, *stores_below(ink), _source_of(ink), what="run")
    settings = settings_of(ink, formats, dtype)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _begin_or_go_on(ink, folder, settings, resume, progress)
    except S5Error:
        raise
    except OSError as error:
        raise StoreError(
            f"The run in {folder} cannot be written: {error}.",
            "Make room or check the rights, then run the same command to go on.",
        ) from error


def _source_of(ink: xr.DataArray) -> str | None:
    """Return the place of the pixels that ink was made from, as far as it says so."""
    source = ink.attrs.get("source")
    return source if isinstance(source, str) and source and Path(source).exists() else None


def _begin_or_go_on(
    ink: xr.DataArray, folder: Path, settings: dict[str, Any], resume: bool, progress: bool
) -> Run:
    """Write the run, or what is missing of it."""
    foreign = [name for name in (*_FOLDERS, *_FILES) if (folder / name).exists()]
    if foreign and not (folder / JOURNAL).exists():
        raise StoreError(
            f"{folder} holds {', '.join(foreign)}, but not the journal of a run: they may be "
            "somebody's results.",
            "Choose another folder, or move them away.",
        )
    if resume and (folder / RECORD_NAME).exists():  # it may be for reading alone by now
        found = read_finished(folder / JOURNAL)
        if found is not None:
            check_settings(found, as_json(settings), f"The work at {folder / JOURNAL}")
            for store in stores_in(folder):
                check_present(store)
            return _report(open_run(folder), progress)
    with Journal.open(folder / JOURNAL, settings, resume=resume) as journal:
        if journal.is_complete and (folder / RECORD_NAME).exists():
            return _report(open_run(folder), progress)
        if not journal.units:
            _clear(folder)
        return _report(_write(ink, folder, settings, journal, progress), progress)


def _write(
    ink: xr.DataArray, folder: Path, settings: dict[str, Any], journal: Journal, progress: bool
) -> Run:
    """Do what the journal does not say is done."""
    share_arena()
    started, clock, held = datetime.now(UTC), time.monotonic(), current_rss()
    record: dict[str, Any] = {"completed": False, "settings": settings, "versions": versions()}
    execution = Execution(ink, folder, settings["dtype"], journal)
    if execution.predicts and progress:
        if (client := current_client()) is not None:
            say(f"dashboard: {client.dashboard_link}")
        say(f"predict: on {ink.attrs.get('device')}, {ink.attrs.get('precision')}")
    if progress and execution.predicts_unkept:
        say(
            "this ink was worked on: tiles at the borders of its blocks are predicted for each of "
            "them, and none is kept. Quicker is to write the ink, and to work on its Run.ink"
        )
    record["blocks"] = execution.counts
    write_record(folder, record)
    execution.run(progress=progress)
    # A lazy mask is known only now, and the network has seen no tile.
    if execution.predicts and holds_nothing(folder / "tiles.zarr", "tiles"):
        say("the papyrus mask holds no papyrus: nothing was predicted; name another mask, or none")
    if "zarr" in settings["formats"]:  # else the ink is removed at the end
        budget = int(ink.attrs["budget"]) if "budget" in ink.attrs else None
        write_levels(
            folder / "ink.zarr",
            budget=budget,
            held=held,
            least=levels_least(),
            progress=progress,
        )
    for store in stores_in(folder):
        note_all_present(store)
        consolidate(store)
    _write_products(folder, settings["formats"])
    record |= {
        "completed": True,
        "started": started.isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "times": execution.step_seconds() | {"total_s": round(time.monotonic() - clock, 3)},
        "peak_rss_bytes": peak_rss(),
    }
    write_record(folder, record)
    journal.complete()
    return Run(folder, record)


def _report(run: Run, progress: bool) -> Run:
    """Say where the results are."""
    if progress:
        say(f"run: {run.directory} (overview.png, {RECORD_NAME})")
    return run


def _clear(folder: Path) -> None:
    """Remove what an earlier attempt without a single finished block may have left."""
    for name in _FOLDERS:
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in _FILES:
        (folder / name).unlink(missing_ok=True)


def _write_products(folder: Path, formats: Sequence[str]) -> None:
    """Write pictures and arrays from the stored ink."""
    ink = open_stored(folder / "ink.zarr", "ink").astype(np.float32)
    write_overview(ink, folder / "overview.png")
    if "npy" in formats:
        write_npy(ink, folder)
    if "png" in formats:
        write_png(ink, folder)
    if "zarr" not in formats:
        for name in ("ink.zarr", "tiles.zarr"):
            shutil.rmtree(folder / name, ignore_errors=True)
