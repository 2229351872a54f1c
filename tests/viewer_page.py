"""A page of the viewer without a browser: plain requests, and messages over its connection."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import re
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

import s5engine as s5
from s5engine.view.app import page_of
from s5engine.view.pictures import SurfacePicture
from s5engine.view.scene import Scene, open_scene
from s5engine.view.serve import Viewer
from support import noise, volume_of

#: What a browser says of a page that its user opened.
OPENED = {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
#: … of one that another site's page opened.
CROSS_SITE = OPENED | {"Sec-Fetch-Site": "cross-site"}


def small_scene(folder: Path, *, segment: str = "test", run: str = "run") -> Scene:
    """Return a view of a run with label files, over a volume of 20 layers."""
    volume = volume_of(noise((20, 60, 90)))
    ink = volume.isel(layer=slice(0, 2)).rename(layer="window").astype(np.float32) / 255
    ink.attrs = {"segment": segment, "source": "memory"}
    s5.write_run(ink, folder / run, formats=("zarr",), progress=False)
    (folder / "labels").mkdir(exist_ok=True)
    scene = open_scene([folder / run], labels=folder / "labels", saves=folder / "saves")
    scene.panels[0].surface = SurfacePicture("volume", [volume])
    return scene


def served(scene: Scene) -> Viewer:
    """Return a viewer that serves it."""
    return Viewer(page_of(scene)).start()


def ask(
    viewer: Viewer, path: str, method: str = "GET", **headers: str
) -> tuple[int, Mapping[str, str], str]:
    """Return status, headers and body of an answer; headers are written with ``_`` for ``-``."""
    # A machine may be busy.
    connection = http.client.HTTPConnection("127.0.0.1", viewer.port, timeout=120)
    with closing(connection):
        connection.putrequest(method, path, skip_host=True)
        for name, value in ({"Host": f"127.0.0.1:{viewer.port}"} | headers).items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        answer = connection.getresponse()
        body = answer.read().decode("utf-8", "replace")
    return answer.status, dict(answer.getheaders()), body


class OpenPage:
    """A page that was asked for, and its connection.

    Parameters
    ----------
    viewer : Viewer
    query : str
        Of the address, with its ``?``.
    headers : mapping of str to str
        What the browser says with it.
    """

    def __init__(
        self, viewer: Viewer, query: str = "", headers: Mapping[str, str] = OPENED
    ) -> None:
        self._viewer = viewer
        self._loop: Any = None
        self.status, self.headers, self.html = ask(viewer, "/" + query, **headers)
        found = re.search(r'"token":"([^"]+)"', self.html)
        self.token = found[1] if found else ""
        self._socket: Any = None
        self._number, self._ended = 0, False
        self.models: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> OpenPage:
        self.connect(self.token)
        self.pull()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self, *, abrupt: bool = False) -> None:
        """End the connection, as a closed tab does, or one of a browser that was killed."""

        async def end() -> None:
            if abrupt:
                self._socket.protocol.stream.close()
            self._socket.close()
            while not self._ended and await self._socket.read_message() is not None:
                pass

        if self._socket is not None:
            self._loop.run_until_complete(end())
            self._loop.close()

    def connect(self, token: str, origin: str | None = None) -> None:
        """Open the connection, and wait until the server is ready for messages."""
        headers = {
            "Origin": origin or self._viewer.url.rstrip("/"),
            "Sec-WebSocket-Protocol": f"bokeh, {token}",
        }
        request = HTTPRequest(self._viewer.url.replace("http", "ws") + "ws", headers=headers)

        async def begin() -> Any:
            return await websocket_connect(request)

        self._loop = asyncio.new_event_loop()
        self._socket = self._loop.run_until_complete(begin())
        self._socket.protocol.set_nodelay(True)
        self._loop.run_until_complete(self._answer("", "ACK"))

    def pull(self) -> dict[str, Any]:
        """Return the document as the page gets it, and keep its models by their names."""
        content = self.send("PULL-DOC-REQ", {})["content"]
        self.models = {}
        _collect(content["doc"], self.models)
        return dict(content["doc"])

    def send(self, kind: str, content: Any) -> dict[str, Any]:
        """Send a message; return the answer's header and content."""
        self._number += 1
        name = f"m{self._number}"
        text = content if isinstance(content, str) else json.dumps(content)
        for piece in (json.dumps({"msgid": name, "msgtype": kind}), "{}", text):
            self.send_piece(piece)
        return self._loop.run_until_complete(self._answer(name))

    def send_piece(self, piece: str | bytes) -> None:
        """Send a piece of a message, whatever it is."""

        async def write() -> None:
            await self._socket.write_message(piece, binary=isinstance(piece, bytes))

        self._loop.run_until_complete(write())

    async def _answer(self, name: str, kind: str = "") -> dict[str, Any]:
        pieces: list[str] = []
        while True:
            piece = await asyncio.wait_for(self._socket.read_message(), 5)
            if piece is None:
                self._ended = True
                raise ConnectionError("the connection was closed")
            if isinstance(piece, bytes):
                continue
            words = json.loads(piece)
            pieces = [piece] if "msgtype" in words else [*pieces, piece]
            header = json.loads(pieces[0])
            if len(pieces) == 3 and (header.get("reqid") == name or header["msgtype"] == kind):
                return {"header": header, "content": json.loads(pieces[2])}

    def set(self, name: str, attribute: str, value: Any) -> str:
        """Set what a control holds, as the page does; return what kind of answer came."""
        model = {"id": self.models[name]["id"]}
        event = {"kind": "ModelChanged", "model": model, "attr": attribute, "new": value}
        return str(self.send("PATCH-DOC", {"events": [event]})["header"]["msgtype"])

    def press(self, name: str) -> str:
        """Press a button."""
        model = {"id": self.models[name]["id"]}
        event = {
            "type": "event",
            "name": "button_click",
            "values": {"type": "map", "entries": [["model", model]]},
        }
        message = {"kind": "MessageSent", "msg_type": "bokeh_event", "msg_data": event}
        return str(self.send("PATCH-DOC", {"events": [message]})["header"]["msgtype"])

    def note(self) -> str:
        """Return what is said at the foot of the controls."""
        self.pull()
        return str(self.models["note"]["attributes"]["text"])


def payload_of(token: str) -> dict[str, Any]:
    """Return what a session's token says in the open."""
    text = token.split(".")[0]
    return dict(json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))))


def _collect(value: Any, found: dict[str, dict[str, Any]]) -> None:
    """Keep every model below a value, by its name or id."""
    if isinstance(value, dict):
        attributes = value.get("attributes")
        if value.get("type") == "object" and isinstance(attributes, dict) and "id" in value:
            found[str(attributes.get("name") or value["id"])] = value
        for inner in value.values():
            _collect(inner, found)
    elif isinstance(value, list):
        for inner in value:
            _collect(inner, found)
