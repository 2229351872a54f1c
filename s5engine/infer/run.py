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

from s5engine.budget import peak_rss
from s5engine.console import progress as show_progress
from s5engine.console import say
from s5engine.errors import InvalidArgumentError, StoreError
from s5engine.infer.execute import Index, compute_blocks
from s5engine.infer.products import write_npy, write_overview, write_png
from s5engine.infer.record import RECORD_NAME, read_record, versions, write_record
from s5engine.infer.surgery import needed_blocks, recover_tiles, replace_tiles
from s5engine.store.progress import Journal

if TYPE_CHECKING:
    import dask.array as da
    import xarray as xr

FORMATS = ("zarr", "npy", "png")
_JOURNAL = "progress.jsonl"
_BLOCK = 1024


@dataclass(frozen=True)
class Run:
    """A finished inference: its folder and its record.

    Attributes
    ----------
    directory : Path
        Where everything lies.
    record : dict
        What ``run.json`` says: settings, source, checkpoint, versions, times, memory peak, device.
    """

    directory: Path
    record: dict[str, Any]

    @property
    def ink(self) -> xr.DataArray:
        """The ink, lazy (window, y, x)."""
        return _open(self.directory / "ink.zarr", "ink")

    @property
    def tiles(self) -> xr.DataArray:
        """The tile predictions, lazy (window, tile_y, tile_x, v, u), ready for `blend`."""
        return _open(self.directory / "tiles.zarr", "tiles")


