"""One block of the volume → the predictions of the tiles that it owns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from s5engine.errors import S5Error
from s5engine.geometry import TileAxis
from s5engine.infer.tta import averaged, with_spread
from s5engine.model.device_thread import check_stopped, run_on, stops

if TYPE_CHECKING:
    import torch

    from s5engine.model.ink_model import InkModel


#: Layer window, tile row and tile column of each tile of a batch, within the block.
Places = list[tuple[int, int, int]]

#: What is known of each pixel of a tile where the spread is kept: the trailing axis, in order.
STATISTICS = ("mean", "spread")


class PredictionError(S5Error, ArithmeticError):
    """The network answered something that is not a probability."""


@dataclass(frozen=True)
class TileTask:
    """What every block does alike: network, grid, windows.

    Parameters
    ----------
    model : InkModel
    y, x : TileAxis
        The global grid along both axes.
    step_y, step_x : int
        Distance between block starts, px.
    windows : tuple of tuple of int
        For each layer window, the positions of its layers along the block's first axis.
    tta, batch : int
        TTA level, and tiles per forward pass.
    """

    model: InkModel
    y: TileAxis
    x: TileAxis
    step_y: int
    step_x: int
    windows: tuple[tuple[int, ...], ...]
    tta: int
    batch: int

    @property
    def map_size(self) -> int:
        """Side of a tile's prediction, P / 4."""
        return int(self.model.tile // self.model.reduction)


_COUNTERS: list[Callable[[int], None]] = []


@contextmanager
def counting(count: Callable[[int], None]) -> Iterator[None]:
    """Tell ``count`` how many tiles were answered or skipped in this process, batch by batch.

    One network at work answers for seconds, and a block of its tiles for minutes.
    """
    _COUNTERS.append(count)
    try:
        yield
    finally:
        _COUNTERS.remove(count)


def _told(tiles: int) -> None:
    for count in tuple(_COUNTERS):
        count(tiles)


def owned(axis: TileAxis, step: int, index: int, count: int) -> slice:
    """Return which tiles of the axis block ``index`` of ``count`` owns; the last has the rest."""
    per_block = step // axis.stride
    return slice(index * per_block, axis.count if index == count - 1 else (index + 1) * per_block)


def active_tiles(mask: np.ndarray | None, ys: np.ndarray, xs: np.ndarray, tile: int) -> np.ndarray:
    """Return which tiles touch papyrus.

    Parameters
    ----------
    mask : (h, w) bool ndarray or None
        The papyrus mask of the block; None means papyrus everywhere.
    ys, xs : (n,), (m,) int ndarrays
        Tile origins within the block.
    tile : int
        Tile size, px.

    Returns
    -------
    (n, m) bool ndarray
    """
    if mask is None:
        return np.ones((len(ys), len(xs)), bool)
    # Any papyrus in the tile: first along x, then along y, from cumulated counts.
    across = np.zeros((mask.shape[0], mask.shape[1] + 1), np.int32)
    np.cumsum(mask, axis=1, out=across[:, 1:])
    rows = across[:, np.minimum(xs + tile, mask.shape[1])] > across[:, xs]
    down = np.zeros((mask.shape[0] + 1, len(xs)), np.int32)
    np.cumsum(rows, axis=0, out=down[1:])
    touched: np.ndarray = down[np.minimum(ys + tile, mask.shape[0])] > down[ys]
    return touched


def predict_block(
    block: np.ndarray,
    mask: np.ndarray | None = None,
    *,
    task: TileTask,
    block_id: tuple[int, ...],
    num_blocks: tuple[int, int],
    spread: bool = False,
) -> np.ndarray:
    """Return the predictions of the tiles that one block owns.

    Parameters
    ----------
    block : (layers, h, w) uint8 ndarray
        The block's pixels and the halo to its right and below.
    mask : (h, w) bool ndarray or None
        The papyrus mask there.
    task : TileTask
    block_id : tuple of int
        Position of the block (window, y, x, …).
    num_blocks : tuple of int
        Number of blocks (y, x).
    spread : bool
        Keep the standard deviation over TTA beside the mean.

    Returns
    -------
    (windows, tile_y, tile_x, P/4, P/4) float32 ndarray
        Mean probability over TTA; NaN where a tile was skipped because it holds no papyrus. With
        ``spread`` there is a trailing axis of `STATISTICS`.

    Raises
    ------
    PredictionError
        If the network's answer is not finite.
    """
    before = stops()
    row, column = block_id[1:3]
    owned_y = owned(task.y, task.step_y, row, num_blocks[0])
    owned_x = owned(task.x, task.step_x, column, num_blocks[1])
    ys = task.y.origins[owned_y] - row * task.step_y
    xs = task.x.origins[owned_x] - column * task.step_x
    active = active_tiles(mask, ys, xs, task.model.tile)
    size = task.map_size
    kept = (len(STATISTICS),) if spread else ()
    result = np.full((len(task.windows), len(ys), len(xs), size, size, *kept), np.nan, np.float32)
    _told(len(task.windows) * int((~active).sum()))
    if not active.any():
        return result

    def run() -> None:
        for indices, maps in _predictions(block, ys, xs, active, task, spread):
            check_stopped(before)
            _check_finite(maps, indices, task, (owned_y, owned_x))
            result[tuple(np.transpose(indices))] = maps
            _told(len(indices))

    run_on(str(task.model.device), run)
    return result


def _check_finite(
    maps: np.ndarray, indices: Places, task: TileTask, block: tuple[slice, slice]
) -> None:
    """Refuse maps that hold what is not a probability; ``block`` says which tiles it owns."""
    if np.isfinite(maps).all():
        return
    finite = np.isfinite(maps).reshape(len(maps), -1).all(axis=1)
    w, i, j = indices[int(np.argmin(finite))]
    raise PredictionError(
        f"The network {task.model.name!r} answered NaN or infinity for the tile at "
        f"y {int(task.y.origins[block[0]][i])}, x {int(task.x.origins[block[1]][j])} of the "
        f"volume, layer window number {w}.",
        'Its weights may be damaged; half precision may overflow: try precision="float32".',
    )


def _predictions(
    block: np.ndarray,
    ys: np.ndarray,
    xs: np.ndarray,
    active: np.ndarray,
    task: TileTask,
    spread: bool,
) -> Iterator[tuple[Places, np.ndarray]]:
    """Yield batches of (window, tile row, tile column) and their maps.

    Batches cross tile rows and windows. Those of a real network all have one shape (the last is
    filled up): its kernels then never change, nor the last bits of its answers. A wrapped callable
    gets just the tiles that there are.
    """
    import torch

    model = task.model
    seen = with_spread if spread else averaged
    # The block goes to the device once, as bytes; cutting, scaling and turning happen there.
    pixels = torch.from_numpy(_at_least_a_tile(block, model.tile)).to(model.device)
    layers = [torch.as_tensor(w, device=model.device) for w in task.windows]
    todo = [(w, int(i), int(j)) for w in range(len(layers)) for i, j in np.argwhere(active)]
    for start in range(0, len(todo), task.batch):
        indices = todo[start : start + task.batch]
        tiles = torch.stack(
            [_cut(pixels, layers[w], int(ys[i]), int(xs[j]), model.tile) for w, i, j in indices]
        )
        missing = task.batch - len(indices) if model.config is not None else 0
        if missing:
            tiles = torch.cat([tiles, tiles.new_zeros((missing, *tiles.shape[1:]))])
        maps = seen(model.probabilities, tiles.float() / 255, task.tta)
        yield indices, maps[: len(indices)].cpu().numpy()


def _at_least_a_tile(block: np.ndarray, tile: int) -> np.ndarray:
    """Return the block, filled with zeros below and to the right if smaller than a tile."""
    missing = [(0, 0), *((0, max(tile - side, 0)) for side in block.shape[1:])]
    return np.pad(block, missing) if np.any(missing) else np.ascontiguousarray(block)


def _cut(pixels: torch.Tensor, layers: torch.Tensor, y: int, x: int, tile: int) -> torch.Tensor:
    """Return one tile (layers, P, P) of the block."""
    return pixels[:, y : y + tile, x : x + tile].index_select(0, layers)
