"""The 2025 system's tree of parts on disk: where its files are, and opening it as one volume.

``<segment>/parts_contrasted/<segment>_<NN>/layers/<LL>.tif`` (``parts/`` without contrast).
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s5engine.address import local_file
from s5engine.errors import StoreError
from s5engine.foreign import (
    LONGEST_SIDE,
    as_attributes,
    mapping,
    read_json,
    reading,
    text,
    whole,
    wholes,
)
from s5engine.geometry import PART_WIDTH
from s5engine.store.axes import label_volume
from s5engine.store.files import LayerArray, band_rows

if TYPE_CHECKING:
    import xarray as xr

#: Folder of the parts with and without contrast.
CONTRASTED, PLAIN = "parts_contrasted", "parts"
#: What `split` notes about a tree, beside its parts.
RECORD = "parts.json"
#: The points of the contrast lookup that a tree of 2025 went through.
CONTRAST_2025 = [[0.0, 0.0], [128.0, 64.0], [255.0, 255.0]]
_PART_NAME = re.compile(r"(?P<segment>.+)_(?P<number>\d{2,})")


@dataclass(frozen=True)
class TreeRecord:
    """What a tree of parts was cut from; kept in ``parts.json``.

    Attributes
    ----------
    segment, source : str
        The segment's name and where its layers came from.
    fingerprint : dict
        What identifies the source's files.
    dtype : str
        Type of the pixels.
    rows, columns : tuple of int
        ``(y0, y1)`` and ``(x0, x1)`` that were cut, segment pixels.
    part_width, first_offset : int
        The grid of the parts, px.
    contrast : list or None
        Points of the lookup that the pixels went through.
    """

    segment: str
    source: str
    fingerprint: dict[str, Any]
    dtype: str
    rows: tuple[int, int]
    columns: tuple[int, int]
    part_width: int
    first_offset: int
    contrast: list[list[float]] | None

    def to_json(self) -> dict[str, Any]:
        """Return the record as it reads back from JSON."""
        return {**asdict(self), "rows": list(self.rows), "columns": list(self.columns)}


def part_folder(tree: Path, segment: str, number: int) -> Path:
    """Return the folder of one part."""
    return tree / f"{segment}_{number:02d}"


def layer_file(tree: Path, segment: str, number: int, layer: int) -> Path:
    """Return the file of one layer of one part."""
    return part_folder(tree, segment, number) / "layers" / f"{layer:02d}.tif"


def find_parts(tree: Path) -> dict[int, Path]:
    """Return the part folders in ``tree`` that hold layers, by number."""
    found = {}
    for folder in sorted(tree.iterdir()) if tree.is_dir() else ():
        match = _PART_NAME.fullmatch(folder.name)
        if match and (folder / "layers").is_dir():
            found[int(match["number"])] = folder
    return found


def _tree_of(path: Path) -> Path | None:
    """Return the folder that holds the parts: ``path`` itself or one of its two usual ones."""
    return next((t for t in (path, path / CONTRASTED, path / PLAIN) if find_parts(t)), None)


def is_parts_tree(path: Path) -> bool:
    """Return whether ``path`` is a segment's folder with parts, a tree of parts, or one part."""
    return is_part(path) or _tree_of(path) is not None


def is_part(path: Path) -> bool:
    """Return whether ``path`` is the folder of one part."""
    return bool(_PART_NAME.fullmatch(path.name)) and (path / "layers").is_dir()


def read_tree_record(tree: Path) -> TreeRecord | None:
    """Return what `split` noted about a tree; None for one that it did not make.

    Raises
    ------
    StoreError
        If the note is damaged.
    """
    file = tree / RECORD
    fix = "Delete it, or split the segment again."
    try:
        values = read_json(file, fix)
    except FileNotFoundError:
        return None
    with reading(file, fix):
        rows, columns = (wholes(values[key], 2) for key in ("rows", "columns"))
        contrast = values["contrast"]
        if contrast is not None:
            contrast = [[float(a), float(b)] for a, b in contrast]
        return TreeRecord(
            segment=text(values["segment"]),
            source=text(values["source"]),
            fingerprint=mapping(values["fingerprint"]),
            dtype=text(values["dtype"]),
            rows=(rows[0], rows[1]),
            columns=(columns[0], columns[1]),
            part_width=whole(values["part_width"], 1, LONGEST_SIDE),
            first_offset=whole(values["first_offset"], 0, LONGEST_SIDE),
            contrast=contrast,
        )


