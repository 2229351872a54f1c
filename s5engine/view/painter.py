"""Reads what is wanted on the screen in a thread of its own, so that the page never waits for it.

What is on the screen comes first and is shown at once, at a coarser level where the right one takes
long to read (see `s5engine.view.rough`); then as sharp as it was wanted, and then the margin around
it. Only the latest wish counts: one that a newer one has overtaken is left where it is, but for the
tiles that it has read, which are kept.

A page takes longer to colour pixels than it takes to read them again. So nothing is sent before it
has drawn what it was sent, or what was seen on the way would keep it from drawing the place where
somebody has arrived.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

from s5engine.console import say
from s5engine.view.cache import TileCache
from s5engine.view.pictures import Gray
from s5engine.view.pixels import Wanted, assemble, missing, read_tiles, runs_of
from s5engine.view.rough import Step, rough_step

#: Threads that read.
READERS = 2
#: Seconds after which what there is so far is shown.
PATIENCE = 0.4
#: Seconds after which a page that has not said that it has drawn is sent more all the same.
LONGEST = 2.0

#: What is wanted, by the name of the place on the page where it goes: what cannot wait, then more.
Wish = Mapping[str, Sequence[Wanted]]
#: Takes pixels for a place.
Deliver = Callable[[str, Wanted, Gray], None]


class Painter:
    """The thread; `ask` it for pixels, it calls ``deliver`` with them, once or while they come.

    Parameters
    ----------
    cache : TileCache
    deliver : callable
        Called in this thread with the place's name, what was wanted and the pixels, all of them or,
        where that takes long, those that there are so far.
    failed : callable
        Called in this thread with a sentence if a store cannot be read.
    finished : callable
        Called in this thread with the number of a wish once all that cannot wait was delivered,
        and whether it is as sharp as wanted; where it is not, once more when it is.
    mark : callable, optional
        Called in this thread with a number behind pixels that belong together; no more are
        delivered until `drawn` is called with it. Without it nothing is held back.
    readers : int
        Threads that read.
    """

    def __init__(
        self,
        cache: TileCache,
        deliver: Deliver,
        failed: Callable[[str], None] = say,
        finished: Callable[[int, bool], None] = lambda number, sharp: None,
        mark: Callable[[int], None] | None = None,
        readers: int = READERS,
    ) -> None:
        self._cache, self._deliver = cache, deliver
        self._failed, self._finished, self._mark = failed, finished, mark
        self._wish: Wish | None = None
        self._ahead: Sequence[Wanted] = ()
        self._number = 0
        self._there: dict[str, tuple[Any, ...]] = {}
        self._given, self._marked, self._drawn = 0, 0, 0
        self._changed = threading.Condition()
        self._stopped = False
        self._pool = ThreadPoolExecutor(readers, "s5-view-read")
        self._thread = threading.Thread(target=self._work, name="s5-view", daemon=True)
        self._thread.start()

    def ask(self, wish: Wish, number: int = 0, ahead: Sequence[Wanted] = ()) -> None:
        """Paint this next, instead of anything asked for before; then read ``ahead``."""
        with self._changed:
            self._wish, self._number, self._ahead = wish, number, ahead
            self._changed.notify()

    def drawn(self, mark: int) -> None:
        """Hear that all before a mark is on the screen."""
        with self._changed:
            self._drawn = max(self._drawn, mark)
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
                wish, self._wish, number = self._wish or {}, None, self._number
                ahead = self._ahead
            try:
                if self._paint(wish, number):
                    self._read_ahead(ahead)
            except Exception as error:  # noqa: BLE001  # whatever a store holds, the page goes on
                self._failed(f"This cannot be read: {error}")
                self._finished(number, True)

    def _paint(self, wish: Wish, number: int) -> bool:
        """Read and deliver what cannot wait, roughly if need be, then sharp, then the rest.

        Returns whether nothing newer is asked for yet.
        """
        for place in self._there.keys() - wish.keys():
            del self._there[place]  # the page may have cleared it
        # Where everything is at hand, nothing is sent twice.
        wish = {
            place: wanted if missing(wanted[-1], self._cache) else wanted[-1:]
            for place, wanted in wish.items()
        }
        found = {place: rough_step(wanted[0], self._cache) for place, wanted in wish.items()}
        rough = {place: step for place, step in found.items() if step is not None}
        under = {place: step.under for place, step in rough.items()}
        steps = {p: [Step(w, w, under.get(p)) for w in wanted] for p, wanted in wish.items()}
        first = {place: step[0] for place, step in steps.items()}
        if not self._paint_step(first | rough):
            return False
        if rough:
            self._finished(number, False)
            if not self._paint_step({place: first[place] for place in rough}):
                return False
        self._finished(number, True)
        for more in range(1, max(map(len, steps.values()), default=1)):
            if not self._paint_step({p: s[more] for p, s in steps.items() if more < len(s)}):
                return False
        return True

    def _read_ahead(self, ahead: Sequence[Wanted]) -> None:
        """Read what may be wanted next, with one thread, for as long as nothing else is asked."""
        for wanted in ahead:
            for tile, count in runs_of(wanted, missing(wanted, self._cache)):
                if self._overtaken:
                    return
                self._pool.submit(self._read, wanted, tile, count).result()

    def _paint_step(self, wish: Mapping[str, Step]) -> bool:
        """Read and deliver; then put a mark behind what was delivered.

        Returns whether all of it was delivered: False if another wish has overtaken it.
        """
        before = self._given
        try:
            return self._read_and_give(wish)
        finally:
            if self._mark is not None and self._given > before:
                self._marked += 1
                self._mark(self._marked)

    def _await_page(self) -> bool:
        """Wait until the page has drawn all that it was sent; return whether that still counts."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._drawn >= self._marked or self._overtaken, timeout=LONGEST
            )
            return not self._overtaken

    def _read_and_give(self, wish: Mapping[str, Step]) -> bool:
        """Read what is missing; deliver each place when it is whole, and now and then before."""
        todo: dict[Future[None], str] = {}
        left = dict.fromkeys(wish, 0)
        for place, step in wish.items():
            for tile, count in runs_of(step.read, missing(step.read, self._cache)):
                todo[self._pool.submit(self._read, step.read, tile, count)] = place
                left[place] += 1
        waiting = set(todo)
        news = any(self._there.get(place) != step.show.key for place, step in wish.items())
        if news and not self._await_page():  # while others read
            return _cancel(waiting)
        for place in wish:
            if not left[place]:
                self._give(place, wish[place], whole=True)
        shown = time.monotonic()
        while waiting:
            done, waiting = wait(waiting, timeout=0.05, return_when=FIRST_COMPLETED)
            if self._overtaken:
                return _cancel(waiting)
            for future in done:
                future.result()
                left[todo[future]] -= 1
            late = time.monotonic() - shown > PATIENCE
            for place in {todo[future] for future in done} if not late else set(todo.values()):
                if left[place] == 0 or late:
                    self._give(place, wish[place], whole=left[place] == 0)
            if late:
                shown = time.monotonic()
        return True

    def _give(self, place: str, step: Step, *, whole: bool) -> None:
        """Deliver a place's pixels, unless they are there already."""
        wanted = step.show
        if self._there.get(place) == wanted.key:
            return
        self._there.pop(place, None)
        pixels = assemble(wanted, self._cache, step.under if wanted is not step.under else None)
        if whole and step.read is wanted:
            self._there[place] = wanted.key
        self._given += 1
        self._deliver(place, wanted, pixels)

    def _read(self, wanted: Wanted, tile: tuple[int, int], count: int) -> None:
        if not self._overtaken:
            read_tiles(wanted, tile, count, self._cache)


def _cancel(futures: Iterable[Future[None]]) -> bool:
    """Take back what is not begun; return False."""
    for future in futures:
        future.cancel()
    return False
