"""Tapers: how much each pixel of a tile counts where tiles overlap."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np

from s5engine.errors import InvalidArgumentError

Taper = Literal["gaussian", "hann", "uniform"]


def taper_weights(taper: Taper, tile: int) -> np.ndarray:
    """Return the weights of one tile, everywhere above zero, at most 1.

    Parameters
    ----------
    taper : {"gaussian", "hann", "uniform"}
        ``"gaussian"`` is the 2025 map exp(−((x−c)² + (y−c)²) / (2σ²)) with c = P // 2, σ = P // 4,
        divided by its maximum. ``"hann"`` is the separable window sin²(π(i + ½)/P), which sums to
        a constant at a stride of P/2; the half pixel keeps it above zero. ``"uniform"`` is ones.
    tile : int
        Tile size P, px.

    Returns
    -------
    (P, P) float32 ndarray, read-only

    Raises
    ------
    InvalidArgumentError
        If the taper is unknown.
    """
    if taper not in ("gaussian", "hann", "uniform"):
        raise InvalidArgumentError(f'taper is "gaussian", "hann" or "uniform", not {taper!r}.')
    return _weights(taper, tile)


@lru_cache(maxsize=16)
def _weights(taper: Taper, tile: int) -> np.ndarray:
    if taper == "gaussian":
        squares = (np.arange(tile) - tile // 2) ** 2
        weights = np.exp(-(squares[:, None] + squares[None, :]) / (2 * (tile // 4) ** 2))
        weights = weights / weights.max()
    elif taper == "hann":
        line = np.sin(np.pi * (np.arange(tile) + 0.5) / tile) ** 2
        weights = line[:, None] * line[None, :]
    else:
        weights = np.ones((tile, tile))
    result: np.ndarray = weights.astype(np.float32)
    result.flags.writeable = False
    return result
