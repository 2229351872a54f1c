"""How many blocks dask holds at a time is no more than what the plan counts."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
from dask.callbacks import Callback

from s5engine.infer.execute import GROUP, compute_blocks
from s5engine.infer.graph import _with_halo
from s5engine.infer.memory import InferenceShape, blocks_held

SIDE = 8
SHAPE = InferenceShape(
    layers=1,
    windows=1,
    tile=4,
    stride=2,
    reduction=1,
    window_layers=1,
    threads=1,
    height=1,
    width=1,
)


class Held(Callback):  # type: ignore[misc]  # dask: untyped
    """Counts the source blocks that dask holds after each task, whole or as views of them."""

    def __init__(self) -> None:
        self.most = 0

    def _posttask(
        self, key: Any, result: Any, dsk: Any, state: dict[str, Any], worker: Any
    ) -> None:
        owners = {id(owner) for value in list(state["cache"].values()) for owner in _source(value)}
        self.most = max(self.most, len(owners))


def _source(value: Any) -> list[Any]:
    """Return the whole source block that a value is, or looks into; nothing for another value."""
    while isinstance(value, np.ndarray) and isinstance(value.base, np.ndarray):
        value = value.base
    whole = isinstance(value, np.ndarray) and value.shape == (1, SIDE, SIDE)
    return [value] if whole and value.dtype == np.uint8 else []


def read(block_id: tuple[int, ...] = ()) -> np.ndarray:
    """Return a block, some after longer than others."""
    time.sleep(0.001 * (sum(block_id) % 3))
    return np.ones((1, SIDE, SIDE), np.uint8)


def predict(block: np.ndarray) -> np.ndarray:
    """Take longer than reading does."""
    time.sleep(0.001 * (1 + int(block[0, 0, 0]) * 3))
    return np.ones((1, 1, 1), bool)


@pytest.mark.parametrize("threads", [1, 2, 8])
@pytest.mark.parametrize(("down", "across"), [(1, 20), (20, 1), (2, 16), (5, 7), (14, 3)])
def test_no_more_blocks_are_held_than_planned(down: int, across: int, threads: int) -> None:
    chunks = ((1,), (SIDE,) * down, (SIDE,) * across)
    source = da.map_blocks(
        read, chunks=chunks, dtype=np.uint8, meta=np.empty((0, 0, 0), np.uint8), token="read"
    )
    work = da.map_blocks(
        predict,
        _with_halo(source, (0, 0), (0, 2)),
        dtype=bool,
        meta=np.empty((0, 0, 0), bool),
        chunks=((1,), (1,) * down, (1,) * across),
        token="predict",
    )
    indices = [(0, y, x) for x in range(across) for y in range(down)][: 2 * GROUP]
    with Held() as held, dask.config.set(scheduler="threads", num_workers=threads):
        compute_blocks(work, indices, lambda index: None)
    bound = blocks_held(replace(SHAPE, threads=threads), down, across)
    # A bound of everything would say nothing.
    assert 1 < held.most <= bound <= 2 * GROUP
    assert bound < down * across
