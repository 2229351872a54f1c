"""What a data server does wrong, on purpose: which answers to spoil, how, and how often."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal, get_args

from s5engine.errors import InvalidArgumentError

FaultKind = Literal[
    "status", "truncate", "html", "hang", "drop", "wrong-range", "ignore-range", "new-etag"
]


@dataclass(frozen=True)
class Fault:
    """One way in which the server misbehaves.

    Parameters
    ----------
    path_pattern : str
        Which paths, as a shell pattern over the whole path without a leading slash:
        ``"*/05.tif"``, ``"*/layers/"`` for a listing, ``"*"`` for everything.
    kind : str
        ``"status"``: answer with ``code`` (and ``Retry-After: retry_after`` where given);
        ``"truncate"``: close the connection after the share ``keep`` of the body;
        ``"html"``: status 200 and an HTML page instead of the file;
        ``"hang"``: wait ``seconds``, then answer as usual;
        ``"drop"``: close the connection without an answer;
        ``"wrong-range"``: status 206 with other bytes of the file than were asked for, and a
        Content-Range that says so;
        ``"ignore-range"``: status 200 and the whole file;
        ``"new-etag"``: an ETag that differs from every one before.
    times : int, optional
        How many answers are spoiled; None for all.
    skip : int
        How many matching requests are answered well before the first spoiled one.
    method : str, optional
        Only requests with this method, ``"GET"`` or ``"HEAD"``.
    code : int
        The status of kind ``"status"``.
    retry_after : float, optional
        Seconds for the Retry-After header of kind ``"status"``.
    seconds : float
        How long kind ``"hang"`` waits.
    keep : float
        Share of the body, in [0, 1), that kind ``"truncate"`` sends.

    Raises
    ------
    InvalidArgumentError
        If the kind is unknown or a number is out of its range.
    """

    path_pattern: str
    kind: FaultKind
    times: int | None = None
    skip: int = 0
    method: str | None = None
    code: int = 500
    retry_after: float | None = None
    seconds: float = 1.0
    keep: float = 0.5

    def __post_init__(self) -> None:
        if self.kind not in get_args(FaultKind):
            raise InvalidArgumentError(
                f"There is no fault {self.kind!r}.", f"Choose one of {get_args(FaultKind)}."
            )
        if not 0 <= self.keep < 1 or not 200 <= self.code <= 599 or self.seconds < 0:
            raise InvalidArgumentError(
                f"A fault needs 0 ≤ keep < 1 (got {self.keep}), 200 ≤ code ≤ 599 (got {self.code}) "
                f"and seconds ≥ 0 (got {self.seconds})."
            )

    def matches(self, method: str, path: str) -> bool:
        """Whether the fault is meant for this request."""
        return self.method in (None, method) and fnmatchcase(path, self.path_pattern)


class FaultPlan:
    """The faults in force and how often each was met; safe to use from several threads."""

    def __init__(self, faults: Sequence[Fault] = ()) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = list(faults)
        self._met = [0] * len(self._faults)

    def add(self, fault: Fault) -> None:
        """Put one more fault in force, after the others."""
        with self._lock:
            self._faults.append(fault)
            self._met.append(0)

    def clear(self) -> None:
        """Answer every request well from now on."""
        with self._lock:
            self._faults.clear()
            self._met.clear()

    def next(self, method: str, path: str) -> Fault | None:
        """Return the first fault that spoils this request, and count it."""
        with self._lock:
            for number, fault in enumerate(self._faults):
                if not fault.matches(method, path):
                    continue
                self._met[number] += 1
                turn = self._met[number] - fault.skip
                if turn >= 1 and (fault.times is None or turn <= fault.times):
                    return fault
        return None
