"""Servers that are right but unusual: all of them give the same pixels, and a change is noticed."""

from __future__ import annotations

import gzip
import itertools
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

import s5engine as s5
from raw_server import Asked, Packet, RawServer, reply
from s5engine.errors import SourceChangedError, SourceError, StoreError
from s5engine.phantom.layouts import encode_layer
from s5engine.source import RetryPolicy, open_stack
from s5engine.store import remote

QUICK = RetryPolicy(attempts=3, delay=0.001, timeout=5)
PIXELS = np.random.default_rng(5).integers(1, 200, (3, 80, 300)).astype(np.uint8)
FILES = {f"{number:02d}.tif": encode_layer(PIXELS[number], "rows-lzw") for number in range(3)}

KINDS = st.fixed_dictionaries(
    {
        "ranges": st.sampled_from(
            [
                "plain",
                "star",
                "equals",
                "upper",
                "wide",
                "short",
                "none",
                "none chunked",
                "packed",
                "redirected",
            ]
        ),
        "page": st.sampled_from(["html", "gzip", "deflate", "s3", "absolute", "base", "utf-16"]),
        "tags": st.sampled_from(["none", "one", "two", "three", "weak", "date"]),
        "absent": st.sampled_from(["404 Not Found", "403 Forbidden", "410 Gone"]),
        "kind": st.sampled_from(["image/tiff", "binary/octet-stream", "text/plain", ""]),
        "encoding": st.sampled_from(["", "identity", "aws-chunked", "utf-8"]),
        "folder": st.sampled_from(["s", "my%20seg", "a%23b", "a%3Fb", "50%25", "%C3%A9"]),
    }
)


