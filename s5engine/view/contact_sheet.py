"""A volume or a run at a glance: a contact sheet and a histogram."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from s5engine.address import local_file
from s5engine.errors import InvalidArgumentError, StoreError
from s5engine.ops.contrast import lookup_table
from s5engine.store.pyramid import open_pyramid
from s5engine.view.histogram import write_histogram
from s5engine.view.picture import write_sheet
from s5engine.view.shrink import count_values, pick_level, shrink

if TYPE_CHECKING:
    import xarray as xr

Panels = list[tuple[str, np.ndarray]]

#: Longest side of a panel of an array that is as long as here times its height, or longer, px.
_LONG, _LONG_SIDE = 3.0, 900
#: Longest side of a panel of any other, px, and how many pairs of them are in a row.
_SIDE, _PAIRS = 280, 3
#: Steps of a histogram.
_BINS = 256


def write_contact_sheet(store: str | Path, folder: str | Path) -> list[Path]:
    """Write a contact sheet and a histogram of a volume or of a run's ink.

    The sheet shows every layer plain and contrasted, or every window and their mean and maximum.
    Both come from a coarse level of the pyramid where there is one; otherwise everything is read
    once for each, a square at a time.

    Parameters
    ----------
    store : str or Path
        What `open_pyramid` takes: a store, a folder or address of layers, a run.
    folder : str or Path
        Where ``contact_sheet.png`` and ``histogram.png`` go; it is made.

    Returns
    -------
    list of Path
        The two files.
    """
    levels, target = open_pyramid(store), local_file(folder, "folder")
    shape = levels[0].shape[1:]
    if min(shape) < 1:
        raise InvalidArgumentError(f"{store} is empty: {levels[0].shape}.")
    long = max(shape) >= _LONG * min(shape)
    side = _LONG_SIDE if long else _SIDE
    level = pick_level(levels, side)
    small = shrink(level, side)
    is_ink = level.dims[0] == "window"
    panels = _ink_panels(level, small) if is_ink else _volume_panels(level, small)
    columns = (1 if is_ink else 2) if long else 2 * _PAIRS
    if level.dims[0] == "layer" and len(panels) == len(level):
        columns = 1 if long else 2 * _PAIRS
    try:
        target.mkdir(parents=True, exist_ok=True)
        sheet = write_sheet(panels, target / "contact_sheet.png", columns=min(columns, len(panels)))
        return [sheet, _write_histogram(level, target / "histogram.png")]
    except OSError as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(
            f"The pictures cannot be written to {target}: {error}.", "Choose a writable place."
        ) from error


def _volume_panels(level: xr.DataArray, small: np.ndarray) -> Panels:
    """Return each layer, and how the contrast of 2025 shows it; one that is contrasted, alone."""
    kind = level.dtype
    top = np.iinfo(kind).max
    table, done = lookup_table(dtype=kind), bool(level.attrs.get("contrast"))
    panels: Panels = []
    for number, picture in zip(level["layer"].values, small, strict=True):
        panels.append((f"layer {number:g}", picture / np.float32(top)))
        if not done:
            looked_up = table[np.floor(picture + 0.5).astype(kind)]
            panels.append((f"layer {number:g}, contrasted", looked_up / np.float32(top)))
    return panels


def _ink_panels(level: xr.DataArray, small: np.ndarray) -> Panels:
    """Return each window, and their mean and maximum."""
    windows = [f"window {number:g}" for number in level["window"].values]
    panels = list(zip(windows, small, strict=True))
    if len(panels) > 1:
        panels += [("mean", small.mean(axis=0)), ("maximum", small.max(axis=0))]
    return panels


def _write_histogram(level: xr.DataArray, path: Path) -> Path:
    """Write how often each value comes, as it is and contrasted."""
    whole = level.dtype.kind == "u"
    top = float(np.iinfo(level.dtype).max) if whole else 1.0
    # Whole numbers fall into the middle of their step.
    counts = count_values(level, _BINS, top + whole)
    empty = 100 * counts[0] / max(counts.sum(), 1)
    times = level.attrs["reduction"]
    of = f", of means of {times} × {times} px" if times > 1 else ""
    first = "0 (empty)" if level.dtype == np.uint8 else f"below {top / _BINS:.3g}"
    what = "ink" if not whole else "plain"
    panels = [(f"{what}: {empty:.3g} % are {first}{of}", counts)]
    if whole and not level.attrs.get("contrast"):
        table = lookup_table(dtype=level.dtype)
        step = (int(top) + 1) // _BINS
        targets = table[np.arange(_BINS) * step + step // 2] // step
        looked_up = np.bincount(targets, weights=counts, minlength=_BINS).astype(np.int64)
        panels.append((f"contrasted{of}", looked_up))
    return write_histogram(panels, top, path)
