"""Units of resumable work, done where they are missing: in threads, or on a dask client's workers.

A unit is given out as soon as what it needs is there and there is room for it; there are no groups
that wait for their slowest member. It reads what it needs and writes what it makes by itself, so
that pixels never travel; the one process that gives the command keeps the journal.
"""

from __future__ import annotations

import heapq
import queue
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from s5engine.runtime.attempts import Attempt
from s5engine.runtime.clients import current_client
from s5engine.runtime.journal import Journal

#: Does a unit's work and returns the files that it wrote; the journal brings them to the disk.
Work = Callable[[], Sequence[Path]]


@dataclass(frozen=True)
class Unit:
    """A piece of work that is done whole or not at all.

    Attributes
    ----------
    key : str
        Its line in the journal.
    prepare : callable
        Returns its work, small enough to be sent to a worker; called when it is given out.
    step : str
        What its task is called on the dashboard.
    needs : frozenset of str
        Keys of the units that must be finished before.
    resources : mapping of str to float
        What it asks of a worker.
    """

    key: str
    prepare: Callable[[], Work]
    step: str
    needs: frozenset[str] = frozenset()
    resources: Mapping[str, float] = field(default_factory=dict)


class _Future(Protocol):
    def result(self) -> Any: ...

    def cancel(self) -> object: ...

    def add_done_callback(self, call: Callable[[Any], object]) -> object: ...


class _Place(Protocol):
    """Where units are done."""

    def at_once(self) -> int:
        """Return how many may be given out now."""

    def submit(self, unit: Unit) -> _Future: ...


def run_units(
    units: Sequence[Unit],
    journal: Journal,
    done: Callable[[Unit], None],
    *,
    threads: int,
    stop: Callable[[], None] = lambda: None,
) -> None:
    """Do the units that the journal does not hold, in their order as far as their needs allow.

    On the current dask client if there is one, else in threads of this process. Whatever fails,
    what is at work then is waited for, and journaled if it is done.

    Parameters
    ----------
    units : sequence of Unit
        First come those that are to be done first.
    journal : Journal
    done : callable
        Gets each unit after it was journaled, in this thread.
    threads : int
        Units at work at the same time in this process; a client's workers have threads of their
        own.
    stop : callable
        Asks what is at work in this process to end early, after a failure or Ctrl-C.
    """
    todo = [unit for unit in units if unit.key not in journal]
    if not todo:
        return
    waiting = {n: {key for key in unit.needs if key not in journal} for n, unit in enumerate(todo)}
    dependents: dict[str, list[int]] = {}
    for number, needs in waiting.items():
        for key in needs:
            dependents.setdefault(key, []).append(number)
    ready = [number for number, needs in waiting.items() if not needs]
    heapq.heapify(ready)
    with _place(journal, threads) as place:
        finished: queue.SimpleQueue[_Future] = queue.SimpleQueue()
        given: dict[_Future, int] = {}
        try:
            while ready or given:
                most = place.at_once() if ready else 0
                while ready and len(given) < most:
                    number = heapq.heappop(ready)
                    future = place.submit(todo[number])
                    given[future] = number
                    future.add_done_callback(finished.put)
                future = finished.get()
                number = given[future]
                files = future.result()
                del given[future]
                _finish(todo[number], files, journal, done)
                for following in dependents.pop(todo[number].key, ()):
                    waiting[following].discard(todo[number].key)
                    if not waiting[following]:
                        heapq.heappush(ready, following)
        except BaseException:
            stop()
            _drain(given, todo, journal, done)
            raise


def _finish(
    unit: Unit, files: Sequence[Path], journal: Journal, done: Callable[[Unit], None]
) -> None:
    journal.finish(unit.key, files)
    done(unit)


def _drain(
    given: dict[_Future, int], todo: Sequence[Unit], journal: Journal, done: Callable[[Unit], None]
) -> None:
    """Give up what has not begun; journal what is finished all the same, so that it is not lost."""
    for future in given:
        future.cancel()
    for future, number in given.items():
        try:
            files = future.result()
        except BaseException:  # noqa: BLE001, S112 (the first failure is the one that is told)
            continue
        _finish(todo[number], files, journal, done)


@contextmanager
def _place(journal: Journal, threads: int) -> Iterator[_Place]:
    client = current_client()
    if client is not None:
        yield _Workers(client, journal.attempt())
        return
    with ThreadPoolExecutor(threads, "s5-unit") as pool:
        yield _Threads(pool, threads)


class _Threads:
    def __init__(self, pool: ThreadPoolExecutor, threads: int) -> None:
        self._pool, self._threads = pool, threads

    def at_once(self) -> int:
        return self._threads

    def submit(self, unit: Unit) -> _Future:
        return self._pool.submit(_prepare_and_do, unit)


def _prepare_and_do(unit: Unit) -> Sequence[Path]:
    return unit.prepare()()


class _Workers:
    """The workers of a client; each has one unit at hand beside those at work in its threads."""

    def __init__(self, client: Any, attempt: Attempt) -> None:
        self._client, self._attempt = client, attempt
        self._name = uuid.uuid4().hex[:8]

    def at_once(self) -> int:
        # Anew each time: workers come and go.
        known = self._client.scheduler_info(n_workers=-1)["workers"].values()
        return sum(int(worker["nthreads"]) + 1 for worker in known) or 1

    def submit(self, unit: Unit) -> _Future:
        future: _Future = self._client.submit(
            _do_there,
            unit.prepare(),
            self._attempt,
            key=(f"{unit.step}-{self._name}", unit.key),
            pure=False,
            resources=dict(unit.resources) or None,
        )
        return future


def _do_there(work: Work, attempt: Attempt) -> Sequence[Path]:
    """Do a unit's work in a worker, unless its command has ended."""
    with attempt.at_work():
        return work()
