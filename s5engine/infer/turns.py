"""Predict and blend in turns: ink is written as soon as all the tiles that reach into it are there.

A run that takes days can then be looked at after minutes, and what is blended is read back while
it may still be in the disk's cache.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from s5engine.budget import trim_malloc
from s5engine.console import Meter, say
from s5engine.console import progress as show_progress
from s5engine.infer.culling import Index
from s5engine.infer.execute import group_size
from s5engine.infer.stored import BlockWriter, create_ink, create_tiles
from s5engine.infer.surgery import down_columns, needed_tiles, read_name, replace_tiles
from s5engine.infer.tiles import counting
from s5engine.runtime.clients import current_client
from s5engine.store.reduce_blocks import reduce_blocks

if TYPE_CHECKING:
    import xarray as xr

    from s5engine.runtime.journal import Journal

#: What is predicted is blended about as often as this, seconds.
_TURN_SECONDS = 60.0
#: The coarser levels follow what is blended about as often as this, seconds. After every turn they
#: cost more than the blending, where the network is fast.
_LEVEL_SECONDS = 20.0
#: Blocks of the first turn, before it is known how long one takes.
_FIRST_TURN = 2


class Turns:
    """The work of a run that is left to do, and how it is done.

    Parameters
    ----------
    ink : (window, y, x) DataArray
        Lazy ink.
    tiles : DataArray or None
        The predictions inside it, see `recover_tiles`; None if there are none to keep.
    folder : Path
        Of the run: ``tiles.zarr`` and ``ink.zarr`` are made, or gone on with.
    dtype : str
        How they are stored.
    journal : Journal
    """

    def __init__(
        self,
        ink: xr.DataArray,
        tiles: xr.DataArray | None,
        folder: Path,
        dtype: str,
        journal: Journal,
    ) -> None:
        self.seconds = {"predict": 0.0, "blend": 0.0}
        self._predict: BlockWriter | None = None
        self._tile_chunks = ((), (), ()) if tiles is None else tiles.data.chunks[:3]
        if tiles is not None:
            stored = create_tiles(tiles, folder / "tiles.zarr", dtype)
            device = tiles.attrs.get("device")
            self._predict = BlockWriter("predict", tiles.data, stored, journal, device)
            ink = replace_tiles(ink, tiles, stored)
        self._store = folder / "ink.zarr"
        array, blocks = create_ink(ink, self._store, dtype)
        data = ink.data.rechunk(blocks)
        self._blend = BlockWriter("blend", data, array, journal)
        needs = needed_tiles(data, None if tiles is None else read_name(tiles.data.name))
        self._tiles = sorted(frozenset().union(*needs.values()), key=down_columns)
        self._waiting = {
            block: {tile for tile in wanted if not self._is_predicted(tile)}
            for block, wanted in needs.items()
            if not self._blend.is_written(block)
        }
        # Blended, and not in the coarser levels; what an earlier process blended may not be.
        self._fresh = [block for block in needs if block not in self._waiting]
        self._reduced = -_LEVEL_SECONDS
        self._blocks = len(needs)
        self._ends = [np.cumsum(sizes).tolist() for sizes in data.chunks]

    @property
    def counts(self) -> dict[str, int]:
        """Blocks of each step in all, those that were done before included."""
        return {"predict": len(self._tiles), "blend": self._blocks}

    def run(self, *, progress: bool) -> None:
        """Do all of it."""
        todo = [tile for tile in self._tiles if not self._is_predicted(tile)]
        if todo and self._predict is not None:
            total = sum(map(self._count, self._tiles))
            done = total - sum(map(self._count, todo))
            # Workers of other processes tell of whole blocks alone.
            here = current_client() is None
            with show_progress("predict", total, "tiles", done=done, enabled=progress) as meter:
                try:
                    with counting(meter.advance) if here else nullcontext():
                        for turn in self._turns(todo):
                            self._predict_and_blend(self._predict, turn, None if here else meter)
                except KeyboardInterrupt:
                    kept = sum(map(self._count, filter(self._is_predicted, self._tiles)))
                    if progress and (lost := int(meter.done) - kept) > 0:
                        say(f"predict: {lost:,} tiles of blocks that were not finished are lost")
                    raise
        left = list(self._waiting)
        with show_progress(
            "blend",
            self._blocks,
            "blocks",
            done=self._blocks - len(left),
            enabled=progress and bool(left),
        ) as meter:
            self._blend_blocks(left, meter)

    def _predict_and_blend(
        self, writer: BlockWriter, turn: Sequence[Index], meter: Meter | None
    ) -> None:
        started = time.monotonic()
        writer.write(turn, lambda block: meter.advance(self._count(block)) if meter else None)
        self.seconds["predict"] += time.monotonic() - started
        for missing in self._waiting.values():
            missing.difference_update(turn)
        self._blend_blocks([block for block, missing in self._waiting.items() if not missing])
        # What is free lies in pieces between what is not: without this, a long run's peak grows.
        trim_malloc()

    def _blend_blocks(self, blocks: Sequence[Index], meter: Meter | None = None) -> None:
        started = time.monotonic()
        self._blend.write(blocks, lambda _: None if meter is None else meter.advance())
        for block in blocks:
            del self._waiting[block]
        self._fresh += blocks
        # The coarser levels as well, so that a large run can be looked at while it fills. What
        # comes after the last time is in the pyramid that is made at the end.
        due = time.monotonic() - self._reduced >= _LEVEL_SECONDS
        if self._waiting and self._fresh and due:
            reduce_blocks(
                self._store, [(self._place(1, y), self._place(2, x)) for _, y, x in self._fresh]
            )
            self._fresh.clear()
            self._reduced = time.monotonic()
        self.seconds["blend"] += time.monotonic() - started

    def _count(self, block: Index) -> int:
        """Return how many tiles a block of predictions has, those of all layer windows."""
        windows, rows, columns = self._tile_chunks
        return int(sum(windows) * rows[block[1]] * columns[block[2]])

    def _place(self, axis: int, index: int) -> slice:
        """Return the pixels of a block along an axis."""
        ends = self._ends[axis]
        return slice(ends[index - 1] if index else 0, ends[index])

    def _turns(self, todo: Sequence[Index]) -> Iterator[Sequence[Index]]:
        """Yield what is predicted in each turn: as much as takes about a minute, a group at most.

        A group alone bounds what dask holds at once.
        """
        start, size = 0, _FIRST_TURN
        while start < len(todo):
            least, most = group_size()
            turn = todo[start : start + min(max(size, least), most)]
            before = self.seconds["predict"]
            yield turn
            each = (self.seconds["predict"] - before) / len(turn)
            size = int(_TURN_SECONDS / each) if each > 0 else most
            start += len(turn)

    def _is_predicted(self, tile: Index) -> bool:
        return self._predict is None or self._predict.is_written(tile)


def step_seconds(turns: Turns) -> dict[str, Any]:
    """Return the seconds of each step, for the run's record."""
    return {f"{step}_s": round(seconds, 3) for step, seconds in turns.seconds.items()}
