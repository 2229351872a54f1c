"""What a person looks at while a network trains: tiles, their labels, and what it says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from s5engine.store.png import write_gray_png
from s5engine.training.tile_table import REDUCTION
from s5engine.training.tileset import Example

#: Space between tiles, px, and its grey value.
_GAP, _PAPER = 4, 255
#: Grey of pixels that are ignored.
_IGNORED = 96


def write_tile_rows(
    path: Path, examples: Sequence[Example], answers: npt.NDArray[np.float32]
) -> None:
    """Write one row a tile: its middle layer, label (ignored pixels grey), prediction.

    Parameters
    ----------
    path : Path
        A PNG, written whole or not at all.
    examples : sequence of Example
    answers : (n, P/4, P/4) float32 ndarray
        Ink in [0, 1].
    """
    rows = []
    for example, answer in zip(examples, answers, strict=True):
        label = np.where(example.keep, example.label * 255, _IGNORED).astype(np.uint8)
        small = (label, (np.clip(answer, 0, 1) * 255).astype(np.uint8))
        panels = [example.layers[len(example.layers) // 2], *map(_enlarged, small)]
        rows.append(np.concatenate([np.pad(p, _GAP, constant_values=_PAPER) for p in panels], 1))
    sheet = np.concatenate(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_gray_png(path, sheet.shape, [sheet])


def _enlarged(small: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return a map as large as the tile."""
    return small.repeat(REDUCTION, axis=0).repeat(REDUCTION, axis=1)
