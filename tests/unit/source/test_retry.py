"""Backoff, Retry-After and calling work off."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from s5engine.errors import InvalidArgumentError, SourceError
from s5engine.source import RetryPolicy
from s5engine.source.retry import (
    CancelToken,
    RateGate,
    StoppedError,
    TransientError,
    parse_retry_after,
    retry_call,
)


def failing(times, retry_after=None):
    calls = []

    def attempt():
        calls.append(1)
        if len(calls) <= times:
            raise TransientError("busy", retry_after)
        return len(calls)

    return attempt, calls


def test_a_passing_failure_is_tried_again_until_the_policy_ends():
    policy = RetryPolicy(attempts=4, delay=0)
    attempt, _ = failing(3)
    assert retry_call(attempt, "x", policy, RateGate(), CancelToken()) == 4
    attempt, calls = failing(4)
    with pytest.raises(SourceError, match=r"x could not be read \(tried 4 times\): busy"):
        retry_call(attempt, "x", policy, RateGate(), CancelToken())
    assert len(calls) == 4


def test_what_has_little_hope_is_given_up_sooner_but_not_later():
    policy = RetryPolicy(attempts=4, delay=0)
    for hope, tries in ((1, 1), (2, 2), (9, 4)):
        calls = []

        def refused(hope=hope, calls=calls):
            calls.append(1)
            raise TransientError("refused", attempts=hope)

        with pytest.raises(SourceError, match="refused"):
            retry_call(refused, "x", policy, RateGate(), CancelToken())
        assert len(calls) == tries


def test_pauses_double_up_to_the_bound_and_jitter_only_shortens():
    policy = RetryPolicy(delay=1, longest_delay=5, jitter=0)
    assert [policy.pause(n) for n in range(1, 6)] == [1, 2, 4, 5, 5]
    random = RetryPolicy(delay=1, longest_delay=5, jitter=0.5)
    assert all(0.5 <= random.pause(1) <= 1 for _ in range(100))


def test_retry_after_is_obeyed_by_all_requests_and_refused_if_too_long():
    rate_gate, policy = RateGate(), RetryPolicy(attempts=2, delay=0, longest_wait=1)
    attempt, _ = failing(1, retry_after=0.2)
    start = time.monotonic()
    assert retry_call(attempt, "x", policy, rate_gate, CancelToken()) == 2
    assert time.monotonic() - start >= 0.2
    rate_gate.hold(0.1)
    start = time.monotonic()
    retry_call(lambda: 1, "another", policy, rate_gate, CancelToken())
    assert time.monotonic() - start >= 0.09
    attempt, _ = failing(1, retry_after=99)
    with pytest.raises(SourceError, match="asks to wait 99 s"):
        retry_call(attempt, "x", policy, RateGate(), CancelToken())


def test_retry_after_is_seconds_or_a_date():
    assert parse_retry_after(None) is None
    assert parse_retry_after("7") == 7
    assert parse_retry_after("soon") is None
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert 50 < parse_retry_after(later) <= 60
    assert parse_retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0


def test_a_halt_wakes_sleepers_and_calls_back_once():
    cancel_token, seen = CancelToken(), []
    ticket = cancel_token.register(lambda: seen.append("forgotten"))
    cancel_token.forget(ticket)
    cancel_token.register(lambda: seen.append("called"))
    timer = threading.Timer(0.05, cancel_token.set)
    timer.start()
    with pytest.raises(StoppedError):
        cancel_token.sleep(30)
    timer.join()
    assert seen == ["called"]
    cancel_token.register(lambda: seen.append("at once"))
    assert seen == ["called", "at once"]


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"delay": -1}, {"jitter": 2}, {"timeout": 0}])
def test_a_policy_that_cannot_be_followed_is_refused(wrong):
    with pytest.raises(InvalidArgumentError):
        RetryPolicy(**wrong)
