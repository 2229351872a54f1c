"""Servers that break off, stall, trickle or never end: every read ends soon, in one clear error."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import fsspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import s5engine as s5
from raw_server import Asked, Packet, RawServer, reply
from s5engine.errors import S5Error, SourceError, StoreError
from s5engine.phantom.layouts import encode_layer
from s5engine.source import RetryPolicy, list_layers, open_stack
from s5engine.source.deadline import ask_filesystem, within
from s5engine.source.http import HttpClient
from s5engine.source.retry import CancelToken
from s5engine.store import remote
from support import deleted_files

IMPATIENT = RetryPolicy(attempts=1, delay=0.001, timeout=0.04)
PIXELS = np.random.default_rng(3).integers(1, 200, (60, 400)).astype(np.uint8)
FILE = encode_layer(PIXELS, "rows-lzw")
PAGE = b'<a href="0.tif">0.tif</a>'
METADATA = (
    b'{"zarr_format": 2, "shape": [4, 8, 8], "chunks": [4, 8, 8], "dtype": "|u1", "order": "C",'
    b' "compressor": null, "filters": null, "fill_value": 0}'
)
#: What a read may take before the test says that it hangs, s.
LONG = 15

#: What is wrong with a chunked body in its later packet.
CHUNKED = {
    "bad size": b"zz\r\nmore\r\n",
    "negative size": b"-4\r\nmore\r\n",
    "huge size": b"f" * 40 + b"\r\nmore\r\n",
    "no size": b"\r\nmore\r\n",
    "missing end of a chunk": b"4\r\nmoreXX4\r\nmore\r\n",
    "bare line feeds": b"4\nmore\n0\n\n",
    "bad extension": b"4;\x00\x01=\r\rmore\r\n",
    "bad trailer": b"0\r\nno trailer\r\n\r\n",
    "endless trailer": b"0\r\n" + b"A: b\r\n" * 9000,
    "unfinished trailer": b"0\r\nName: value\r\n",
    "unfinished size": b"4",
    "unfinished chunk": b"40\r\nmore",
    "silence": b"",
}


def chunked(kind: bytes, body: bytes, at: float, status: str = "200 OK") -> list[Packet]:
    """Return an answer whose body is right up to ``at`` and breaks in a later packet."""
    cut = body[: int(len(body) * at)]
    head = reply(b"", status, length=None, Transfer_Encoding="chunked", **ranged(status, body))
    first = b"%x\r\n%s\r\n" % (len(cut), cut) if cut else b""
    return [head + first, 0.02, kind, None]


def ranged(status: str, body: bytes) -> dict[str, str]:
    """Return the Content-Range of an answer that has status 206."""
    span = f"bytes 0-{len(body) - 1}/{len(FILE)}"
    return {"Content_Range": span} if status.startswith("206") else {}


def plain(kind: str, body: bytes, at: float, status: str) -> list[Packet]:
    """Return an answer that goes wrong in another way."""
    cut = body[: int(len(body) * at)]
    ranges = ranged(status, body)
    whole = reply(body, status, **ranges)
    long = reply(cut, status, length=len(body) + 9, **ranges)
    packed = gzip.compress(body)[: -1 - int(9 * at)]
    return {
        "no answer": [None],
        "head cut": [whole[: int(30 * at)], None],
        "head never ends": [b"HTTP/1.1 200 OK\r\n", *[b"X-A: b\r\n", 0.01] * 2000, None],
        "head too long": [b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000, None],
        "only informed": [b"HTTP/1.1 100 Continue\r\n\r\n", 0.01] * 2000 + [None],
        "body stops": [long, None],
        "body trickles": [long, *[b"x", 0.01] * 2000, None],
        "packed body cut": [reply(packed, status, Content_Encoding="gzip", **ranges), None],
        "packed body wrong": [reply(b"no" + cut, status, Content_Encoding="gzip", **ranges), None],
        "redirected for ever": [reply(b"", "302 Found", Location="?again")],
        "redirected nowhere": [reply(b"", "302 Found", Location="http://[::1/x")],
        "no HTTP": [b"\x00\xff\x00 hello\r\n\r\n", None],
    }[kind]


PLAIN = [
    "no answer",
    "head cut",
    "head never ends",
    "head too long",
    "only informed",
    "body stops",
    "body trickles",
    "packed body cut",
    "packed body wrong",
    "redirected for ever",
    "redirected nowhere",
    "no HTTP",
]


def broken(kind: str, body: bytes, at: float, status: str = "200 OK") -> list[Packet]:
    """Return the packets of an answer that is never whole."""
    if kind in CHUNKED:
        return chunked(CHUNKED[kind], body, at, status)
    return plain(kind, body, at, status)


@pytest.fixture(scope="module")
def server() -> Iterator[RawServer]:
    with RawServer(lambda asked: [reply(b"")]) as opened:
        yield opened


@pytest.fixture(scope="module", autouse=True)
def impatient() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(remote, "POLICY", IMPATIENT)
        yield


def right(asked: Asked) -> list[Packet]:
    """Answer as a good server does."""
    if asked.path.endswith("/"):
        return [reply(PAGE)]
    span = asked.span(len(FILE))
    if span is None:
        return [reply(FILE)]
    told = f"bytes {span[0]}-{span[1] - 1}/{len(FILE)}"
    return [reply(FILE[slice(*span)], "206 Partial Content", Content_Range=told)]


def fails_soon(call: Callable[[], Any]) -> S5Error:
    """Return the one error that a read ends in."""
    with pytest.raises(S5Error) as told:
        within(LONG, call, CancelToken())
    assert len(str(told.value)) < 500
    return told.value


def read_page(server: RawServer, kind: str, at: float) -> S5Error:
    server.answer = lambda asked: broken(kind, PAGE * 40, at)
    return fails_soon(lambda: list_layers(server.url + "/s/", retry=IMPATIENT))


def read_range(server: RawServer, kind: str, at: float) -> S5Error:
    part = FILE[:1024]
    server.answer = lambda asked: (
        right(asked) if asked.path.endswith("/") else broken(kind, part, at, "206 Partial Content")
    )
    return fails_soon(lambda: open_stack(server.url + "/s/", retry=IMPATIENT))


def read_whole(server: RawServer, kind: str, at: float) -> S5Error:
    server.answer = lambda asked: (
        right(asked) if asked.path.endswith("/") else broken(kind, FILE, at)
    )
    return fails_soon(lambda: open_stack(server.url + "/s/", retry=IMPATIENT))


def read_metadata(server: RawServer, kind: str, at: float) -> S5Error:
    server.answer = lambda asked: (
        broken(kind, METADATA, at)
        if asked.path.endswith(".zarray")
        else [reply(b"", "404 Not Found")]
    )
    return fails_soon(lambda: s5.open_volume(server.url + "/v.zarr"))


def read_chunk(server: RawServer, kind: str, at: float) -> S5Error:
    def answer(asked: Asked) -> list[Packet]:
        if asked.path.endswith(".zarray"):
            return [reply(METADATA)]
        if asked.path.endswith("0.0.0") and "range" not in asked.headers:
            return broken(kind, bytes(256), at)
        return [reply(b"x" if asked.path.endswith("0.0.0") else b"", "404 Not Found")]

    server.answer = answer
    return fails_soon(lambda: s5.open_volume(server.url + "/v.zarr", partial=True).values)


@settings(max_examples=60, deadline=None)
@given(
    read=st.sampled_from([read_page, read_range, read_whole, read_metadata, read_chunk]),
    kind=st.sampled_from([*CHUNKED, *PLAIN]),
    at=st.sampled_from([0, 0.3, 0.9]),
)
def test_a_read_ends_however_its_answer_breaks(
    server: RawServer, read: Callable[..., S5Error], kind: str, at: float
) -> None:
    error = read(server, kind, at)
    assert isinstance(error, SourceError | StoreError)
    assert server.url in str(error)


@settings(max_examples=50, deadline=None)
@given(kind=st.sampled_from([*CHUNKED, *PLAIN]), at=st.sampled_from([0, 0.3, 0.9]))
def test_what_breaks_once_is_asked_for_again(server: RawServer, kind: str, at: float) -> None:
    failures = {"/s/": 1, "/s/0.tif": 1}

    def answer(asked: Asked) -> list[Packet]:
        if not kind.startswith("redirected nowhere") and failures.get(asked.path, 0) > 0:
            failures[asked.path] -= 1
            status = "200 OK" if asked.path == "/s/" else "206 Partial Content"
            return broken(kind, PAGE if asked.path == "/s/" else FILE[:1024], at, status)
        return right(asked)

    server.answer = answer
    patient = RetryPolicy(attempts=5, delay=0.001, timeout=0.08)
    with open_stack(server.url + "/s/", retry=patient) as stack:
        np.testing.assert_array_equal(stack.read()[0], PIXELS)


def test_a_slow_answer_may_take_its_time_but_not_for_ever(server: RawServer) -> None:
    page = PAGE + b" " * 400
    slow = [page[i : i + 40] for i in range(0, len(page), 40)]
    head = reply(b"", length=len(page))
    server.answer = lambda asked: [head, *[packet for s in slow for packet in (s, 0.02)]]
    steady = RetryPolicy(attempts=1, timeout=0.15, least_speed=500)
    assert len(list_layers(server.url + "/s/", retry=steady)) == 1  # 0.2 s in all
    hasty = RetryPolicy(attempts=1, timeout=0.05, least_speed=1e6)
    with pytest.raises(SourceError, match="fewer than 1e\\+06 bytes a second"):
        list_layers(server.url + "/s/", retry=hasty)


def endless(asked: Asked) -> Iterator[Packet]:
    """Answer with a body that has no end."""
    yield reply(b"", length=None, Transfer_Encoding="chunked", Content_Type="image/tiff")
    while True:
        yield b"100000\r\n" + bytes(2**20) + b"\r\n"


def test_a_page_without_an_end_is_stopped(
    server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("http", "session"):
        monkeypatch.setattr(f"s5engine.source.{module}.PAGE_LIMIT", 3 * 2**20)
    monkeypatch.setattr("s5engine.source.session.CHUNK_LIMIT", 3 * 2**20)
    server.answer = endless
    with pytest.raises(SourceError, match="is more than a page: it has over"):
        list_layers(server.url + "/s/")
    with pytest.raises(StoreError, match=r"(zarr\.json|\.z\w+).*is more than zarr's metadata"):
        s5.open_volume(server.url + "/v.zarr")
    server.answer = lambda asked: (
        [reply(METADATA)]
        if asked.path.endswith(".zarray")
        else endless(asked)
        if asked.path.endswith("0.0.0")
        else [reply(b"", "404 Not Found")]
    )
    with pytest.raises(StoreError, match=r"0\.0\.0.*is more than a chunk"):
        s5.open_volume(server.url + "/v.zarr").values  # noqa: B018


@pytest.mark.parametrize("packed", [False, True])
def test_a_file_without_an_end_leaves_room_on_the_disk(
    server: RawServer, monkeypatch: pytest.MonkeyPatch, packed: bool
) -> None:
    left = iter([2**25, 2**25, *range(2**25, 0, -(2**21)), *[0] * 9])
    usage = lambda folder: SimpleNamespace(free=next(left))  # noqa: E731
    monkeypatch.setattr("s5engine.source.disk.shutil.disk_usage", usage)
    bomb = gzip.compress(bytes(2**28), 1)

    def answer(asked: Asked) -> Any:
        if asked.path.endswith("/"):
            return [reply(PAGE)]
        told = {"Content_Encoding": "gzip", "Content_Type": "image/tiff"}
        return [reply(bomb, **told)] if packed else endless(asked)

    server.answer = answer
    before = deleted_files()
    with pytest.raises(SourceError, match=r"0\.tif: copying it fills .*TMPDIR"):
        open_stack(server.url + "/s/")
    assert deleted_files() == before


def test_a_disk_that_is_full_all_the_same_is_one_clear_error(
    server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        def write(self, data: bytes) -> int:
            raise OSError(28, "No space left on device")

        def seek(self, *place: int) -> None:
            """Do nothing."""

        truncate = seek

    server.answer = lambda asked: [reply(FILE)]
    client = HttpClient(None, IMPATIENT)
    with pytest.raises(SourceError, match="No space left on device"):
        client.range(server.url + "/0.tif", 0, 10, CancelToken(), Full())  # type: ignore[arg-type] # what is used
    client.close()


@pytest.mark.parametrize(
    "asked",
    [
        "Fri, 31 Dec 99999999999 23:59:59 GMT",
        "Fri, 31 Dec 9999 23:59:59 -9999",
        "nan",
        "-1",
        "Mon, 01 Jan 0001 00:00:00 +2359",
        "",
        "soon",
        "-" * 5000,
        "Fri, 99 Foo 2020 77:88:99 GMT",
        "inf",
    ],
)
def test_an_odd_wish_to_wait_is_no_raw_error(server: RawServer, asked: str) -> None:
    answers = iter([[reply(b"", "503 Busy", Retry_After=asked)], [reply(PAGE)]])
    server.answer = lambda _: next(answers)
    try:
        assert len(list_layers(server.url + "/s/", retry=RetryPolicy(delay=0.001))) == 1
    except SourceError as error:
        assert "asks to wait" in str(error)  # noqa: PT017
        assert asked.startswith("Fri, 31 Dec 9999 ")


@pytest.mark.parametrize("asked", ["9" * 5000, "1000000000000", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_too_long_a_wait_is_refused(server: RawServer, asked: str) -> None:
    server.answer = lambda _: [reply(b"", "503 Busy", Retry_After=asked)]
    with pytest.raises(SourceError, match="asks to wait 1000000000 s"):
        list_layers(server.url + "/s/")


class Stuck(fsspec.AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """A file system that answers late, or never."""

    protocol = "stuck"
    cachable = False

    def ls(self, path: str, detail: bool = True, **options: Any) -> Any:
        """Sleep."""
        time.sleep(3)

    info = cat_file = ls


def test_any_file_system_has_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec.register_implementation("stuck", Stuck, clobber=True)
    start = time.monotonic()
    with pytest.raises(SourceError, match=r"stuck://a/b could not be read.*no answer within"):
        list_layers("stuck://a/b", retry=IMPATIENT)
    with pytest.raises(SourceError, match=r"no answer within 0\.54 s"):
        ask_filesystem(lambda: time.sleep(3), "x", IMPATIENT, CancelToken(), size=1024)
    assert time.monotonic() - start < 2.5
