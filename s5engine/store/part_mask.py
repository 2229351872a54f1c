"""The papyrus mask of a part, written from one of its own layers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from s5engine.store.band_plan import row_bands
from s5engine.store.png import write_gray_png

#: The layer whose zeros are not papyrus, as in 2025.
MASK_LAYER = 10
#: What writing a mask is called in dask graphs and on the dashboard.
MASK_STEP = "split-mask"
#: Rows that are read at a time, px.
_ROWS = 1024


def write_mask(layer: Path, mask: Path) -> None:
    """Write a part's mask: 255 where its layer is not 0, else 0.

    Parameters
    ----------
    layer : Path
        The part's TIFF file of `MASK_LAYER`.
    mask : Path
        The PNG; until it is whole it has a temporary name.
    """
    from s5engine.source.listing import LayerFile, LayerIndex
    from s5engine.source.stack import open_stack

    alone = LayerFile(MASK_LAYER, str(layer), layer.name)
    index = LayerIndex({MASK_LAYER: alone}, str(layer.parent), segment=mask.parent.name)
    with open_stack(index) as stack:
        height, width = stack.shape
        rows = stack.iter_bands(row_bands(0, height, _ROWS), 0, width, ahead=0)
        papyrus = (np.where(pixels[0] != 0, 255, 0).astype(np.uint8) for _, pixels in rows)
        write_gray_png(mask, (height, width), papyrus)
