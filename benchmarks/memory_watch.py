"""Resident memory of a process and all that it started, over time."""

from __future__ import annotations

import threading
import time
from typing import Self

import psutil

#: Seconds between two looks at the memory, and between two at which processes there are (the
#: second reads the table of all processes, which is not free).
_STEP, _FAMILY_STEP = 0.05, 0.3
#: Points of a series that is kept.
POINTS = 120

Series = list[tuple[float, int]]


class TreeWatch:
    """Watch the memory of a process tree while the ``with`` lasts.

    Memory that processes share is counted in each of them.

    Attributes
    ----------
    samples : list of (seconds since the epoch, bytes)
    """

    def __init__(self, pid: int) -> None:
        self.samples: Series = []
        self._root = pid
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    @property
    def peak(self) -> int:
        """Largest sum so far, bytes."""
        return max((size for _, size in self.samples), default=0)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        try:
            root = psutil.Process(self._root)
        except psutil.NoSuchProcess:
            return
        family, looked = [root], 0.0
        while True:
            now = time.time()
            try:
                if now - looked > _FAMILY_STEP:
                    family, looked = [root, *root.children(recursive=True)], now
                self.samples.append((now, _resident(root) + sum(map(_or_none, family[1:]))))
            except psutil.NoSuchProcess:
                return
            if self._ended.wait(_STEP):
                return


def _resident(process: psutil.Process) -> int:
    return int(process.memory_info().rss)


def _or_none(process: psutil.Process) -> int:
    """Return the memory of a process that may have ended."""
    try:
        return _resident(process)
    except psutil.NoSuchProcess:
        return 0


def thin(
    samples: Series, start: float, length: float, points: int = POINTS
) -> dict[str, list[float]]:
    """Return the samples of ``length`` seconds, the largest of each of so many spans of time.

    Returns
    -------
    dict
        ``seconds`` since ``start`` and ``mib``.
    """
    found: dict[int, tuple[float, int]] = {}
    for at, size in samples:
        if not start <= at <= start + length:
            continue
        place = int((at - start) / max(length, 1e-9) * (points - 1))
        if place not in found or size > found[place][1]:
            found[place] = at - start, size
    kept = [found[place] for place in sorted(found)]
    return {
        "seconds": [round(at, 2) for at, _ in kept],
        "mib": [round(size / 2**20, 1) for _, size in kept],
    }
