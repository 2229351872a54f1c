"""A session is closed from any thread, and nobody waits for that."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable
from typing import Any

import pytest

from s5engine.phantom import LayerServer
from s5engine.source.http import HttpClient
from s5engine.source.retry import RetryPolicy
from s5engine.source.session import signed_filesystem


def until_closed(session: Any, loop: asyncio.AbstractEventLoop) -> None:
    """Wait in the loop until a session is closed."""

    async def closed() -> None:
        while not session.closed:
            await asyncio.sleep(0.01)

    asyncio.run_coroutine_threadsafe(closed(), loop).result(timeout=60)


def test_closing_in_the_loops_thread_does_not_wait_for_itself() -> None:
    """As when the garbage collector drops a forgotten stack while the loop is at work."""
    with LayerServer({"a/b.tif": b"bytes"}) as server:
        client = HttpClient(None, RetryPolicy())
        client.page(server.url("a/"))
        loop, session = client._loop, client._session
        assert not session.closed

        async def collected() -> None:
            client.close()

        asyncio.run_coroutine_threadsafe(collected(), loop).result(timeout=60)
        until_closed(session, loop)


def _client(url: str) -> tuple[Any, Any]:
    client = HttpClient(None, RetryPolicy())
    client.page(url)
    return client, client._session


def _store(url: str) -> tuple[Any, Any]:
    from fsspec.asyn import get_loop

    system = signed_filesystem(url, {"skip_instance_cache": True})
    asyncio.run_coroutine_threadsafe(system._cat_file(f"{url}b.tif"), get_loop()).result(60)
    return system, system._session


@pytest.mark.parametrize("opened", [_client, _store])
def test_what_is_dropped_does_not_wait_for_the_loop(
    opened: Callable[[str], tuple[Any, Any]],
) -> None:
    """The loop may wait for a lock that the thread holds in which the collector runs."""
    from fsspec.asyn import get_loop

    lock, loop = threading.Lock(), get_loop()
    with LayerServer({"a/b.tif": b"bytes"}) as server:
        held, session = opened(server.url("a/"))
        with lock:
            loop.call_soon_threadsafe(lambda: lock.acquire() and lock.release())
            del held
            gc.collect()
            # Whoever had waited would have closed it by force.
            assert not session.closed
        until_closed(session, loop)
