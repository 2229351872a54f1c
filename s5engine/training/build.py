"""Build a tileset: from parts and their labels to an index of tiles, with or without pixels."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from s5engine.budget import resolve_budget
from s5engine.console import progress as show_progress
from s5engine.console import say
from s5engine.errors import InvalidArgumentError, StoreError
from s5engine.runtime.journal import Journal
from s5engine.runtime.same_work import as_json, check_settings
from s5engine.source.images import check_threshold
from s5engine.source.mask_rows import Mask, mask_rows
from s5engine.store.create import make_folder
from s5engine.store.present import check_present, note_all_present
from s5engine.training.labelled import (
    LabelledPart,
    Labels,
    Parts,
    choose_layers,
    contrast_of,
    find_labels,
)
from s5engine.training.packed import chunk_side, create_layers, pack_layers, plan_slabs
from s5engine.training.tile_table import (
    REDUCTION,
    TileRules,
    TileTable,
    find_tiles,
    full_cells,
    reduce_map,
)
from s5engine.training.tileset import COLUMNS, Tileset, local_path
from s5engine.training.tileset_record import RECORD, VERSION, find_record

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class _Tiles:
    """The tiles of one part and its maps (label, keep) as packed bits."""

    table: TileTable
    maps: npt.NDArray[np.uint8]


def build_tileset(
    parts: Parts,
    labels: Labels,
    store: str | Path,
    *,
    tile: int = 128,
    stride: int = 64,
    layers: Sequence[int] | None = None,
    packed: bool = False,
    papyrus: Parts | None = None,
    min_keep: int = 5,
    threshold: int = 255,
    resume: bool = True,
    budget: int | str | None = None,
    progress: bool = True,
) -> Tileset:
    """Find the tiles that a network can be trained on and index them, as the 2025 system did.

    A tile is taken if all of it is papyrus and at least ``min_keep`` percent of it are not ignored.
    Its label is 0 where it is ignored; label and keep are reduced to a quarter by nearest
    neighbour; ink percentage = ⌊100 · ink / all⌋ and ignore percentage = 100 − ⌊100 · kept / all⌋,
    both on the reduced maps.

    Only the label files are read; the volume is not touched, unless ``packed`` (then its blocks
    under tiles are read) or its papyrus has to be found from its pixels. Files are decoded some
    rows at a time and one after another: memory is about 150 MB for a part of 13,780 × 10,000 px,
    however many parts there are. The index takes seconds for each part and is simply made anew if
    it was interrupted; packing goes on where it stopped.

    Parameters
    ----------
    parts : mapping of int to DataArray, or several DataArrays
        As `parts` returns them, of the contrasted uint8 volume; for several segments
        ``[*parts(a).values(), *parts(b).values()]``.
    labels : path, or mapping of int or str to path
        A folder with one folder ``<segment>_<NN>`` for each part that has labels, or the folders
        by the parts' numbers or names. Each holds ``label.png`` (ink) and, side by side with it,
        ``ignore.png`` (1 = leave out; without it nothing is ignored) and ``mask.png`` (papyrus).
    store : str or Path
        Where to put the tileset, a zarr group.
    tile, stride : int
        Size and step, px; multiples of 4.
    layers : sequence of int, optional
        Layer numbers that tiles have, ``range(4, 20)``; by default all.
    packed : bool
        Copy the pixels under tiles too. Without the copy each tile costs the volume's whole blocks.
    papyrus : like ``parts``, optional
        For parts without ``mask.png``: ``parts(papyrus_mask(volume))`` of the volume before
        contrast, which makes dark pixels 0. Not needed if the parts have no contrast.
    min_keep : int
        Least share of a tile that is kept, percent.
    threshold : int
        Smallest gray value of the label files that counts as 1, 1…255.
    resume : bool
        Return or go on with a tileset that is there; false makes it afresh.
    budget : int or str, optional
        Memory for packing, bytes or ``"8 GiB"``.
    progress : bool
        Show how far it is.

    Returns
    -------
    Tileset

    Raises
    ------
    InvalidArgumentError
        If sizes differ, layers are missing, or no tile is left (no labels but ignored ones).
    SourceError
        If a label file is missing or damaged.
    ResumeError
        If the store was made from other labels or with other settings.
    StoreError
        If something else is at its place, or it cannot be written.
    BudgetError
        If packing does not fit into the budget.
    """
    rules = TileRules(tile, stride, min_keep)
    check_threshold(threshold)
    size = resolve_budget(budget)
    found = find_labels(parts, labels, papyrus)
    volumes = {part.name: part.volume for part in found}
    numbers = choose_layers(volumes, layers)
    if packed:
        plan_slabs(volumes, len(numbers), rules, size)
    record = _record(found, rules, numbers, threshold, packed)
    path = local_path(store)
    earlier = find_record(path)
    if earlier is not None and resume:
        check_settings(_settings(earlier), _settings(record), f"The tileset {path}")
    if earlier is None or not earlier["complete"] or not resume:
        make_folder(path.parent)
        with Journal.open(_journal(path), _settings(record), resume=resume) as journal:
            # A journal whose store is gone proves nothing.
            if earlier is None or "index" not in journal:
                tiles = _index(found, rules, threshold, progress)
                _create(path, record, tiles)
                journal.finish("index")
            if packed:
                _pack(path, volumes, journal, size, progress)
            journal.remove()
    else:
        check_present(path)
    tileset = Tileset(path, volumes)
    if progress:
        say(f"tiles: {tileset!r}")
    return tileset


def _record(
    found: list[LabelledPart],
    rules: TileRules,
    layers: tuple[int, ...],
    threshold: int,
    packed: bool,
) -> dict[str, Any]:
    """Return what the tileset is made from, as JSON values."""
    record = {
        "version": VERSION,
        "complete": not packed,
        "tile": rules.tile,
        "stride": rules.stride,
        "reduction": REDUCTION,
        "min_keep": rules.min_keep,
        "threshold": threshold,
        "layers": layers,
        "packed": packed,
        "contrast": contrast_of(found[0].volume),
        "parts": [part.describe() for part in found],
    }
    return as_json(record)


def _settings(record: dict[str, Any]) -> dict[str, Any]:
    """Return what must be the same to go on; each part by its name, so that messages name it."""
    settings = {key: value for key, value in record.items() if key not in ("complete", "parts")}
    return {**settings, **{f"part {part['name']}": part for part in record["parts"]}}


def _journal(path: Path) -> Path:
    """Return where the journal of an unfinished tileset is: beside it."""
    return path.with_name(path.name + ".journal")


def _index(
    found: list[LabelledPart], rules: TileRules, threshold: int, progress: bool
) -> dict[str, _Tiles]:
    """Find the tiles of every part; refuse to make an empty tileset."""
    tiles = {}
    with show_progress("tiles", len(found), "parts", enabled=progress) as meter:
        for part in found:
            tiles[part.name] = _tiles_of(part, rules, threshold)
            meter.advance()
    tables = [one.table for one in tiles.values()]
    if not any(len(table.y) for table in tables):
        on_grid, on_papyrus = (sum(t.on_grid for t in tables), sum(t.on_papyrus for t in tables))
        raise InvalidArgumentError(
            f"No tile is left of {', '.join(tiles)}: of {on_grid} tiles of {rules.tile} px, "
            f"{on_papyrus} are all papyrus, and none of these has {rules.min_keep} % that are not "
            "ignored.",
            "Check the papyrus masks and the ignore masks (255 is what they leave out).",
        )
    return tiles


def _tiles_of(part: LabelledPart, rules: TileRules, threshold: int) -> _Tiles:
    """Decode one part's files, one after another, and find its tiles."""

    def bands(path: Path) -> Iterator[tuple[int, Mask]]:
        return mask_rows(path, rules.band, threshold=threshold)

    label = reduce_map(bands(part.label), part.shape)
    keep = np.ones_like(label)
    if part.ignore is not None:
        keep = ~reduce_map(bands(part.ignore), part.shape)
        label &= keep
    papyrus = bands(part.mask) if part.mask is not None else _papyrus_rows(part.papyrus, rules)
    full = full_cells(papyrus, part.shape, rules.cell)
    table = find_tiles(label, keep, full, part.shape, rules)
    return _Tiles(table, np.packbits(np.stack([label, keep]), axis=2))


