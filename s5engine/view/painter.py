"""Reads what is wanted on the screen in a thread of its own, so that the page never waits for it.

Only the latest wish counts: one that a newer one has overtaken is left where it is, but for the
tiles that it has read, which are kept.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from s5engine.console import say
from s5engine.errors import S5Error
from s5engine.view.cache import TileCache
from s5engine.view.pictures import Gray
from s5engine.view.pixels import Wanted, assemble, missing, read_tile

#: Threads that read.
READERS = 2
#: Seconds after which what there is so far is shown.
PATIENCE = 0.25

#: What is wanted, by the name of the place on the page where it goes.
Wish = Mapping[str, Wanted]
#: Takes pixels for a place, and whether they are all there.
Deliver = Callable[[str, Wanted, Gray, bool], None]


class Painter:
    """The thread; `ask` it for pixels, it calls ``deliver`` with them, once or while they come.

    Parameters
    ----------
    cache : TileCache
    deliver : callable
        Called in this thread with the place's name, what was wanted, the pixels, and whether no
        more will come.
    failed : callable
        Called in this thread with a sentence if a store cannot be read.
    """

    def __init__(
        self, cache: TileCache, deliver: Deliver, failed: Callable[[str], None] = say
    ) -> None:
        self._cache, self._deliver, self._failed = cache, deliver, failed
        self._wish: Wish | None = None
        self._changed = threading.Condition()
        self._stopped = False
        self._pool = ThreadPoolExecutor(READERS, "s5-view-read")
        self._thread = threading.Thread(target=self._work, name="s5-view", daemon=True)
        self._thread.start()

    def ask(self, wish: Wish) -> None:
        """Paint this next, instead of anything asked for before."""
        with self._changed:
            self._wish = wish
            self._changed.notify()

    def stop(self) -> None:
        """End the thread."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self._thread.join()
        self._pool.shutdown(cancel_futures=True)

    @property
    def _overtaken(self) -> bool:
        return self._wish is not None or self._stopped

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._overtaken:
                    self._changed.wait()
                if self._stopped:
                    return
                wish, self._wish = self._wish or {}, None
            try:
                self._paint(wish)
            except (S5Error, OSError, ValueError) as error:
                self._failed(f"This cannot be read: {error}")

    def _paint(self, wish: Wish) -> None:
        """Read what is missing; deliver each place when it is whole, and now and then before."""
        todo: dict[Future[None], str] = {}
        left = dict.fromkeys(wish, 0)
        for place, wanted in wish.items():
            for tile in missing(wanted, self._cache):
                future = self._pool.submit(self._read, wanted, tile)
                todo[future] = place
                left[place] += 1
        for place in wish:
            if not left[place]:
                self._deliver(place, wish[place], assemble(wish[place], self._cache), True)
        waiting = set(todo)
        shown = time.monotonic()
        while waiting:
            done, waiting = wait(waiting, timeout=0.05, return_when=FIRST_COMPLETED)
            if self._overtaken:
                for future in waiting:
                    future.cancel()
                return
            for future in done:
                future.result()
                left[todo[future]] -= 1
            late = time.monotonic() - shown > PATIENCE
            for place in {todo[future] for future in done} if not late else set(todo.values()):
                if left[place] == 0 or late:
                    whole = left[place] == 0
                    self._deliver(place, wish[place], assemble(wish[place], self._cache), whole)
            if late:
                shown = time.monotonic()

    def _read(self, wanted: Wanted, tile: tuple[int, int]) -> None:
        if not self._overtaken:
            read_tile(wanted, tile, self._cache)
