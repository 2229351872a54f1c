"""A session is closed from any thread, the event loop's own included."""

from __future__ import annotations

import asyncio

from s5engine.phantom import LayerServer
from s5engine.source.http import HttpClient
from s5engine.source.retry import RetryPolicy


def test_closing_in_the_loops_thread_does_not_wait_for_itself() -> None:
    """As when the garbage collector drops a forgotten stack while the loop is at work."""
    with LayerServer({"a/b.tif": b"bytes"}) as server:
        client = HttpClient(None, RetryPolicy())
        client.page(server.url("a/"))
        loop, session = client._fs.loop, client._session
        assert not session.closed

        async def collected() -> None:
            client.close()

        asyncio.run_coroutine_threadsafe(collected(), loop).result(timeout=60)

        async def until_closed() -> None:
            while not session.closed:
                await asyncio.sleep(0.01)

        asyncio.run_coroutine_threadsafe(until_closed(), loop).result(timeout=60)
