"""The run record: everything needed to know what made an ink map."""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from s5engine.atomic import write_json
from s5engine.errors import StoreError, WayOut
from s5engine.foreign import brief, mapping, read_json, reading, text, whole, wholes

#: Packages whose versions can change a result.
_PACKAGES = (
    "s5engine",
    "torch",
    "numpy",
    "dask",
    "zarr",
    "xarray",
    "imagecodecs",
    "opencv-python-headless",
)

RECORD_NAME = "run.json"
#: The journal of a run, and its stores.
JOURNAL = "progress.jsonl"
STORES = ("tiles.zarr", "ink.zarr")


def stores_in(folder: Path) -> list[Path]:
    """Return the stores that are in the folder of a run."""
    return [folder / name for name in STORES if (folder / name).exists()]


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that take part."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed as a package"
    return found


def write_record(directory: Path, record: dict[str, Any]) -> None:
    """Write ``run.json``, whole or not at all."""
    write_json(directory / RECORD_NAME, record)


def read_record(directory: Path) -> dict[str, Any]:
    """Return the record of a run.

    Raises
    ------
    StoreError
        If there is none, or it cannot be read.
    """
    path = directory / RECORD_NAME
    try:
        record = read_json(path, "Write the run again.")
    except FileNotFoundError:
        raise StoreError(
            f"{directory} holds no run: it has no {RECORD_NAME}.",
            WayOut(
                "Name the folder that write_run wrote.", "Name the folder that `s5 infer` wrote."
            ),
        ) from None
    with reading(path, "Write the run again."):
        _check(record)
    return record


def _check(record: dict[str, Any]) -> None:
    """Raise if what other steps take from a record is not what they expect."""
    settings = mapping(record.get("settings"))
    wholes(settings.get("written_box"), 4)
    wholes(settings.get("written_windows"))
    for key in ("segment", "source", "taper", "edge", "dtype"):
        text(settings.get(key) or "")
    for name in ("times", "blocks"):
        for value in mapping(record.get(name, {})).values():
            if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
                raise ValueError(f"its {name} hold {brief(value)}")
    whole(record.get("peak_rss_bytes", 0))