class Unusual:
    """Answers as a server of a kind does; everything needs the query ``key=a%2Bb``."""

    def __init__(self, kind: dict[str, str], files: dict[str, bytes], origin: str) -> None:
        self.kind, self.files, self.origin = kind, files, origin
        self._count = itertools.count()

    def __call__(self, asked: Asked) -> list[Packet]:
        if asked.query != "key=a%2Bb":
            return [reply(b"", "401 Unauthorized")]
        folder = f"/{self.kind['folder']}/layers/"
        if asked.path == folder:
            return [self.page(folder)]
        body = self.files.get(asked.path.removeprefix(folder).removeprefix("/moved/"))
        if body is None:
            return [reply(b"no", self.kind["absent"])]
        if self.kind["ranges"] == "redirected" and not asked.path.startswith("/moved/"):
            place = f"/moved/{asked.path.removeprefix(folder)}?{asked.query}"
            return [reply(b"", "307 Temporary Redirect", Location=place)]
        return self.file(body, asked)

    def page(self, folder: str) -> bytes:
        kind = self.kind["page"]
        if kind == "s3":
            from urllib.parse import unquote

            keys = "".join(f"<Key>{unquote(folder)[1:]}{name}</Key>" for name in self.files)
            return reply(f"<ListBucketResult>{keys}</ListBucketResult>".encode())
        root = {"absolute": f"{self.origin}{folder}", "base": ""}.get(kind, "")
        links = "".join(f'<a href="{root}{name}">x</a>' for name in self.files)
        text = f'<base href="{folder}">{links}' if kind == "base" else links
        if kind in ("gzip", "deflate"):
            packed = (gzip.compress if kind == "gzip" else zlib.compress)(text.encode())
            return reply(packed, Content_Encoding=kind)
        return reply(text.encode("utf-16" if kind == "utf-16" else "utf-8"))

    def headers(self) -> dict[str, str]:
        number, tags = next(self._count), self.kind["tags"]
        told = {"Content_Type": self.kind["kind"], "Content_Encoding": self.kind["encoding"]}
        told = {key: value for key, value in told.items() if value}
        turns = {"one": 1, "two": 2, "three": 3}.get(tags, 0)
        if turns:
            told["ETag"] = f'"{number % turns}"'
        elif tags == "weak":
            told["ETag"] = 'W/"a"'
        elif tags == "date":
            told["Last_Modified"] = "Wed, 21 Oct 2015 07:28:00 GMT"
        return told

    def file(self, body: bytes, asked: Asked) -> list[Packet]:
        kind, told = self.kind["ranges"], self.headers()
        if kind == "packed":
            body = gzip.compress(body)
            told["Content_Encoding"] = "gzip"
        span = asked.span(len(body))
        if kind == "none" or span is None:
            return [reply(body, **told)]
        if kind == "none chunked":
            halves = (body[: len(body) // 2], body[len(body) // 2 :])
            parts = b"".join(b"%x\r\n%s\r\n" % (len(half), half) for half in halves) + b"0\r\n\r\n"
            return [reply(parts, length=None, Transfer_Encoding="chunked", **told)]
        start, stop = span
        if kind == "wide":
            start, stop = start // 512 * 512, min(len(body), -(-stop // 512) * 512)
        if kind == "short" and stop - start > 100:
            stop = start + (stop - start) * 2 // 3
        unit = {"equals": "bytes=", "upper": "Bytes "}.get(kind, "bytes ")
        total = "*" if kind == "star" else str(len(body))
        told["Content_Range"] = f"{unit}{start}-{stop - 1}/{total}"
        return [reply(body[start:stop], "206 Partial Content", **told)]


@pytest.fixture(scope="module")
def server() -> Iterator[RawServer]:
    with RawServer(lambda asked: [reply(b"")]) as opened:
        yield opened


@pytest.fixture(scope="module", autouse=True)
def impatient() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(remote, "POLICY", QUICK)
        yield


@settings(max_examples=50, deadline=None)
@given(kind=KINDS)
def test_all_give_the_same_pixels(server: RawServer, kind: dict[str, str]) -> None:
    server.answer = Unusual(kind, FILES, server.url)
    address = f"{server.url}/{kind['folder']}/layers?key=a%2Bb"
    with open_stack(address, retry=QUICK) as stack:
        np.testing.assert_array_equal(stack.read(), PIXELS)
        np.testing.assert_array_equal(stack.read((3, 9, 20, 290)), PIXELS[:, 3:9, 20:290])
        assert "key" not in str(stack.fingerprint())


@settings(max_examples=25, deadline=None)
@given(kind=KINDS, form=st.sampled_from([2, 3]), sharded=st.booleans())
def test_so_do_stores_of_zarr(
    server: RawServer, kind: dict[str, str], form: int, sharded: bool
) -> None:
    with tempfile.TemporaryDirectory() as made:
        shards = {"shards": (3, 80, 320)} if form == 3 and sharded else {}
        array = zarr.create_array(
            made, shape=PIXELS.shape, chunks=(3, 40, 160), dtype="u1", zarr_format=form, **shards
        )
        array[:] = PIXELS
        files = {
            str(path.relative_to(made)): path.read_bytes()
            for path in Path(made).rglob("*")
            if path.is_file()
        }
    if kind["ranges"] in ("short", "packed", "none", "none chunked") or (
        kind["encoding"] and kind["page"] == "s3"
    ):
        kind = kind | {"ranges": "plain"}
    server.answer = Unusual(kind, files, server.url)
    address = f"{server.url}/{kind['folder']}/layers?key=a%2Bb"
    np.testing.assert_array_equal(s5.open_volume(address).values, PIXELS)


@settings(max_examples=12, deadline=None)
@given(
    kind=KINDS.filter(lambda kind: kind["tags"] not in ("none", "date")),
    layer=st.integers(0, 2),
    place=st.floats(0.4, 0.9),
)
def test_a_real_change_is_told(
    server: RawServer, kind: dict[str, str], layer: int, place: float
) -> None:
    if kind["ranges"] in ("none", "none chunked", "packed"):
        kind = kind | {"ranges": "plain"}
    first = Unusual(kind, FILES, server.url)
    server.answer = first
    address = f"{server.url}/{kind['folder']}/layers?key=a%2Bb"
    with open_stack(address, retry=QUICK) as stack:
        name = f"{layer:02d}.tif"
        changed = bytearray(FILES[name])
        changed[int(len(changed) * place)] ^= 255
        after = Unusual(kind, FILES | {name: bytes(changed)}, server.url)
        after.headers = lambda: first.headers() | {"ETag": '"new"'}  # type: ignore[method-assign]
        server.answer = lambda asked: (after if asked.path.endswith(name) else first)(asked)
        with pytest.raises(SourceChangedError, match=name):
            stack.read()


def test_two_servers_with_other_bytes_are_told(server: RawServer) -> None:
    kind = {
        "ranges": "plain",
        "page": "html",
        "tags": "two",
        "absent": "404 Not Found",
        "kind": "",
        "encoding": "",
        "folder": "s",
    }
    good = Unusual(kind, FILES, server.url)
    server.answer = good
    with open_stack(f"{server.url}/s/layers?key=a%2Bb", retry=QUICK) as stack:
        other = Unusual(kind, {k: v[:200] + bytes(len(v) - 200) for k, v in FILES.items()}, "")
        good.headers = lambda: {"ETag": '"0"'}  # type: ignore[method-assign]
        other.headers = lambda: {"ETag": '"9"'}  # type: ignore[method-assign]
        turns = itertools.cycle([other, good, good])
        server.answer = lambda asked: next(turns)(asked)
        with pytest.raises(SourceChangedError, match="was changed"):
            stack.read()


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip"])
def test_what_cannot_be_unpacked_is_told(server: RawServer, encoding: str) -> None:
    server.answer = lambda asked: [reply(b"abc", Content_Encoding=encoding)]
    with pytest.raises(SourceError, match=rf"comes compressed as '{encoding}'"):
        open_stack(server.url + "/s/", retry=QUICK)


@pytest.mark.parametrize(
    "told",
    [
        "",
        "bytes */5",
        "items 0-9/10",
        "bytes 0-9",
        f"bytes 0-{'9' * 5000}/*",
        "bytes 0-9/-3",
    ],
)
def test_an_odd_content_range_is_no_raw_error(server: RawServer, told: str) -> None:
    server.answer = lambda asked: [
        reply(b'<a href="0.tif">')
        if asked.path.endswith("/")
        else reply(b"x" * 10, "206 Partial Content", **({"Content_Range": told} if told else {}))
    ]
    with pytest.raises(SourceError, match=r"0\.tif.*Content-Range") as error:
        open_stack(server.url + "/s/", retry=QUICK)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("form", [2, 3])
def test_a_server_that_hides_what_is_not_there(server: RawServer, form: int) -> None:
    with tempfile.TemporaryDirectory() as made:
        array: Any = zarr.create_array(
            made, shape=(2, 8, 8), chunks=(2, 4, 4), dtype="u1", zarr_format=form, fill_value=0
        )
        array[:, :4, :] = 7
        files = {
            f"/v/{path.relative_to(made)}": path.read_bytes()
            for path in Path(made).rglob("*")
            if path.is_file()
        }
    closed: set[str] = set()

    def answer(asked: Asked) -> list[Packet]:
        found = None if asked.path in closed or "*" in closed else files.get(asked.path)
        return [reply(b"", "403 Forbidden") if found is None else reply(found)]

    server.answer = answer
    volume = s5.open_volume(server.url + "/v")
    expected = np.zeros((2, 8, 8), np.uint8)
    expected[:, :4] = 7
    np.testing.assert_array_equal(volume.values, expected)
    closed.add("*")  # the credentials have run out
    with pytest.raises(StoreError, match="403"):
        volume.values  # noqa: B018
    with pytest.raises(StoreError, match="403"):
        s5.open_volume(server.url + "/v")