def open_parts_tree(path: str | Path) -> xr.DataArray:
    """Open a tree of parts as one lazy volume, its parts side by side along x.

    Parameters
    ----------
    path : str or Path
        The segment's folder (its ``parts_contrasted`` is taken before its ``parts``), one of those
        two, or the folder of a single part.

    Returns
    -------
    (layer, y, x) DataArray, dask-backed
        As by `open_volume`. ``x`` comes from the tree's ``parts.json``; without one the parts are
        taken to be 10,000 px wide with no first offset. Blocks are bands of rows of one part.

    Raises
    ------
    StoreError
        If parts are missing in between, or do not fit together.
    """
    path = local_file(path, "tree of parts")
    tree = path.parent if is_part(path) else _tree_of(path)
    if tree is None:
        raise StoreError(
            f"There are no parts in {path}.",
            "Give the folder that holds <segment>_<NN>/layers/ folders.",
        )
    parts = find_parts(tree)
    if is_part(path):
        parts = {number: folder for number, folder in parts.items() if folder == path}
    numbers = sorted(parts)
    if numbers != list(range(numbers[0], numbers[-1] + 1)):
        raise StoreError(
            f"{tree} holds the parts {numbers}: some in between are missing.",
            f"Open one part alone, such as {parts[numbers[0]]}, or split the missing ones.",
        )
    return _side_by_side([parts[n] for n in numbers], tree, numbers[0])


def _side_by_side(folders: list[Path], tree: Path, first: int) -> xr.DataArray:
    """Open each part's layers and join them along x."""
    import dask.array as da

    arrays = [LayerArray.open(folder / "layers") for folder in folders]
    _check_fit(folders, arrays)
    count, height, _ = arrays[0].shape
    widest = max(array.shape[2] for array in arrays)
    step = max(array.row_step for array in arrays)
    rows = band_rows(count, height, widest, arrays[0].dtype.itemsize, step)
    blocks = [
        da.from_array(array, chunks=(count, rows, array.shape[2]), inline_array=True)
        for array in arrays
    ]
    record = read_tree_record(tree)
    plain = tree.name == PLAIN
    contrast = record.contrast if record else None if plain else CONTRAST_2025
    volume = label_volume(
        da.concatenate(blocks, axis=2),
        segment=folders[0].name.rpartition("_")[0],
        source=str(tree),
        layers=arrays[0].layers,
        y0=record.rows[0] if record else 0,
        x0=_first_column(record, first),
        contrast=contrast,
    )

    def close() -> None:
        for array in arrays:
            array.close()

    found = {folder.name: array.fingerprint for folder, array in zip(folders, arrays, strict=True)}
    volume.attrs |= as_attributes({"fingerprint": found})
    volume.set_close(close)
    return volume


def _check_fit(folders: list[Path], arrays: list[Any]) -> None:
    def kind(array: Any) -> tuple[Any, ...]:
        return array.layers, array.shape[1], array.dtype

    for folder, array in zip(folders, arrays, strict=True):
        if kind(array) != kind(arrays[0]):
            for opened in arrays:
                opened.close()
            here, there = (
                f"{a.shape[1]} rows of {a.dtype}, layers {list(a.layers)}"
                for a in (array, arrays[0])
            )
            raise StoreError(
                f"{folder} does not fit to {folders[0]}: it has {here}, the other {there}.",
                "Split the segment again so that all parts have the same layers.",
            )


def _first_column(record: TreeRecord | None, number: int) -> int:
    width, offset = (record.part_width, record.first_offset) if record else (PART_WIDTH, 0)
    start = record.columns[0] if record else 0
    return max(start, 0 if number == 1 else width - offset + (number - 2) * width)
