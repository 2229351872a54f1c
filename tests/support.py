"""What several tests share: small volumes and networks that answer at once."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable
from pathlib import Path

import dask.array as da
import numpy as np
import torch
import xarray as xr

from s5engine import InkModel, wrap_model

TILE = 64
#: The small segment that pipeline tests serve: its name and size, a little of part 2 included.
SEGMENT, HEIGHT, WIDTH = "20260101", 300, 10_400


def volume_of(
    layers: np.ndarray,
    chunks: tuple[int, int, int] = (8, 100, 90),
    *,
    first_layer: int = 0,
    y0: int = 0,
    x0: int = 0,
    contrast: object = None,
) -> xr.DataArray:
    """Return an array (layer, y, x) as a lazy surface volume."""
    count, height, width = layers.shape
    return xr.DataArray(
        da.from_array(layers, chunks=chunks),
        dims=("layer", "y", "x"),
        coords={
            "layer": first_layer + np.arange(count),
            "y": y0 + np.arange(height),
            "x": x0 + np.arange(width),
        },
        attrs={"segment": "test", "source": "memory", "contrast": contrast},
    )


def noise(shape: tuple[int, int, int], seed: int = 0, dtype: type = np.uint8) -> np.ndarray:
    """Return reproducible noise over the whole range of the type."""
    top = np.iinfo(dtype).max + 1
    return np.random.default_rng(seed).integers(0, top, shape, dtype=dtype)


#: Whether dask makes arrays of expressions, not of graphs.
EXPRESSIONS = bool(os.environ.get("DASK_ARRAY__QUERY_PLANNING"))
_NUMBERS = itertools.count()


class Counter:
    """A stand-in network that counts the tiles it is given."""

    def __init__(
        self, answer: Callable[[torch.Tensor], torch.Tensor], number: int | None = None
    ) -> None:
        self.tiles = 0
        # Equal expressions of dask are one object, with the network of the first of them: a number
        # tells counters apart.
        self.number = next(_NUMBERS) if number is None and EXPRESSIONS else number
        self._answer = answer
        self._lock = threading.Lock()

    def __call__(self, tiles: torch.Tensor) -> torch.Tensor:
        with self._lock:
            self.tiles += len(tiles)
        return self._answer(tiles)

    def __reduce__(self) -> tuple[type[Counter], tuple[object, ...]]:
        return Counter, (self._answer, self.number)


def texture(tiles: torch.Tensor) -> torch.Tensor:
    """Answer with logits that depend on every pixel's place, so that a shifted tile shows."""
    weights = torch.arange(1, 17).view(1, 16, 1, 1) / 16
    mean = torch.nn.functional.avg_pool2d((tiles * weights).mean(1), 4)
    ramp = torch.linspace(-1, 1, mean.shape[-1])
    return 6 * mean - 2 + 0.3 * ramp[:, None] + 0.7 * ramp[None, :]


def constant(tiles: torch.Tensor) -> torch.Tensor:
    """Answer with an ink of 0.7 everywhere."""
    side = tiles.shape[-1] // 4
    return torch.full((len(tiles), side, side), float(np.log(0.7 / 0.3)))


def counting_model(
    answer: Callable[[torch.Tensor], torch.Tensor] = texture,
) -> tuple[InkModel, Counter]:
    """Return a wrapped stand-in and its counter."""
    counter = Counter(answer)
    return wrap_model(counter, tile=TILE), counter


def deleted_files() -> int:
    """Return how many files without a name this process holds open."""
    links = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            links.append(str(entry.readlink()))
        except OSError:  # the descriptor of this very listing
            continue
    return sum(link.endswith(" (deleted)") for link in links)