def _papyrus_rows(papyrus: xr.DataArray | None, rules: TileRules) -> Iterator[tuple[int, Mask]]:
    """Compute a lazy papyrus mask in bands of whole cells, about one row of blocks each."""
    if papyrus is None:
        raise RuntimeError("a part has neither a mask file nor a papyrus mask")
    block = max(papyrus.chunks[0]) if papyrus.chunks is not None else rules.band
    step = -(-block // rules.cell) * rules.cell
    for y0 in range(0, papyrus.shape[0], step):
        yield y0, papyrus.isel(y=slice(y0, y0 + step)).compute().values.astype(np.bool_)


def _create(path: Path, record: dict[str, Any], tiles: dict[str, _Tiles]) -> None:
    """Put the tileset at ``path``, whole at once, in place of an earlier one."""
    try:
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as scratch:
            made = Path(scratch) / "tileset"
            _write(made, record, tiles)
            if find_record(path) is not None:
                path.rename(Path(scratch) / "earlier")
            elif path.exists():
                path.rmdir()  # an empty folder
            made.rename(path)
    except OSError as error:
        raise StoreError(
            f"The tileset {path} cannot be made: {error.strerror or error}.",
            "Choose a writable place with room.",
        ) from error


def _write(path: Path, record: dict[str, Any], tiles: dict[str, _Tiles]) -> None:
    """Write the index and the maps, and make the empty arrays that packing fills."""
    import zarr
    from zarr.codecs import Crc32cCodec, ZstdCodec

    group = zarr.open_group(path, mode="w", zarr_format=3, attributes={RECORD: record})
    compact = [ZstdCodec(level=3), Crc32cCodec()]
    tables = [one.table for one in tiles.values()]
    numbers = [np.full(len(table.y), number) for number, table in enumerate(tables)]
    for name, dtype in COLUMNS.items():
        column = numbers if name == "part" else [getattr(table, name) for table in tables]
        values = np.concatenate(column).astype(dtype)
        group.create_array(f"index/{name}", data=values, chunks=values.shape, compressors=compact)
    for part in record["parts"]:
        name, maps = part["name"], tiles[part["name"]].maps
        group.create_array(f"maps/{name}", data=maps, chunks=maps.shape, compressors=compact)
        if record["packed"]:
            rules = TileRules(record["tile"], record["stride"], record["min_keep"])
            create_layers(group, name, len(record["layers"]), part["shape"], chunk_side(rules))
    if not record["packed"]:
        note_all_present(path)


def _pack(
    path: Path, volumes: dict[str, xr.DataArray], journal: Journal, budget: int, progress: bool
) -> None:
    """Copy the pixels that are missing and say that the tileset is complete."""
    import zarr

    tileset = Tileset(path)
    group = zarr.open_group(path, mode="r+")
    pack_layers(tileset, volumes, group, journal, budget, progress)
    note_all_present(path)
    group = zarr.open_group(path, mode="r+")
    group.attrs[RECORD] = {**tileset.record, "complete": True}
