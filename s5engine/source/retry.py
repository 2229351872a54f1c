"""Trying again: backoff with jitter, the server's own Retry-After, and a way to stop at once."""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from s5engine.errors import InvalidArgumentError, SourceError

T = TypeVar("T")

#: More than any server means, s.
_LONGEST_WAIT = 1e9


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how patiently a failed request is repeated.

    Parameters
    ----------
    attempts : int
        Tries in all; 1 means no retry.
    delay : float
        Pause after the first failure, s; it doubles with each further one.
    longest_delay : float
        Upper bound of the doubling, s.
    jitter : float
        Share of the pause that is random, 0…1, so that connections do not return together.
    timeout : float
        How long a connection may stay silent, s.
    longest_wait : float
        The longest ``Retry-After`` that is obeyed, s; a longer one is an error.
    least_speed : float
        Bytes a second, after ``timeout``, below which an answer counts as stuck.
    """

    attempts: int = 6
    delay: float = 0.5
    longest_delay: float = 30.0
    jitter: float = 0.5
    timeout: float = 60.0
    longest_wait: float = 600.0
    least_speed: float = 2048.0

    def __post_init__(self) -> None:
        sensible = self.attempts >= 1 and self.delay >= 0 and self.timeout > 0
        if not sensible or not 0 <= self.jitter <= 1 or not self.least_speed > 0:
            raise InvalidArgumentError(
                f"{self} cannot be followed.",
                "attempts ≥ 1, delay ≥ 0 s, 0 ≤ jitter ≤ 1, timeout > 0 s and least_speed > 0 "
                "bytes/s are needed.",
            )

    def allowed(self, size: int) -> float:
        """Return the seconds in which ``size`` bytes have to come."""
        return self.timeout + size / self.least_speed

    def pause(self, failures: int) -> float:
        """Return the seconds to wait after this many failures in a row."""
        longest: float = min(self.longest_delay, self.delay * 2.0 ** (failures - 1))
        return longest * (1 - self.jitter * random.random())


class TransientError(Exception):
    """A failure that may pass: a time-out, a dropped connection, a busy server.

    ``attempts`` are the tries after which there is little hope, where the policy has more.
    """

    def __init__(
        self, reason: str, retry_after: float | None = None, attempts: int | None = None
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after
        self.attempts = attempts


class StoppedError(Exception):
    """The work was called off."""


class CancelToken:
    """A stop signal that reaches sleeping, waiting and running requests."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._calls: dict[int, Callable[[], object]] = {}

    @property
    def is_set(self) -> bool:
        """Whether the work was called off."""
        return self._event.is_set()

    def set(self) -> None:
        """Stop: wake every sleeper and cancel every registered request."""
        with self._lock:
            self._event.set()
            calls = list(self._calls.values())
        for call in calls:
            call()

    def check(self) -> None:
        """Raise if the work was called off."""
        if self._event.is_set():
            raise StoppedError

    def sleep(self, seconds: float) -> None:
        """Wait, or raise as soon as the work is called off."""
        if self._event.wait(max(0.0, seconds)):
            raise StoppedError

    def register(self, call: Callable[[], object]) -> int:
        """Have ``call`` run when the work is called off; return a ticket for `forget`."""
        with self._lock:
            if not self._event.is_set():
                self._calls[id(call)] = call
                return id(call)
        call()
        return 0

    def forget(self, ticket: int) -> None:
        """Take a registered call back."""
        with self._lock:
            self._calls.pop(ticket, None)


class RateGate:
    """Holds all requests to one server while it asks for patience."""

    def __init__(self) -> None:
        self._until = 0.0

    def hold(self, seconds: float) -> None:
        """Let no request out for this long."""
        self._until = max(self._until, time.monotonic() + seconds)

    def wait(self, cancel_token: CancelToken) -> None:
        """Wait until requests may go out again."""
        while (left := self._until - time.monotonic()) > 0:
            cancel_token.sleep(left)
        cancel_token.check()


def parse_retry_after(value: str | None) -> float | None:
    """Return the seconds that a ``Retry-After`` header asks for (RFC 9110, 10.2.3).

    None if it asks for none that make sense; no more than `_LONGEST_WAIT`.
    """
    if value is None:
        return None
    if re.fullmatch(r"\s*-?[0-9]+(\.[0-9]*)?\s*", value):
        return min(max(0.0, float(value)), _LONGEST_WAIT)
    try:
        when = parsedate_to_datetime(value)
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        return min(max(0.0, (when - datetime.now(UTC)).total_seconds()), _LONGEST_WAIT)
    except (ValueError, OverflowError, TypeError, IndexError):  # dates beyond any calendar
        return None


def retry_call(
    attempt: Callable[[], T],
    name: str,
    policy: RetryPolicy,
    rate_gate: RateGate,
    cancel_token: CancelToken,
) -> T:
    """Call ``attempt`` until it succeeds or the policy is exhausted.

    Raises
    ------
    SourceError
        If every try failed in passing, or the server asks for too long a wait.
    """
    failures = 0
    while True:
        rate_gate.wait(cancel_token)
        try:
            return attempt()
        except TransientError as error:
            failures += 1
            if failures >= min(policy.attempts, error.attempts or policy.attempts):
                tries = "once" if failures == 1 else f"{failures} times"
                raise SourceError(
                    f"{name} could not be read (tried {tries}): {error.reason}.",
                    "Check the address and the connection, and run it again: "
                    "what is finished is kept.",
                ) from error
            pause = policy.pause(failures)
            if error.retry_after is not None:
                if error.retry_after > policy.longest_wait:
                    raise SourceError(
                        f"{name}: the server asks to wait {error.retry_after:.0f} s "
                        f"({error.reason}).",
                        "Run it again later.",
                    ) from error
                rate_gate.hold(error.retry_after)
            cancel_token.sleep(pause)
