"""A page's connection, which goes on whatever a message holds."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bokeh.protocol import Protocol
from bokeh.protocol.exceptions import ProtocolError
from bokeh.protocol.receiver import Receiver
from bokeh.server.session import ServerSession
from bokeh.server.views.ws import WSHandler

log = logging.getLogger("s5engine.view")

#: What a page asks for, and who answers: it never puts another document in the place of its own.
_ANSWERS: Any = {"PULL-DOC-REQ": ServerSession.pull, "PATCH-DOC": ServerSession.patch}
#: A close code of the application's own.
_NO_SESSION = 4000
#: Characters of a message's header, and of what is wrong with it.
_LONGEST = 300


class Connection(WSHandler):
    """Bokeh's, but that a message which cannot be taken is told the page, and nothing else ends."""

    #: Whether a message has begun and is not whole.
    _within = False

    def open(self, *args: Any, **kwargs: Any) -> None:
        """Begin; one with a wrong token is closed."""
        with _surviving(self._refuse):
            super().open()
            self.set_nodelay(True)  # a message has three pieces: none waits for the others' receipt

    async def _async_open(self, token: str) -> None:
        with _surviving(self._refuse):  # the page may have gone, or its session
            await super()._async_open(token)

    def _refuse(self, why: str) -> None:
        self.close(_NO_SESSION, "no session")

    async def on_message(self, fragment: str | bytes) -> None:
        """Take a piece of a message, and answer it when it is whole."""
        receiver: Any = self.receiver
        if receiver is None or self.connection is None:
            self._refuse("too early")
            return
        if _is_header(fragment):  # whatever came before, a message begins
            receiver = Receiver(Protocol())
            own: Any = self
            own.receiver, self._within = receiver, True
        if not self._within:
            return
        message, self._within = None, False
        with _surviving(lambda why: None):
            message = await receiver.consume(fragment)
            self._within = message is None
        if message is not None:
            with _surviving(lambda why: None):  # one without a number has no answer
                await self._reply(message)

    async def _reply(self, message: Any) -> None:
        """Send the answer, or what is wrong with the message."""
        connection: Any = self.connection
        faults: list[str] = []
        answer = None
        with _surviving(faults.append):
            answer = await self._answer(message, connection)
        for why in faults:
            answer = connection.error(message, why)
        if answer is not None:  # there is none once the session has ended
            await self.send_message(answer)

    async def _answer(self, message: Any, connection: Any) -> Any:
        if message.msgtype == "SERVER-INFO-REQ":
            return connection.protocol.create("SERVER-INFO-REPLY", message.header["msgid"])
        if message.msgtype not in _ANSWERS:
            raise ProtocolError(f"A page does not send {message.msgtype!r}.")
        return await _ANSWERS[message.msgtype](message, connection)

    async def send_message(self, message: Any) -> None:
        """Send a message; a page that has gone needs none."""
        with _surviving(lambda why: None):
            await super().send_message(message)

    def ping(self, data: str | bytes = b"") -> None:
        """Keep the connection alive, unless it is closing."""
        with _surviving(lambda why: None):
            super().ping(data)

    def on_close(self) -> None:
        """Let the session go; it may have ended before."""
        connection: Any = self.connection
        application: Any = self.application
        if connection is not None:
            with _surviving(lambda why: None):
                connection.session.notify_connection_lost()
            application.client_lost(connection)


def _is_header(fragment: str | bytes) -> bool:
    """Return whether a message begins: no other piece names its kind."""
    if not isinstance(fragment, str) or len(fragment) > _LONGEST or "msgtype" not in fragment:
        return False
    try:
        words = json.loads(fragment)
    except ValueError:
        return False
    return isinstance(words, dict) and all(
        isinstance(words.get(key), str) for key in ("msgid", "msgtype")
    )


@contextmanager
def _surviving(then: Callable[[str], None]) -> Iterator[None]:
    """Whatever somebody sends, or wherever it leads: note it, and go on with ``then``."""
    try:
        yield
    except Exception as error:  # any fault of a message is the page's, not ours
        why = " ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST]
        log.debug("not taken: %s", why, exc_info=True)
        then(why)
