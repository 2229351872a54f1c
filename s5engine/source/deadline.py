"""Calls of file systems that may never return: waited for so long only, and repeated."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable
from typing import TypeVar

from s5engine.errors import S5Error, SourceError, SourceNotFoundError
from s5engine.source.retry import (
    CancelToken,
    RateGate,
    RetryPolicy,
    StoppedError,
    TransientError,
    retry_call,
)

T = TypeVar("T")


def ask_filesystem(
    call: Callable[[], T],
    name: str,
    policy: RetryPolicy,
    cancel_token: CancelToken,
    *,
    size: int = 0,
    rate_gate: RateGate | None = None,
) -> T:
    """Return what a call of a file system of fsspec returns, patiently.

    Parameters
    ----------
    call : callable
        Takes nothing.
    name : str
        The address, as it may be printed.
    policy : RetryPolicy
    cancel_token : CancelToken
        Ends the waiting at once.
    size : int
        Bytes that are to come.
    rate_gate : RateGate, optional
        Holds the requests to one server.

    Raises
    ------
    SourceNotFoundError
        If there is no such file or folder.
    SourceError
        If it may not be read, or every try failed.
    """

    def attempt() -> T:
        try:
            return within(policy.allowed(size), call, cancel_token)
        except S5Error:
            raise
        except FileNotFoundError as error:
            raise SourceNotFoundError(f"{name} does not exist.", "Check the address.") from error
        except PermissionError as error:
            raise SourceError(
                f"{name} may not be read: {error}.", "Pass credentials in storage_options."
            ) from error
        except OSError as error:  # time-outs included
            raise TransientError(f"{type(error).__name__}: {error}") from error

    return retry_call(attempt, name, policy, rate_gate or RateGate(), cancel_token)


def within(seconds: float, call: Callable[[], T], cancel_token: CancelToken) -> T:
    """Return what ``call`` returns, or raise what it raises.

    Parameters
    ----------
    seconds : float
        How long it is waited for. A call that takes longer is left to itself.
    call : callable
        Takes nothing.
    cancel_token : CancelToken
        Ends the waiting at once.

    Raises
    ------
    TransientError
        If there is no answer in time.
    """
    future: concurrent.futures.Future[T] = concurrent.futures.Future()

    def work() -> None:
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            _give(future.set_exception, error)
        else:
            _give(future.set_result, result)

    ticket = cancel_token.register(future.cancel)
    threading.Thread(target=work, name="s5-call", daemon=True).start()
    try:
        return future.result(seconds)
    except concurrent.futures.CancelledError:
        raise StoppedError from None
    except TimeoutError as error:
        if future.done():
            raise  # the call's own
        future.cancel()
        raise TransientError(f"no answer within {seconds:g} s") from error
    finally:
        cancel_token.forget(ticket)


def _give(give: Callable[[T], None], value: T) -> None:
    """Hand a result over, if somebody still waits for it."""
    try:
        give(value)
    except concurrent.futures.InvalidStateError:
        return
