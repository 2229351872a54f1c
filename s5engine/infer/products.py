"""What a finished run leaves for people and other tools: npy maps, pictures, an overview."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, BinaryIO

import numpy as np

from s5engine.atomic import atomic_write
from s5engine.ops.reduce import cell_sums
from s5engine.store.png import AT_ONCE, write_gray_png

if TYPE_CHECKING:
    import xarray as xr

#: Longest side of the overview, px: small enough for any picture viewer.
OVERVIEW_SIDE = 2000


def write_npy(ink: xr.DataArray, directory: Path) -> list[Path]:
    """Write ``npy_files/segmentation_layer_<n>.npy`` for each window, as 2025 names them.

    Blocks are written in place one by one: a whole float plane is never in memory.

    Parameters
    ----------
    ink : (window, y, x) DataArray, lazy
    directory : Path
        The run's folder.

    Returns
    -------
    list of Path
        (y, x) float32 arrays.
    """
    paths = []
    for plane, path in _planes(ink, directory / "npy_files", "npy"):
        with atomic_write(path) as partial, partial.open("wb") as file:
            _write_plane(file, plane)
        paths.append(path)
    return paths


def _write_plane(file: BinaryIO, plane: xr.DataArray) -> None:
    """Write a (y, x) plane as npy, row piece by row piece of each block.

    Not through a memory map: on a full disk that ends the process with a signal, not an error.
    """
    kind = np.dtype(np.float32)
    np.lib.format.write_array_header_1_0(
        file,
        {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": plane.shape},
    )
    first, width = file.tell(), plane.shape[1]
    for rows, columns in _blocks(plane):
        values = plane.data[rows, columns].compute(scheduler="synchronous")
        for y, row in enumerate(np.ascontiguousarray(values, kind), start=rows.start):
            file.seek(first + (y * width + columns.start) * kind.itemsize)
            file.write(row.data)


def write_png(ink: xr.DataArray, directory: Path) -> list[Path]:
    """Write ``visualizations/segmentation_layer_<n>.png``: ink · 255, truncated, 8-bit gray."""
    paths = []
    for plane, path in _planes(ink, directory / "visualizations", "png"):
        with TemporaryFile(dir=path.parent) as scratch:
            bands = _gray_bands(plane, scratch)
            write_gray_png(path, (plane.sizes["y"], plane.sizes["x"]), bands)
        paths.append(path)
    return paths


def write_overview(ink: xr.DataArray, path: Path) -> Path:
    """Write the mean over windows, reduced by averaging to at most 2,000 px, as a PNG."""
    factor = max(1, -(-max(ink.shape[1:]) // OVERVIEW_SIDE))
    height, width = (max(1, -(-side // factor)) for side in ink.shape[1:])
    total = np.zeros((height, width))
    count = np.zeros((height, width))
    for window in ink.window.values:
        plane = ink.sel(window=window)
        for rows, columns in _blocks(plane):
            values = plane.data[rows, columns].compute(scheduler="synchronous")
            first = (rows.start, columns.start)
            cells = cell_sums(values, factor, first=first, axes=(0, 1), dtype=np.float32)
            total[cells.rows, cells.columns] += cells.sums
            count[cells.rows, cells.columns] += cells.counts
    gray = (np.clip(total / count, 0, 1) * 255).astype(np.uint8)
    write_gray_png(path, gray.shape, [gray])
    return path


def _planes(ink: xr.DataArray, folder: Path, ending: str) -> Iterator[tuple[xr.DataArray, Path]]:
    """Yield each window's plane and its file in ``folder``, named as 2025 names it."""
    folder.mkdir(exist_ok=True)
    for window in ink.window.values:
        yield ink.sel(window=window), folder / f"segmentation_layer_{int(window)}.{ending}"


def _blocks(plane: xr.DataArray) -> Iterator[tuple[slice, slice]]:
    """Yield the (rows, columns) of each stored block of a (y, x) plane."""
    for rows in _spans(plane.chunksizes["y"]):
        for columns in _spans(plane.chunksizes["x"]):
            yield rows, columns


def _spans(sizes: tuple[int, ...]) -> Iterator[slice]:
    """Yield the slice of each block along an axis."""
    start = 0
    for size in sizes:
        yield slice(start, start + size)
        start += size


def _gray_bands(plane: xr.DataArray, scratch: IO[bytes]) -> Iterator[np.ndarray]:
    """Yield row bands of the plane as 8-bit gray, float blocks one at a time.

    A row of blocks is put together in a scratch file: of a whole segment it is 440 MB.
    """
    width = plane.sizes["x"]
    few = max(1, AT_ONCE // width)
    for rows in _spans(plane.chunksizes["y"]):
        for columns in _spans(plane.chunksizes["x"]):
            values = plane.data[rows, columns].compute(scheduler="synchronous")
            gray = (np.clip(values, 0, 1) * np.float32(255)).astype(np.uint8, order="C")
            for y, row in enumerate(gray):
                scratch.seek(y * width + columns.start)
                scratch.write(row.data)
        height = rows.stop - rows.start
        scratch.seek(0)
        for y in range(0, height, few):
            count = min(few, height - y)
            pixels = np.frombuffer(scratch.read(count * width), np.uint8)
            yield pixels.reshape(count, width)
