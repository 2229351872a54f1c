"""Open any surface volume as a lazy array (layer, y, x): a store, an OME-Zarr, layers, a tree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s5engine.address import place_of, recorded, shown
from s5engine.budget import share_arena
from s5engine.errors import FETCH_AFRESH, SourceError, StoreError, StoreRefusedError, WayOut
from s5engine.foreign import as_attributes, brief
from s5engine.store import parts_tree
from s5engine.store.axes import Places, axis_places, label_volume
from s5engine.store.chunk_keys import check_chunks
from s5engine.store.files import open_layers, open_zarr_node
from s5engine.store.nodes import find_arrays, find_member
from s5engine.store.ome import VolumeRecord, holds_images, level_zero, read_record
from s5engine.store.origins import remember
from s5engine.store.pixel_source import from_source
from s5engine.store.present import Present, read_present
from s5engine.store.read_shards import reader_of

if TYPE_CHECKING:
    import dask.array as da
    import xarray as xr
    import zarr

    from s5engine.address import StorageOptions

#: Side of a block, px, as near as whole shards or chunks allow.
BLOCK_SIDE = 1024
#: Largest block that is put together from several shards or chunks, bytes.
BLOCK_BYTES = 256 * 2**20


def open_volume(
    store: str | Path,
    *,
    storage_options: StorageOptions | None = None,
    partial: bool = False,
) -> xr.DataArray:
    """Open a surface volume, lazily; only metadata is read.

    Parameters
    ----------
    store : str or Path
        A store made by `ingest`; any OME-Zarr (v2 or v3; the full resolution is taken) or bare zarr
        array; a folder of layers (TIFF, JPEG, PNG); a tree of parts as `split` and the 2025 system
        write it. A path, or an ``http(s)://`` or ``s3://`` address (read anonymously). Axes of an
        array are told by their names (OME's, ``dimension_names``, ``_ARRAY_DIMENSIONS``); where
        there are none, the shortest is taken for the layers', and a line says so.
    storage_options : mapping, optional
        Passed to fsspec for an address.
    partial : bool
        Open an unfinished store as well, and an array whose chunks are gone; what is not there
        reads as 0.

    Returns
    -------
    (layer, y, x) DataArray, dask-backed
        Coordinates: ``layer``, the layer numbers in the source; ``y`` and ``x``, pixel indices in
        the whole segment. Attributes: ``segment``, ``source``, and ``contrast`` (None or the list
        of points of the lookup that the pixels went through); layer files, parts and stores of
        ours also have ``fingerprint``, what identifies the source's files. Each block is made of
        whole shards or chunks, about 1024 × 1024 px; for layer files, a band of rows.

    Raises
    ------
    StoreError
        If nothing is there, it is unfinished, it is not a volume of uint8 or uint16, or none of
        its chunks is where its metadata say. A damaged chunk is told when it is read.
    """
    share_arena()  # before zarr's and dask's threads begin
    store = place_of(store)
    try:
        node = open_zarr_node(store, storage_options)
    except StoreRefusedError as refusal:
        try:  # some servers say so of every file that is not there
            return open_layers(store, storage_options=storage_options)
        except SourceError:
            raise refusal from None
    if node is not None:
        return remember(_from_zarr(node, shown(str(store)), partial=partial), store)
    if isinstance(store, Path):
        if not store.exists():
            raise StoreError(
                f"There is no volume at {store}.",
                WayOut(
                    "Check the path; `ingest` makes a store from layer files.",
                    "Check the path; `s5 fetch` makes a store from layer files.",
                ),
            )
        # A segment's folder that has its whole layers too is opened as these.
        if parts_tree.is_parts_tree(store) and not _has_layers(store):
            return parts_tree.open_parts_tree(store)
    return open_layers(store, storage_options=storage_options)


def _has_layers(folder: Path) -> bool:
    return (folder / "layers").is_dir() and not parts_tree.is_part(folder)


def _from_zarr(node: zarr.Array[Any] | zarr.Group, where: str, *, partial: bool) -> xr.DataArray:
    """Make the volume of a zarr array or of the level 0 of a group."""
    import zarr

    names: tuple[str, ...] = ()
    record, present = None, None
    if isinstance(node, zarr.Group):
        node = image_in(node, where)
        attributes = dict(node.attrs)
        record = read_record(attributes, where)
        if record is not None and not record.complete and not partial:
            raise StoreError(
                f"The store {where} is unfinished: its ingest was interrupted.",
                WayOut(
                    f"Ingest {record.source} into it again to go on; partial=True opens what is "
                    "there.",
                    f"`s5 fetch {record.source} {where}` lets it go on.",
                ),
            )
        array, names = _full_resolution(node, attributes, where)
        if record is not None:
            _check_record(record, array, where)
        present = None if partial else read_present(node, array)
    else:
        array = node
    _check_pixels(array, where)
    places = axis_places(array, names, where)
    array = array if partial or record is not None else check_chunks(array, where)
    known = record is not None and record.complete and not partial
    content = record.content() if known and record is not None else None
    stored = reader_of(array, partial=partial, present=present)
    data = lazy_layers(array, places, content=content, stored=stored)
    # What has other axes, or pixels in another order of bytes, is read by its graph alone.
    plain = array.ndim == 3 and places == (0, 1, 2) and data.dtype == stored.dtype
    if record is None:
        volume = label_volume(data, segment=Path(where.rstrip("/")).stem, source=recorded(where))
        return from_source(volume, stored) if plain else volume
    y0, _, x0, _ = record.box
    volume = label_volume(
        data, segment=record.segment, source=record.source, layers=record.layers, y0=y0, x0=x0
    )
    volume = volume.assign_attrs(as_attributes({"fingerprint": record.fingerprint}))
    return from_source(volume, stored) if plain else volume


def image_in(group: zarr.Group, where: str) -> zarr.Group:
    """Return a group, or its one image if it is a root that bioformats2raw made.

    Raises
    ------
    StoreError
        If it holds several images.
    """
    import zarr

    attributes = dict(group.attrs)
    if not holds_images(attributes) or level_zero(attributes) is not None:
        return group
    first, second = (find_member(group, name) for name in ("0", "1"))
    if isinstance(first, zarr.Group) and second is None:
        return first
    raise StoreError(
        f"{where} is a root of bioformats2raw and holds "
        f"{'no image 0' if first is None else 'several images'}; a volume is one of them.",
        f"Give the path of one, such as {where.rstrip('/')}/0.",
    )


def _check_record(record: VolumeRecord, array: zarr.Array[Any], where: str) -> None:
    """Raise if a store of ours and its record contradict each other."""
    y0, y1, x0, x1 = record.box
    told = (len(record.layers), y1 - y0, x1 - x0), record.dtype
    if told != (array.shape, array.dtype.name) or array.fill_value != 0:
        raise StoreError(
            f"The store {where} is damaged: its attributes tell of {told[1]} of {told[0]}, and its "
            f"array has {array.dtype} of {array.shape}, filled with {array.fill_value}.",
            FETCH_AFRESH,
        )


def _full_resolution(
    group: zarr.Group, attributes: Mapping[str, Any], where: str
) -> tuple[zarr.Array[Any], tuple[str, ...]]:
    """Return the array of the level 0 and the names of its axes."""
    import zarr

    level = level_zero(attributes)
    path, names = level if level is not None else ("0", ())
    found = find_member(group, path)
    if isinstance(found, zarr.Array):
        # Before OME-NGFF 0.3 no axes are named: there are these five.
        fixed = tuple("tczyx") if level and not names and found.ndim == 5 else names
        return found, fixed
    arrays = find_arrays(group) if level is None else {}
    if len(arrays) == 1:
        return next(iter(arrays.values())), ()
    listed = f" among {sorted(arrays)}" if arrays else ""
    inner = f", such as {where.rstrip('/')}/{path}" if found is not None else ""
    raise StoreError(
        f"The zarr group {where} holds no volume: there is no array {brief(path)}{listed}.",
        f"Give the path of the array itself, or of a group of levels{inner}.",
    )


def _check_pixels(array: zarr.Array[Any], where: str) -> None:
    if array.dtype.kind != "u" or array.dtype.itemsize > 2:
        raise StoreError(
            f"The array {where} holds {array.dtype} pixels; a volume holds uint8 or uint16.",
            "Convert it to one of these.",
        )


def lazy_layers(
    array: zarr.Array[Any],
    places: Places,
    *,
    partial: bool = False,
    present: Present | None = None,
    content: Any = None,
    stored: Any = None,
) -> da.Array:
    """Return a zarr array as a lazy (layer, y, x): squeezed, its axes in order, in whole units.

    Parameters
    ----------
    array : zarr Array
    places : (int, int, int)
        Which of its axes are layer, y and x, by `axis_places`.
    partial : bool
        Whether all of its chunks may be missing.
    present : bool ndarray, optional
        Which of its chunk files are there, if this is known.
    content : object, optional
        What tells its pixels from others, wherever they lie: the array is named after it.
    stored : object, optional
        What reads it, by `reader_of`.
    """
    import dask.array as da
    from dask.base import tokenize

    unit = array.shards or array.chunks
    whole = [1] * array.ndim
    blocks = block_shape(
        [array.shape[axis] for axis in places],
        [unit[axis] for axis in places],
        array.dtype.itemsize,
    )
    for axis, length in zip(places, blocks, strict=True):
        whole[axis] = length
    stored = stored if stored is not None else reader_of(array, partial=partial, present=present)
    told = None if content is None else tokenize(content, array.path, array.shape, whole)
    data = da.from_array(
        stored, chunks=tuple(whole), inline_array=True, name=told and f"pixels-{told}"
    )
    gone = tuple(axis for axis in range(array.ndim) if axis not in places)
    data = data.squeeze(axis=gone) if gone else data
    order = tuple(sorted(places).index(axis) for axis in places)
    data = data if order == (0, 1, 2) else data.transpose(order)
    native = array.dtype.newbyteorder("=")
    return data if native == array.dtype else data.astype(native)


def block_shape(shape: Sequence[int], unit: Sequence[int], itemsize: int) -> tuple[int, int, int]:
    """Return the block, in whole stored units, for an array of ``shape`` (layer, y, x).

    In y and x as many units as come to about `BLOCK_SIDE`; all layers, or as many units of layers
    as `BLOCK_BYTES` allow.

    Parameters
    ----------
    shape : (layers, height, width)
    unit : (layers, height, width)
        The stored unit: the shard, or the chunk where there are no shards.
    itemsize : int
        Bytes per pixel.
    """
    side = [size * max(1, round(BLOCK_SIDE / size)) for size in unit[1:]]
    fitting = BLOCK_BYTES // (side[0] * side[1] * itemsize * unit[0])
    needed = -(-shape[0] // unit[0])
    layers = unit[0] * max(1, min(needed, fitting))
    return min(layers, shape[0]), min(side[0], shape[1]), min(side[1], shape[2])
