"""Opening groups and arrays of zarr: metadata that zarr cannot take end in one error with the file.

Every node is opened here, so that what zarr raises (a dozen kinds of errors) is met once.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s5engine.errors import S5Error, StoreError
from s5engine.foreign import LONGEST_SIDE, brief, cause, check_file, read_json
from s5engine.store.chunk_keys import root_of

if TYPE_CHECKING:
    import zarr

#: Files that make a folder a zarr node.
ZARR_FILES = ("zarr.json", ".zarray", ".zgroup")
#: The largest chunk that is believed, bytes: what a blosc chunk can hold.
LARGEST_CHUNK = 2**31
#: The most chunks in a shard that are believed: their index has 16 bytes for each.
MOST_IN_SHARD = 2**22
#: The longest name of a group or array within another that is believed, characters.
LONGEST_NAME = 200
_FIX = "Copy it from its source again, or make it again."


@contextmanager
def understanding(folder: str | Path) -> Iterator[None]:
    """Turn what zarr makes of the metadata in a folder into one error that names the file.

    Raises
    ------
    StoreError
        If anything but an error of ours is raised inside.
    """
    try:
        yield
    except (S5Error, ImportError):
        raise
    except Exception as error:  # zarr and its codecs raise of all kinds
        present = []
        if isinstance(folder, Path):
            files = [folder / name for name in (*ZARR_FILES, ".zattrs", ".zmetadata")]
            present = [file for file in files if file.exists() or file.is_symlink()]
        for file in present:
            read_json(file, _FIX)  # tells of a file that is no JSON at all
        place = present[0] if present else folder
        raise StoreError(
            f"The zarr metadata in {place} cannot be read: {cause(error)}.",
            "Check that it is a Zarr v2 or v3 store; copy it from its source again.",
        ) from error


def check_metadata(folder: Path) -> bool:
    """Return whether a folder is a zarr node.

    Raises
    ------
    StoreError
        If anything but a file bears the name of one.
    """
    found = False
    for name in (*ZARR_FILES, ".zattrs", ".zmetadata"):
        try:
            check_file(folder / name, _FIX)
            found = found or name in ZARR_FILES
        except (FileNotFoundError, NotADirectoryError):
            continue
    return found


def open_group(path: Path, mode: Any = "r") -> zarr.Group:
    """Open a group on this machine.

    Raises
    ------
    StoreError
        If there is none, or its metadata cannot be understood.
    """
    import zarr

    check_metadata(path)
    with understanding(path):
        # Each member's own metadata count, not copies of them.
        group = zarr.open_group(path, mode=mode, use_consolidated=False)
    check_node(group, path)
    return group


def consolidate(path: Path) -> None:
    """Copy the metadata of all members into those of a finished group, where xarray wants them.

    Whatever changes the attributes of a group that `open_group` opened drops the copies, so that
    they never differ from what they are copies of.
    """
    import zarr

    with warnings.catch_warnings():
        # Not in the specification yet: those who do not know it read the members.
        warnings.filterwarnings("ignore", message="Consolidated metadata", category=UserWarning)
        zarr.consolidate_metadata(path)


def find_member(group: zarr.Group, name: str) -> zarr.Array[Any] | zarr.Group | None:
    """Return an array or a group in a group; None if there is none of that name.

    Raises
    ------
    StoreError
        If its metadata cannot be understood.
    """
    root = root_of(group.store)
    folder: Any = f"{group.store}/{group.path}/{brief(name)}"
    if len(name) > LONGEST_NAME or "\0" in name or ".." in name.split("/"):
        raise StoreError(f"The zarr group {folder} is told of, and cannot be.", _FIX)
    if root is not None:
        folder = root / group.path / name
        check_metadata(folder)
    with understanding(folder):
        found = group.get(name)
    if found is not None:
        check_node(found, folder)
    return found


def find_arrays(group: zarr.Group, *, deep: bool = False) -> dict[str, zarr.Array[Any]]:
    """Return the arrays in a group by their names; none where the store has no lists.

    Parameters
    ----------
    group : zarr Group
    deep : bool
        Those in groups within it too, by their paths; of a store on this machine.

    Raises
    ------
    StoreError
        If the metadata of a member cannot be understood.
    """
    import zarr

    root = root_of(group.store)
    if root is not None:
        # One by one: zarr reads all members at once and prints what each of them raises.
        folder = root / group.path
        names = sorted(place.name for place in folder.iterdir() if check_metadata(place))
        arrays: dict[str, zarr.Array[Any]] = {}
        for name in names:
            member = find_member(group, name)
            if isinstance(member, zarr.Array):
                arrays[name] = member
            elif deep and member is not None:
                within = find_arrays(member, deep=True)
                arrays |= {f"{name}/{path}": array for path, array in within.items()}
        return arrays
    with understanding(f"{group.store}/{group.path}"):
        return dict(group.arrays()) if group.store.supports_listing else {}


def check_node(node: zarr.Array[Any] | zarr.Group, where: str | Path) -> None:
    """Check what zarr takes as it is: attributes, and the sizes that an array claims.

    Raises
    ------
    StoreError
        If the attributes are no object, an array is empty, or a size is beyond all sense.
    """
    import zarr

    with understanding(where):
        attributes: Any = node.metadata.attributes
        if not isinstance(attributes, dict):
            raise TypeError(f"the attributes are {brief(attributes)}")
    if isinstance(node, zarr.Array):
        _check_sizes(node, where)


def _check_sizes(array: zarr.Array[Any], where: str | Path) -> None:
    """Check that an array's claims make sense before anything of their size is made.

    Raises
    ------
    StoreError
        If it is empty, or a size is beyond all sense.
    """
    inner, unit = array.chunks, array.shards or array.chunks
    sides = [*array.shape, *inner, *unit]
    sound = all(1 <= side <= LONGEST_SIDE for side in sides)
    if sound:
        size = math.prod(inner) * array.dtype.itemsize
        counts = math.prod(-(-a // b) for a, b in zip(unit, inner, strict=True))
        sound = size < LARGEST_CHUNK and counts <= MOST_IN_SHARD
    if not sound:
        shards = f", shards of {array.shards}" if array.shards else ""
        raise StoreError(
            f"The array {where} claims the shape {array.shape}, chunks of {inner}{shards}: this "
            "cannot be an image.",
            _FIX,
        )
