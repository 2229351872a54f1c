"""One thread for each device: it alone runs networks there, others read, blend and write.

Networks that run side by side share a device's memory and caches and wait for each other in any
case. With one owner, what a batch needs is held once, and the threads that wait for it are the
ones whose blocks are read ahead: as many as dask has threads, less one.

Loading and rewriting a network are the owner's work too. On a CPU each thread that computes with
torch has helpers of its own (OpenMP); where there are more of them than processors, all of them
stop waiting actively for each other, and a network then takes 7–10 % longer (measured with
UNETR-SF b0 on two cores).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from s5engine.errors import S5Error

Result = TypeVar("Result")

_owners: dict[tuple[int, str], ThreadPoolExecutor] = {}
_lock = threading.Lock()
_stops = 0
_own = threading.local()


class InferenceStoppedError(S5Error):
    """The network was told to stop between two batches."""


def run_on(device: str, work: Callable[[], Result]) -> Result:
    """Run ``work`` in the thread that owns ``device`` and return its answer; calls wait in line.

    The owner itself may call it: the work is then done at once.

    Parameters
    ----------
    device : str
        Such as ``"cpu"`` or ``"cuda:1"``.
    work : callable
        May call `check_stopped` between batches.

    Raises
    ------
    InferenceStoppedError
        If `stop_inference` was called meanwhile.
    """
    # A forked process has the dictionary but not the threads.
    key = (os.getpid(), device)
    if getattr(_own, "key", None) == key:
        return work()
    with _lock:
        if key not in _owners:
            _owners[key] = ThreadPoolExecutor(
                1, thread_name_prefix=f"s5-{device}", initializer=_remember, initargs=(key,)
            )
        owner = _owners[key]
    return owner.submit(work).result()


def _remember(key: tuple[int, str]) -> None:
    """Let a new owner know what it owns."""
    _own.key = key


def stops() -> int:
    """Return how often `stop_inference` was called, for `check_stopped`."""
    return _stops


def check_stopped(before: int) -> None:
    """Raise if `stop_inference` was called since ``before``, an earlier answer of `stops`.

    Raises
    ------
    InferenceStoppedError
    """
    if _stops != before:
        raise InferenceStoppedError(
            "The network was stopped before its work was done.",
            "The same command again lets it go on.",
        )


def stop_inference() -> None:
    """Let every owner of this process stop after its present batch; what begins later may run."""
    global _stops
    with _lock:
        _stops += 1
