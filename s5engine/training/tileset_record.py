"""What a tileset says about itself, in an attribute of its group."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from s5engine.errors import StoreError, WayOut, afresh
from s5engine.foreign import LONGEST_SIDE, brief, reading, text, whole, wholes
from s5engine.store.nodes import check_metadata, open_group
from s5engine.training.tile_table import TileRules

#: Name of the attribute, and the version of what it holds.
RECORD = "s5engine_tileset"
VERSION = 1


def find_record(store: Path) -> dict[str, Any] | None:
    """Return what a tileset says about itself; None if nothing is there.

    Raises
    ------
    StoreError
        If something else is there, or it is of another version.
    """
    if not store.exists() or (store.is_dir() and not any(store.iterdir())):
        return None
    record = dict(open_group(store).attrs).get(RECORD) if check_metadata(store) else None
    if not isinstance(record, dict):
        raise StoreError(
            f"{store} exists and is not a tileset; it is left alone.",
            "Choose another place for the tileset, or move that away.",
        )
    if record.get("version") != VERSION:
        raise StoreError(
            f"The tileset {store} has version {record.get('version')}, not {VERSION}.",
            "It was written by another version of s5engine: build it again elsewhere.",
        )
    with reading(f"The record of the tileset {store}", afresh("Build it again")):
        _check(record)
    return record


def _check(record: dict[str, Any]) -> None:
    """Raise if a tileset's record is not as `build_tileset` writes it."""
    TileRules(*(whole(record[key], 0, LONGEST_SIDE) for key in ("tile", "stride", "min_keep")))
    wholes(record["layers"])
    for key in ("packed", "complete"):
        if not isinstance(record[key], bool):
            raise ValueError(f"{key} is {brief(record[key])}")
    if not isinstance(record["parts"], list) or "contrast" not in record:
        raise ValueError("it tells of no parts, or of no contrast")
    for part in record["parts"]:
        text(part["name"])
        wholes(part["shape"], 2)
        wholes(part["origin"], 2)


def read_record(store: Path) -> dict[str, Any]:
    """Return what a tileset says about itself.

    Raises
    ------
    StoreError
        If there is none.
    """
    record = find_record(store)
    if record is None:
        raise StoreError(
            f"There is no tileset at {store}.",
            WayOut("build_tileset makes one.", "`s5 tiles` makes one."),
        )
    return record