def open_run(directory: str | Path) -> Run:
    """Open a run that `write_run` has finished.

    Raises
    ------
    StoreError
        If there is no finished run in the folder.
    """
    folder = Path(directory)
    record = read_record(folder)
    if not record.get("completed"):
        raise StoreError(
            f"The run in {folder} is not finished.", "The same command again lets it go on."
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
        Folder of the run: ``ink.zarr``, ``tiles.zarr``, ``npy_files/``, ``visualizations/``,
        ``overview.png`` and ``run.json``.
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
    _check(ink, formats, dtype)
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    settings = _settings(ink, formats, dtype)
    with Journal.open(folder / _JOURNAL, settings, resume=resume) as journal:
        if journal.is_complete and (folder / RECORD_NAME).exists():
            return _report(open_run(folder), progress)
        if not journal.units:
            _clear(folder)
        return _report(_write(ink, folder, settings, journal, progress), progress)


def _write(
    ink: xr.DataArray, folder: Path, settings: dict[str, Any], journal: Journal, progress: bool
) -> Run:
    """Do what the journal does not say is done."""
    started, clock = datetime.now(UTC), time.monotonic()
    record: dict[str, Any] = {"completed": False, "settings": settings, "versions": versions()}
    write_record(folder, record)
    lazy = ink if ink.chunks is not None else ink.chunk({"y": _BLOCK, "x": _BLOCK})
    tiles = recover_tiles(lazy)
    times = {}
    if tiles is not None:
        if progress:
            say(f"predict: on {ink.attrs.get('device')}, {ink.attrs.get('precision')}")
        stored = _store_tiles(lazy, tiles, folder / "tiles.zarr", settings["dtype"], journal,
                              progress)  # fmt: skip
        lazy = replace_tiles(lazy, tiles, stored)
        times["predict_s"] = round(time.monotonic() - clock, 3)
    _store_ink(lazy, folder / "ink.zarr", settings["dtype"], journal, progress)
    times["blend_s"] = round(time.monotonic() - clock - times.get("predict_s", 0), 3)
    _write_products(folder, settings["formats"])
    record |= {
        "completed": True,
        "started": started.isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "times": times | {"total_s": round(time.monotonic() - clock, 3)},
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


def _check(ink: xr.DataArray, formats: Sequence[str], dtype: str) -> None:
    """Refuse what cannot be written before anything runs."""
    if ink.dims != ("window", "y", "x"):
        raise InvalidArgumentError(
            f"Ink has the dims (window, y, x), not {ink.dims}.", "Write what predict_ink returns."
        )
    if 0 in ink.shape:
        raise InvalidArgumentError(
            f"This ink is empty: {dict(ink.sizes)}.", "Choose a larger crop."
        )
    unknown = [f for f in formats if f not in FORMATS]
    if unknown or not formats or isinstance(formats, str):
        raise InvalidArgumentError(f"formats are some of {FORMATS}, not {formats!r}.")
    if dtype not in ("float32", "float16"):
        raise InvalidArgumentError(f'dtype is "float32" or "float16", not {dtype!r}.')


def _settings(ink: xr.DataArray, formats: Sequence[str], dtype: str) -> dict[str, Any]:
    """Return all that the result depends on, as JSON values."""
    return {k: _plain(v) for k, v in ink.attrs.items()} | {
        "written_windows": [int(w) for w in ink.window.values],
        "written_box": [int(ink.y[0]), int(ink.y[-1]) + 1, int(ink.x[0]), int(ink.x[-1]) + 1],
        "formats": list(formats),
        "dtype": dtype,
    }


def _plain(value: Any) -> Any:
    """Return numpy scalars and arrays as what JSON knows."""
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value


def _clear(folder: Path) -> None:
    """Remove what an earlier attempt without a single finished block may have left."""
    for name in ("tiles.zarr", "ink.zarr", "npy_files", "visualizations"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in (RECORD_NAME, "overview.png"):
        (folder / name).unlink(missing_ok=True)


def _store_tiles(
    ink: xr.DataArray, tiles: xr.DataArray, path: Path, dtype: str, journal: Journal, progress: bool
) -> da.Array:
    """Compute the blocks of tile predictions that the ink needs and the journal lacks."""
    chunks = (1, *(size[0] for size in tiles.chunks[1:3]), *tiles.shape[3:])
    array = _create(tiles, path, chunks, dtype, np.nan)
    needed = needed_blocks(ink.data, tiles.data)
    _write_blocks("predict", tiles.data, array, needed, journal, progress)
    return array


def _store_ink(ink: xr.DataArray, path: Path, dtype: str, journal: Journal, progress: bool) -> None:
    """Write the blocks of ink that the journal lacks."""
    sides = [min(_BLOCK, n) if n else 1 for n in ink.shape[1:]]
    if "block" in ink.attrs:
        sides = [min(step, n) for step, n in zip(ink.attrs["block"], ink.shape[1:], strict=True)]
    array = _create(ink, path, (1, *sides), dtype, 0)
    data = ink.data.rechunk((ink.shape[0], *sides))
    indices = [(0, i, j) for j in range(data.numblocks[2]) for i in range(data.numblocks[1])]
    _write_blocks("blend", data, array, indices, journal, progress)


def _write_blocks(
    step: str, data: da.Array, array: Any, indices: list[Index], journal: Journal, progress: bool
) -> None:
    """Write blocks of ``data`` to the zarr array, each once, and journal them."""
    todo = [i for i in indices if _unit(step, i) not in journal]
    finished = len(indices) - len(todo)
    writer = data.map_blocks(
        _write_block,
        target=array,
        offsets=[np.concatenate([[0], np.cumsum(c)]).tolist() for c in data.chunks],
        name=f"write-{data.name}",
        dtype=bool,
        meta=np.empty((0,) * data.ndim, bool),
        chunks=tuple((1,) * n for n in data.numblocks),
    )
    with show_progress(step, len(indices), "blocks", done=finished, enabled=progress) as meter:

        def done(index: Index) -> None:
            journal.finish(_unit(step, index))
            meter.advance()

        compute_blocks(writer, todo, done)


def _unit(step: str, index: Index) -> str:
    """Return the journal's name of a block."""
    return f"{step} {index[1]} {index[2]}"


def _write_block(
    block: np.ndarray, *, target: Any, offsets: list[list[int]], block_id: Index
) -> np.ndarray:
    """Write one block to its place; whole chunks of the target, which no other block touches."""
    place = tuple(
        slice(offsets[axis][i], offsets[axis][i] + side)
        for axis, (i, side) in enumerate(zip(block_id, block.shape, strict=True))
    )
    target[place] = block.astype(target.dtype, copy=False)
    return np.ones((1,) * block.ndim, bool)


def _create(
    like: xr.DataArray, path: Path, chunks: tuple[int, ...], dtype: str, fill: float
) -> Any:
    """Create a zarr group with the array and its coordinates, or open the one that is there."""
    import zarr

    name = str(like.name)
    if (path / name / "zarr.json").exists():
        return zarr.open_group(path, mode="r+")[name]
    shutil.rmtree(path, ignore_errors=True)
    group = zarr.create_group(path)
    for coordinate in like.dims:
        if coordinate in like.coords:
            values = like[coordinate].values
            axis = group.create_array(
                coordinate, shape=values.shape, dtype=values.dtype, chunks=values.shape,
                dimension_names=(str(coordinate),),
            )  # fmt: skip
            axis[:] = values
    return group.create_array(
        name, shape=like.shape, dtype=dtype, chunks=chunks, fill_value=fill,
        dimension_names=[str(d) for d in like.dims],
        attributes={k: _plain(v) for k, v in like.attrs.items()},
    )  # fmt: skip


def _open(path: Path, name: str) -> xr.DataArray:
    """Open an array that `_create` made, lazily."""
    import xarray as xr

    if not path.exists():
        raise StoreError(
            f"{path} is not there: the run was written without zarr.",
            'Write it again with "zarr" among the formats.',
        )
    return xr.open_zarr(path, consolidated=False, chunks={})[name]


def _write_products(folder: Path, formats: Sequence[str]) -> None:
    """Write pictures and arrays from the stored ink."""
    ink = _open(folder / "ink.zarr", "ink").astype(np.float32)
    write_overview(ink, folder / "overview.png")
    if "npy" in formats:
        write_npy(ink, folder)
    if "png" in formats:
        write_png(ink, folder)
    if "zarr" not in formats:
        for name in ("ink.zarr", "tiles.zarr"):
            shutil.rmtree(folder / name, ignore_errors=True)
