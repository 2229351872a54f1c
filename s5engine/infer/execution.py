"""Do the units of a run: with progress, and with coarser levels that follow what is blended.

A run that takes days can then be looked at after minutes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s5engine.budget import trim_malloc
from s5engine.console import progress as show_progress
from s5engine.console import say
from s5engine.infer.prediction import Predicted, is_as_blended, prediction_of
from s5engine.infer.stages import BLEND, PREDICT, InkBlock, OtherInk, PredictedInk, ink_blocks
from s5engine.infer.stored import create_ink, create_tiles
from s5engine.infer.tiles import counting
from s5engine.model.device_thread import stop_inference
from s5engine.runtime.clients import current_client, needed_resources, threads_here
from s5engine.runtime.units import Unit, run_units
from s5engine.store.reduce_blocks import reduce_blocks

if TYPE_CHECKING:
    import xarray as xr

    from s5engine.runtime.journal import Journal

#: The coarser levels follow what is blended about as often as this, seconds. Where the network is
#: fast they cost more than the blending if they follow every block.
_LEVEL_SECONDS = 20.0


class Execution:
    """The work of a run that is left to do, and how it is done.

    Parameters
    ----------
    ink : (window, y, x) DataArray
        What is written.
    folder : Path
        Of the run: ``tiles.zarr`` and ``ink.zarr`` are made, or gone on with.
    dtype : str
        How they are stored.
    journal : Journal

    Attributes
    ----------
    predicts : bool
        Whether a network is run and its tiles are kept.
    predicts_unkept : bool
        Whether the ink was computed from lazy ink, so that a network may be run for it.
    seconds : dict of str to float
        How long each stage took.
    """

    def __init__(
        self,
        ink: xr.DataArray,
        folder: Path,
        dtype: str,
        journal: Journal,
    ) -> None:
        self._journal, self._store = journal, folder / "ink.zarr"
        self._reduced = -math.inf
        prediction = prediction_of(ink)
        self.predicts = prediction is not None
        self.predicts_unkept = (
            isinstance(ink, Predicted) and ink.chunks is not None and not is_as_blended(ink)
        )
        device = None if ink.chunks is None else ink.attrs.get("device")
        resources = needed_resources(current_client(), device)
        stored = create_ink(ink, self._store, dtype)
        self._work: PredictedInk | OtherInk
        if prediction is not None:
            tiles = create_tiles(prediction, folder / "tiles.zarr", dtype)
            self._work = PredictedInk(prediction, ink, tiles, stored, resources)
            self._threads = prediction.memory.threads
        else:
            self._work = OtherInk(ink, stored, resources)
            # A network in it answers for a block and its neighbours at a time.
            self._threads = 1 if self.predicts_unkept else threads_here()
        self._blocks = {b.key: b for b in ink_blocks(stored.shape, stored.chunks[1:])}
        self._units = self._work.units()
        # Blended, and not in the coarser levels; what an earlier process blended may not be.
        self._fresh = [block for key, block in self._blocks.items() if key in journal]
        self._left = len(self._blocks) - len(self._fresh)
        self.seconds = {PREDICT: 0.0, BLEND: 0.0}

    @property
    def counts(self) -> dict[str, int]:
        """Blocks of each stage in all, those that were done before included."""
        blend = len(self._blocks)
        return {PREDICT: len(self._units) - blend, BLEND: blend}

    def run(self, *, progress: bool) -> None:
        """Do all of it."""
        started = time.monotonic()
        todo = [u for u in self._units if u.key.startswith(PREDICT) and u.key not in self._journal]
        if todo and isinstance(self._work, PredictedInk):
            self._predict(self._work, todo, progress)
        self.seconds[PREDICT] = time.monotonic() - started
        with show_progress(
            BLEND,
            len(self._blocks),
            "blocks",
            done=len(self._blocks) - self._left,
            enabled=progress and self._left > 0,
        ) as meter:
            blending = [unit for unit in self._units if unit.key in self._blocks]
            self._do(blending, lambda _: meter.advance())
        self.seconds[BLEND] = time.monotonic() - started - self.seconds[PREDICT]

    def _predict(self, work: PredictedInk, todo: list[Unit], progress: bool) -> None:
        """Predict tiles, and blend all that can be blended before the last of them is there."""
        total = sum(work.tiles_in(u) for u in self._units if u.key.startswith(PREDICT))
        done = total - sum(map(work.tiles_in, todo))
        # Workers of other processes tell of whole blocks alone.
        here = current_client() is None
        last = max(n for n, unit in enumerate(self._units) if unit.key == todo[-1].key)
        with show_progress(PREDICT, total, "tiles", done=done, enabled=progress) as meter:

            def told(unit: Unit) -> None:
                if not here and unit.key not in self._blocks:
                    meter.advance(work.tiles_in(unit))

            try:
                with counting(meter.advance) if here else nullcontext():
                    self._do(self._units[: last + 1], told)
            except KeyboardInterrupt:
                kept = done + sum(work.tiles_in(u) for u in todo if u.key in self._journal)
                if progress and (lost := int(meter.done) - kept) > 0:
                    say(f"predict: {lost:,} tiles of blocks that were not finished are lost")
                raise

    def _do(self, units: list[Unit], told: Callable[[Unit], None]) -> None:
        def done(unit: Unit) -> None:
            if (block := self._blocks.get(unit.key)) is not None:
                self._blended(block)
            told(unit)

        run_units(units, self._journal, done, threads=self._threads, stop=stop_inference)

    def _blended(self, block: InkBlock) -> None:
        """Bring what is blended into the coarser levels, from time to time.

        What comes after the last time is in the pyramid that is made at the end.
        """
        self._fresh.append(block)
        self._left -= 1
        if self._left and time.monotonic() - self._reduced >= _LEVEL_SECONDS:
            reduce_blocks(self._store, [(fresh.rows, fresh.columns) for fresh in self._fresh])
            self._fresh.clear()
            # What is free lies in pieces between what is not: else a long run's peak grows.
            trim_malloc()
            self._reduced = time.monotonic()

    def step_seconds(self) -> dict[str, Any]:
        """Return the seconds of each stage, for the run's record."""
        return {f"{step}_s": round(seconds, 3) for step, seconds in self.seconds.items()}
