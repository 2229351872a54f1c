"""What a person sees while long work runs: a bar on a terminal, plain lines elsewhere.

Everything goes to standard error, so that standard output stays free for results.
"""

from __future__ import annotations

import os
import shlex
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from html import escape
from pathlib import Path
from typing import Any, Protocol, TextIO, TypeVar

from s5engine.errors import without_credentials

T = TypeVar("T")

#: Seconds between two plain lines of the same work.
LINE_INTERVAL = 5.0
#: Seconds of silence after which a line says that the work goes on.
SILENCE = 60.0


class Meter(Protocol):
    """Counts finished units of work; safe to call from several threads."""

    @property
    def done(self) -> float:
        """Units that are done, those of an earlier time included."""

    def advance(self, units: float = 1) -> None:
        """Count ``units`` more as done."""


class _Silent:
    done = 0.0

    def advance(self, units: float = 1) -> None:
        """Count nothing."""


class Pace:
    """How far work is and how long the rest will take; safe to use from several threads.

    Parameters
    ----------
    what, unit : str
        What is at work, and what is counted, plural.
    total, done : float
        Units in all, and those that were finished before.
    """

    def __init__(self, what: str, total: float, unit: str, done: float = 0) -> None:
        self.what, self.total, self.unit = what, total, unit
        self.done = self._resumed = done
        self._started = time.monotonic()
        self.lock = threading.Lock()

    def advance(self, units: float = 1) -> None:
        """Count ``units``; what is done twice, after a failure, is not counted beyond the total."""
        self.done = min(self.done + units, self.total)

    @property
    def elapsed(self) -> float:
        """Seconds since the work began here."""
        return time.monotonic() - self._started

    @property
    def left(self) -> float | None:
        """Seconds that the rest takes at the mean pace since then; None before the first unit."""
        fresh = self.done - self._resumed
        return self.elapsed * (self.total - self.done) / fresh if fresh > 0 else None

    def times(self) -> str:
        """Return the time gone and, as soon as one unit is done, the time left."""
        left = self.left
        gone = f"{clock(self.elapsed)} gone"
        return gone if left is None else f"{gone}, about {clock(left)} left"

    def __str__(self) -> str:
        return f"{self.what}: {self.done:,.12g} of {self.total:,.12g} {self.unit}, {self.times()}"


class _Lines:
    """Prints where the work is when the last line is some seconds old, and in long silences."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._next = time.monotonic() + LINE_INTERVAL
        self._over = threading.Event()
        threading.Thread(target=self._break_silence, name="s5-progress", daemon=True).start()

    @property
    def done(self) -> float:
        return self._pace.done

    def advance(self, units: float = 1) -> None:
        with self._pace.lock:
            self._pace.advance(units)
            self._say_if_due(time.monotonic())

    def close(self) -> None:
        self._over.set()

    def _say_if_due(self, now: float) -> None:
        if now >= self._next:
            self._next = now + LINE_INTERVAL
            say(str(self._pace))

    def _break_silence(self) -> None:
        while not self._over.wait(LINE_INTERVAL):
            with self._pace.lock:
                self._say_if_due(time.monotonic() + LINE_INTERVAL - SILENCE)


class _Bar:
    def __init__(self, pace: Pace, show: Callable[[float], None]) -> None:
        self._pace, self._show = pace, show

    @property
    def done(self) -> float:
        return self._pace.done

    def advance(self, units: float = 1) -> None:
        """Move the bar."""
        with self._pace.lock:
            self._pace.advance(units)
            self._show(self._pace.done)


def say(message: str) -> None:
    """Print one plain line for the person at the keyboard."""
    if sys.stderr is not None:  # it was closed before Python began
        with suppress(OSError, ValueError):  # a full disk or a closed terminal stops no work
            print(without_credentials(message), file=sys.stderr, flush=True)  # noqa: T201


def now(*words: str | Path) -> None:
    """Say which command looks at, or goes on with, what was just made."""
    say(f"now: {shlex.join(map(str, words))}")


def clock(seconds: float) -> str:
    """Return a time as people read it off a clock: ``8 s``, ``12:05``, ``3:00:09``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


class Output:
    """Standard output that remembers how it failed: a full disk, a reader that has gone."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.failure: OSError | None = None

    def write(self, text: str) -> int:
        """Write as the stream does."""
        return self._noting(lambda: self._stream.write(text))

    def flush(self) -> None:
        """Flush as the stream does."""
        self._noting(self._stream.flush)

    def _noting(self, do: Callable[[], T]) -> T:
        try:
            return do()
        except OSError as error:
            self.failure = error
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def watched_output() -> Iterator[Output]:
    """Watch standard output, and leave nothing in it that Python would fail over at its end."""
    stream: Any = sys.stdout
    output: Any = Output(stream)
    if stream is not None:  # it was closed before Python began
        sys.stdout = output
    try:
        yield output
    finally:
        sys.stdout = stream
        if stream is not None:
            try:
                stream.flush()
            except (OSError, ValueError):
                with suppress(OSError, ValueError):
                    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _on_a_terminal() -> bool:
    return sys.stderr is not None and not sys.stderr.closed and sys.stderr.isatty()


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
    pace = Pace(what, total, unit, done)
    if not _on_a_terminal():
        left = total - done
        units = unit.removesuffix("s") if left == 1 else unit
        say(f"{what}: {left:,g} {units} to do" + (f", {done:,g} done before" if done else ""))
        lines = _Lines(pace)
        try:
            yield lines
        finally:
            lines.close()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
    from rich.text import Text

    class Times(ProgressColumn):
        """Rich's own estimate needs several units within half a minute: ours may take longer."""

        max_refresh = 0.5

        def render(self, task: Task) -> Text:
            return Text(pace.times())

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.12g} of {task.total:,.12g} {task.fields[unit]}"),
        Times(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=total, completed=int(done), unit=unit)
        yield _Bar(pace, lambda units: bar.update(task, completed=units))


def as_html(text: str) -> str:
    """Return lines as a notebook shows them: as they are, in letters of one width."""
    return f"<pre>{escape(text)}</pre>"
