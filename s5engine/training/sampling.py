"""Which tiles are trained on and which validate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from s5engine.errors import InvalidArgumentError
from s5engine.training.tileset import Tileset

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """Two sets of tiles that share none.

    Attributes
    ----------
    train, validation : (n,) ndarray of int64
        Indices into the tileset, ascending.
    """

    train: Indices
    validation: Indices


def balance(
    tileset: Tileset, *, min_ink: int = 5, blank_ratio: float = 0.75, seed: int = 0
) -> Indices:
    """Choose the tiles with ink and some of those without, as the 2025 system did.

    Parameters
    ----------
    tileset : Tileset
    min_ink : int
        Ink that makes a tile one with ink, percent, 1…100. Tiles with less, but not 0 %, are left
        out.
    blank_ratio : float
        So many tiles of 0 % for each tile with ink, drawn without replacement; all of them if
        there are fewer.
    seed : int

    Returns
    -------
    (n,) ndarray of int64
        Indices into the tileset, ascending.

    Raises
    ------
    InvalidArgumentError
        If no tile has so much ink, or a value is out of its range.
    """
    if not 1 <= min_ink <= 100 or blank_ratio < 0:
        raise InvalidArgumentError(
            f"min_ink is in 1…100 and blank_ratio at least 0, not {min_ink} and {blank_ratio}."
        )
    inked = np.flatnonzero(tileset.ink_percent >= min_ink)
    if not len(inked):
        most = int(tileset.ink_percent.max()) if len(tileset) else 0
        raise InvalidArgumentError(
            f"None of the {len(tileset)} tiles has {min_ink} % of ink; the most is {most} %.",
            "Label more ink, check that labels are white (255) and not ignored, or lower min_ink.",
        )
    blank = np.flatnonzero(tileset.ink_percent == 0)
    count = min(len(blank), int(blank_ratio * len(inked)))
    drawn = np.random.default_rng(seed).choice(blank, count, replace=False)
    return np.sort(np.concatenate([inked, drawn])).astype(np.int64)


def split_tiles(
    tileset: Tileset,
    chosen: Indices,
    *,
    fraction: float = 0.05,
    parts: Sequence[str] = (),
    seed: int = 0,
) -> Split:
    """Set some of the chosen tiles aside for validation.

    Parameters
    ----------
    tileset : Tileset
    chosen : (n,) ndarray of int64
        From `balance`.
    fraction : float
        Share that is drawn at random, at least one tile. Where the stride is smaller than the tile
        these overlap tiles that are trained on, so their figures flatter: name whole ``parts`` for
        an honest measure.
    parts : sequence of str
        Names ``<segment>_<NN>``; their tiles validate instead.
    seed : int

    Returns
    -------
    Split

    Raises
    ------
    InvalidArgumentError
        If a part is unknown, or nothing is left for training or for validation.
    """
    unknown = [name for name in parts if name not in tileset.part_names]
    if unknown:
        raise InvalidArgumentError(
            f"The tileset has no parts {unknown}; it has {list(tileset.part_names)}."
        )
    aside = np.zeros(len(chosen), np.bool_)
    if parts:
        aside = np.isin(tileset.part[chosen], [tileset.part_names.index(name) for name in parts])
    elif len(chosen):
        if not 0 < fraction < 1:
            raise InvalidArgumentError(f"The validation share is in (0, 1), not {fraction}.")
        count = max(1, round(fraction * len(chosen)))
        aside[np.random.default_rng(seed).choice(len(chosen), count, replace=False)] = True
    split = Split(chosen[~aside], chosen[aside])
    if not len(split.train) or not len(split.validation):
        raise InvalidArgumentError(
            f"Of {len(chosen)} tiles, {len(split.train)} are left for training and "
            f"{len(split.validation)} for validation.",
            "Label more, or choose other validation parts or another share.",
        )
    return split
