"""What a person sees while long work runs: a bar on a terminal, plain lines elsewhere.

Everything goes to standard error, so that standard output stays free for results.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Protocol

#: Seconds between two plain lines of the same work.
LINE_INTERVAL = 5.0


class Meter(Protocol):
    """Counts finished units of work; safe to call from several threads."""

    def advance(self, units: float = 1) -> None:
        """Count ``units`` more as done."""


class _Silent:
    def advance(self, units: float = 1) -> None:
        """Count nothing."""


class _Lines:
    def __init__(self, what: str, total: float, unit: str, done: float) -> None:
        self._what, self._total, self._unit = what, total, unit
        self._done = self._resumed = done
        self._started = time.monotonic()
        self._next = self._started + LINE_INTERVAL
        self._lock = threading.Lock()

    def advance(self, units: float = 1) -> None:
        """Count ``units``; print a line when the last one is some seconds old."""
        with self._lock:
            self._done += units
            now = time.monotonic()
            if now < self._next:
                return
            self._next = now + LINE_INTERVAL
            elapsed = now - self._started
            left = elapsed * (self._total - self._done) / (self._done - self._resumed)
        say(
            f"{self._what}: {self._done:g} of {self._total:g} {self._unit}, "
            f"{elapsed:.0f} s gone, about {left:.0f} s left"
        )


class _Bar:
    def __init__(self, advance: Callable[[float], None]) -> None:
        self._advance = advance

    def advance(self, units: float = 1) -> None:
        """Move the bar."""
        self._advance(units)


def say(message: str) -> None:
    """Print one plain line for the person at the keyboard."""
    print(message, file=sys.stderr, flush=True)  # noqa: T201


def table(rows: Mapping[str, str]) -> str:
    """Return names and what they stand for, a line each; without those that stand for nothing."""
    return "\n".join(f"{name:<11} {text}" for name, text in rows.items() if text)


def format_seconds(seconds: float) -> str:
    """Return a time in the unit that people would use."""
    for unit, length in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.3g} s"


@contextmanager
def progress(
    what: str, total: float, unit: str, *, done: float = 0, enabled: bool = True
) -> Iterator[Meter]:
    """Show that ``what`` is at work on ``total`` units, of which ``done`` were finished before.

    Parameters
    ----------
    what : str
        The step, as people know it: "ingest", "predict".
    total, done : float
        Units in all and units already finished in an earlier run.
    unit : str
        What is counted, plural: "bands", "blocks".
    enabled : bool
        If false nothing is shown.

    Yields
    ------
    Meter
        Call ``advance`` on it as units are finished.
    """
    if not enabled:
        yield _Silent()
        return
    if not sys.stderr.isatty():
        left = total - done
        units = unit.removesuffix("s") if left == 1 else unit
        say(f"{what}: {left:g} {units} to do" + (f", {done:g} done before" if done else ""))
        yield _Lines(what, total, unit, done)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        yield _Bar(partial(bar.advance, bar.add_task(what, total=total, completed=int(done))))
