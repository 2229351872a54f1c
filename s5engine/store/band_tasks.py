"""Bands or blocks as tasks on the workers of a dask cluster, in place of this process's threads.

A task reads its band, and writes what is made of it, by itself: pixels never travel. Which bands
are finished is written down by the one process that gives the command.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from s5engine import console
from s5engine.budget import current_rss, resolve_budget, trim_malloc
from s5engine.errors import BudgetError, SourceChangedError
from s5engine.runtime.attempts import Attempt
from s5engine.runtime.clients import current_client, share_error
from s5engine.store.band_plan import BAND_HEIGHTS, row_bands

if TYPE_CHECKING:
    from distributed import Client

    from s5engine.source.listing import LayerIndex
    from s5engine.source.stack import LayerStack

Band = tuple[int, int]
Task = Callable[[], object]
Plan = TypeVar("Plan")
Unit = TypeVar("Unit", bound=Hashable)

#: Tasks that are given out for each worker beyond those at work there: one that waits for them.
_WAITING = 1
#: A band is given out this many bands for each worker ahead of the oldest unfinished one, at most.
_AHEAD = 4
#: Bytes read in bands ÷ bytes read at once, up to which layers are read band by band.
_READ_AGAIN = 1.5
#: Places for tasks that are at work in a process at the same time, by how many they may be: memory
#: must not depend on its threads.
_places: dict[int, threading.Semaphore] = {}
_making_places = threading.Lock()


@dataclass(frozen=True)
class Workers:
    """The workers of the current client, and what each of them may use.

    Attributes
    ----------
    client : distributed.Client
    count : int
        Processes.
    threads : int
        Threads of the smallest of them.
    base, budget : int
        Bytes that the largest of them holds now, and that each may use.
    """

    client: Client
    count: int
    threads: int
    base: int
    budget: int

    def plan(self, plan: Callable[[int, int], Plan], least: int = 0) -> Plan:
        """Return ``plan(base, budget)`` of one worker.

        Parameters
        ----------
        plan : callable
        least : int
            Bytes beyond its base that a worker may use in any case.

        Raises
        ------
        BudgetError
            If nothing fits into a worker's share.
        """
        try:
            return plan(self.base, max(self.budget, self.base + least))
        except BudgetError as error:
            raise share_error(error, self.count, self.budget) from error

    def run(
        self, step: str, tasks: Iterable[tuple[Unit, Task]], attempt: Attempt, at_once: int = 1
    ) -> Generator[Unit]:
        """Run each unit's task once and yield the unit when it is done, in any order.

        Parameters
        ----------
        step : str
            What the tasks are called on the dashboard.
        tasks : iterable of (unit, callable)
            Made as they are needed, few at a time.
        attempt : Attempt
            That they belong to: they do nothing when it is over.
        at_once : int
            Tasks that may be at work in a worker at the same time.
        """
        from distributed import as_completed

        waiting: Any = as_completed(loop=self.client.loop)
        todo, name = enumerate(tasks), f"{step}-{uuid.uuid4().hex[:8]}"
        given: dict[Any, tuple[int, Unit]] = {}
        following = next(todo, None)
        most = (at_once + _WAITING) * self.count
        try:
            while given or following is not None:
                oldest = min((number for number, _ in given.values()), default=None)
                while following is not None and self._may_start(
                    following[0], oldest, most - len(given)
                ):
                    number, (unit, task) = following
                    key = (name, number)
                    future = self.client.submit(_do, task, attempt, at_once, key=key, pure=False)
                    given[key] = number, unit
                    oldest = number if oldest is None else oldest
                    waiting.add(future)
                    following = next(todo, None)
                done = next(waiting)
                done.result()
                yield given.pop(done.key)[1]
                # What nobody holds is not done again when the worker that did it dies.
                done.release()
        except BaseException:
            self.client.cancel(list(waiting.futures))
            raise

    def _may_start(self, number: int, oldest: int | None, free: int) -> bool:
        ahead = 0 if oldest is None else number - oldest
        return free > 0 and ahead < _AHEAD * self.count


@dataclass(frozen=True)
class LayersThere:
    """What travels to a worker in place of opened layer files."""

    index: LayerIndex
    layers: tuple[int, ...]
    fingerprint: dict[str, Any]

    def open(self) -> LayerStack:
        """Open the same layers in another process, which sees the same disk.

        Raises
        ------
        SourceNotFoundError
            If they are not on a disk that this machine sees.
        SourceChangedError
            If they are other files there.
        """
        from s5engine.source.stack import open_stack

        stack = open_stack(self.index, layers=self.layers)
        if _versions(stack) != self.fingerprint:
            stack.close()
            raise SourceChangedError(
                f"A worker finds other layers at {self.index.url} than the process that gave the "
                "command.",
                "All of them must see the same disk at the same place.",
            )
        return stack


def layers_there(stack: LayerStack) -> LayersThere:
    """Return what lets a worker open the layers of ``stack``."""
    return LayersThere(stack.index, stack.layers, _versions(stack))


def _versions(stack: LayerStack) -> dict[str, Any]:
    """Return what tells layers from others; not where they are, which may be said in two ways."""
    told = stack.fingerprint().items()
    return {n: {k: v for k, v in layer.items() if k != "url"} for n, layer in told}


def find_workers(step: str, source: object, budget: int) -> Workers | None:
    """Return the workers that can read the bands of a source by themselves; None if there are none.

    Says so where there are workers, but the source is better read by this process alone.

    Parameters
    ----------
    step : str
        What is done, for what is said.
    source : LayerStack, VolumeBands or None
        A volume's bands can always be read by themselves, and so can files that were written here.
    budget : int
        Bytes that all processes together may use.
    """
    client = current_client()
    if client is None:
        return None
    from s5engine.source.stack import LayerStack

    why = _read_here(source) if isinstance(source, LayerStack) else None
    if why is not None:
        console.say(f"{step}: in threads of this process, not by the workers: {why}")
        return None
    bases = client.run(_prepared)
    known = client.scheduler_info(n_workers=-1)["workers"].values()
    return Workers(
        client,
        count=len(bases),
        threads=min(int(worker["nthreads"]) for worker in known),
        base=max(bases.values()),
        budget=(budget - current_rss()) // len(bases),
    )


def _read_here(stack: LayerStack) -> str | None:
    """Return why one process alone should read the layers, or None."""
    from s5engine.address import local_path

    if local_path(stack.url) is None:
        return (
            "the layers come from a server, which one machine reads, with eight requests in "
            "flight at most"
        )
    height, width = stack.shape
    bands = row_bands(0, height, BAND_HEIGHTS[0])
    read = sum(stack.bytes_for((y0, y1, 0, width)) for y0, y1 in bands)
    if read > _READ_AGAIN * stack.bytes_for(None):
        return "no band of these layers can be decoded without the rows above it"
    return None


def budget_here(budget: int | str | None) -> int:
    """Return what this process may use: the budget less what workers on this machine hold now."""
    return max(resolve_budget(budget) - sum(_held_by_workers()), 1)


def _held_by_workers() -> list[int]:
    """Return the bytes that each worker process on this machine holds now."""
    client = current_client()
    held = {} if client is None else client.run(_trimmed)
    # Others are on machines with memory of their own, or threads of this process.
    return [size for address, size in held.items() if "://127.0.0.1:" in address]


def _trimmed() -> int:
    """Give back what is free, and return what this process then holds; runs in a worker."""
    trim_malloc()
    return current_rss()


def _do(task: Task, attempt: Attempt, at_once: int) -> None:
    """Run a task when few enough are at work in this process; runs in a worker."""
    with _place(at_once), attempt.at_work():
        task()


def _place(at_once: int) -> threading.Semaphore:
    with _making_places:
        return _places.setdefault(at_once, threading.Semaphore(at_once))


def _prepared() -> int:
    """Load what bands are worked on with, and return what this process then holds, bytes.

    What is free is given back first; runs in a worker.
    """
    import cv2  # noqa: F401
    import dask.array  # noqa: F401
    import imagecodecs  # noqa: F401
    import tifffile  # noqa: F401
    import xarray  # noqa: F401
    import zarr  # noqa: F401

    return _trimmed()


def in_order(bands: Iterable[Band], done: Iterable[Band]) -> Iterator[Band]:
    """Yield ``bands`` as they are, each as soon as it and all before it are done."""
    there: set[Band] = set()
    left = iter(bands)
    following = next(left, None)
    for band in done:
        there.add(band)
        while following in there:
            there.discard(following)
            yield following
            following = next(left, None)
