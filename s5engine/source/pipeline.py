"""Band after band: requests, decoding and the consumer at work side by side, in bounded memory.

Fetching threads take the requests of the bands in order, as long as the compressed bytes in flight
fit their limit, and hand what came to decoding threads, which write into the band's array. A band
is given out when nothing of it is missing. A segment that reaches into later bands is decoded once:
its further rows go to the next band's array, or wait as a copy until that exists.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from s5engine.source.band import Band, BandState, Carried, Task, in_batches
from s5engine.source.decode import Pixels, Scratch
from s5engine.source.layer import Layer
from s5engine.source.read_plan import Piece
from s5engine.source.retry import CancelToken, StoppedError

#: Requests in flight.
CONNECTIONS = 8


class BandReader:
    """Reads bands of a stack of layers; iterate over it once.

    Parameters
    ----------
    layers : sequence of Layer
        All of one size and dtype.
    bands : sequence of (y0, y1)
        Ascending, disjoint row ranges.
    columns : (x0, x1)
        Wanted columns.
    ahead : int
        Bands that are read while the consumer works on one.
    in_flight : int
        Limit of the fetched and not yet decoded bytes.
    threads : int
        Decoding threads.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        bands: Sequence[Band],
        columns: tuple[int, int],
        *,
        ahead: int,
        in_flight: int,
        threads: int,
    ) -> None:
        self._layers, self._bands, self._columns = layers, list(bands), columns
        self._ahead, self._budget, self._threads = ahead, in_flight, threads
        self._halt = CancelToken()
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)  # for fetchers: a request may go out
        self._ready = threading.Condition(self._lock)  # for the consumer: a band is complete
        self._own = threading.local()  # each decoding thread's scratch memory
        self._states: dict[int, BandState] = {}
        self._tasks: deque[Task] = deque()
        self._next_band = 0  # first band that is not planned yet
        self._limit = -1  # last band that may be fetched
        self._flying = 0
        self._error: BaseException | None = None
        self._decoders: ThreadPoolExecutor | None = None

    def __iter__(self) -> Generator[tuple[Band, Pixels], None, None]:
        fetchers = [
            threading.Thread(target=self._fetch_all, name=f"s5-fetch-{i}", daemon=True)
            for i in range(CONNECTIONS)
        ]
        self._decoders = ThreadPoolExecutor(self._threads, thread_name_prefix="s5-decode")
        try:
            for thread in fetchers:
                thread.start()
            for i, band in enumerate(self._bands):
                complete = [self._complete(i)]
                for later in range(i + 1, min(i + 1 + self._ahead, len(self._bands))):
                    self._allocate(later)
                # Given away: a name here would keep it while the consumer is at work.
                yield band, complete.pop()
        finally:
            self._stop()
            for thread in fetchers:
                thread.join()
            self._decoders.shutdown(wait=True, cancel_futures=True)
            self._states.clear()
            self._tasks.clear()

    # --- the consumer's side -------------------------------------------------------------------

    def _complete(self, i: int) -> Pixels:
        """Wait for band ``i`` and take it out."""
        self._allocate(i)
        with self._lock:
            self._limit = max(self._limit, i + self._ahead)
            self._room.notify_all()
            self._ready.wait_for(lambda: self._error is not None or self._states[i].complete)
            if self._error is not None:
                raise self._error
            array = self._states.pop(i).array
            if array is None:
                raise RuntimeError("a finished band has no array")
            return array

    def _allocate(self, i: int) -> None:
        """Make the array of band ``i`` and start on what was waiting for it."""
        with self._lock:
            state = self._state(i)
            if state.array is not None:
                return
            x0, x1 = self._columns
            (y0, y1), dtype = state.rows, self._layers[0].dtype
            make = np.zeros if any(layer.grid.sparse for layer in self._layers) else np.empty
            state.array = make((len(self._layers), y1 - y0, x1 - x0), dtype)
            for piece in state.carried:
                piece.put(state.array, y0)
            state.carried.clear()
            arrived, state.arrived = state.arrived, []
        for task in arrived:
            self._submit(task)

    def _stop(self) -> None:
        with self._lock:
            self._halt.set()
            self._room.notify_all()
            self._ready.notify_all()

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            if self._error is None and not isinstance(error, StoppedError):
                self._error = error
            self._halt.set()
            self._room.notify_all()
            self._ready.notify_all()

    # --- fetching ------------------------------------------------------------------------------

    def _fetch_all(self) -> None:
        """Work through the requests: what each fetching thread does."""
        try:
            while (task := self._take()) is not None:
                layer = self._layers[task.slot]
                if task.span is not None:
                    task.data = layer.file.read(task.span.start, task.span.stop, self._halt)
                elif layer.spool is not None:
                    layer.spool.ensure(*self._bands[task.band], self._halt)
                self._arrive(task)
                del task
        except BaseException as error:  # noqa: BLE001 - handed to the consumer, whatever it is
            self._fail(error)

    def _take(self) -> Task | None:
        """Return the next request as soon as it may go out; None when there are no more."""
        with self._lock:
            while True:
                if self._halt.is_set:
                    return None
                if not self._tasks and self._next_band <= self._limit:
                    if self._next_band == len(self._bands):
                        return None
                    self._plan(self._next_band)
                    continue
                if self._tasks:
                    size = self._tasks[0].size
                    if self._flying == 0 or self._flying + size <= self._budget:
                        self._flying += size
                        task = self._tasks.popleft()
                        if self._tasks:
                            self._room.notify()  # one wakes the next: all at once would only queue
                        return task
                self._room.wait()

    def _state(self, i: int) -> BandState:
        return self._states.setdefault(i, BandState(self._bands[i]))

    def _plan(self, i: int) -> None:
        """Make the requests of band ``i``; what a band before it brought along is left out."""
        state = self._state(i)
        before = self._bands[i - 1][1] if i else 0
        for slot, layer in enumerate(self._layers):
            if layer.spool is not None:
                self._tasks.append(Task(i, slot, None, 0))
                state.missing += 1
                continue
            first = -(-before // layer.grid.seg_height)
            for span in layer.spans(state.rows, self._columns, first):
                self._tasks.append(Task(i, slot, span, span.size))
                state.missing += 1
        state.planned = True
        self._next_band += 1
        self._ready.notify_all()

    def _arrive(self, task: Task) -> None:
        """Give a fetched task to the decoders, or keep it until its band has an array."""
        with self._lock:
            state = self._states[task.band]
            if state.array is None:
                state.arrived.append(task)
                return
        self._submit(task)

    # --- decoding ------------------------------------------------------------------------------

    def _submit(self, task: Task) -> None:
        groups = in_batches(task.span.pieces) if task.span is not None else [[]]
        task.batches = len(groups)
        if self._decoders is None or self._halt.is_set:
            return
        for pieces in groups:
            self._decoders.submit(self._decode, task, pieces)

    def _decode(self, task: Task, pieces: list[Piece]) -> None:
        """Decode some pieces of a task: what a decoding thread does."""
        try:
            layer = self._layers[task.slot]
            if task.span is None and layer.spool is not None:
                (y0, y1), array = self._target(task.band)
                layer.spool.read(y0, y1, *self._columns, array[task.slot])
            scratch = self._scratch()
            data = memoryview(task.data)
            for piece in pieces:
                if self._halt.is_set:
                    return
                start = piece.start - (task.span.start if task.span else 0)
                self._place(task, piece, data[start : start + piece.size], scratch)
            del data
        except BaseException as error:  # noqa: BLE001 - handed to the consumer, whatever it is
            self._fail(error)
            return
        self._finish(task)

    def _scratch(self) -> Scratch:
        scratch: Scratch | None = getattr(self._own, "scratch", None)
        if scratch is None:
            scratch = self._own.scratch = Scratch()
        return scratch

    def _target(self, i: int) -> tuple[Band, Pixels]:
        state = self._states[i]
        if state.array is None:
            raise RuntimeError("a band is decoded before it has an array")
        return state.rows, state.array

    def _place(self, task: Task, piece: Piece, data: memoryview, scratch: Scratch) -> None:
        """Decode one piece into its band, and its further rows into the bands after it."""
        layer, (x0, x1) = self._layers[task.slot], self._columns
        a, b = layer.columns(piece, x0, x1)
        (top, bottom), array = self._target(task.band)
        own = array[task.slot, piece.y0 - top : piece.y1 - top, a - x0 : b - x0]
        last = self._last_wanted(task.band, piece.y1)
        if last <= bottom:
            layer.decode(piece, data, piece.y0, a, own, scratch)
            return
        pixels = np.empty((last - piece.y0, b - a), array.dtype)
        layer.decode(piece, data, piece.y0, a, pixels, scratch)
        own[...] = pixels[: len(own)]
        self._carry(task, Carried(task.slot, piece.y0, a - x0, pixels))

    def _last_wanted(self, i: int, end: int) -> int:
        """Return the end of the last wanted row before ``end``, in band ``i`` or a later one."""
        last = self._bands[i][1]
        for later in range(i + 1, len(self._bands)):
            y0, y1 = self._bands[later]
            if y0 >= end:
                break
            last = min(y1, end)
        return last

    def _carry(self, task: Task, whole: Carried) -> None:
        """Give rows of a straddling segment to the bands after its own."""
        bottom = whole.y0 + len(whole.pixels)
        for later in range(task.band + 1, len(self._bands)):
            y0, y1 = self._bands[later]
            if y0 >= bottom:
                break
            rows = whole.pixels[y0 - whole.y0 : y1 - whole.y0]
            piece = whole._replace(y0=y0, pixels=rows)
            with self._lock:
                state = self._state(later)
                if state.array is None:
                    state.carried.append(piece._replace(pixels=rows.copy()))
                    continue
            piece.put(state.array, y0)  # it is not given out before this task is finished

    def _finish(self, task: Task) -> None:
        """Count a batch as done; the last one of a task frees its bytes."""
        with self._lock:
            task.batches -= 1
            if task.batches:
                return
            task.data = b""
            self._flying -= task.size
            state = self._states[task.band]
            state.missing -= 1
            self._room.notify()
            if state.missing == 0:
                self._ready.notify_all()
