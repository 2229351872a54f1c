"""What opens a door is kept nowhere: no file, record, error or line holds a password or a token."""

from __future__ import annotations

import base64
import contextlib
import io
import pickle
import tempfile
import threading
import traceback
import warnings
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote, unquote, urlsplit

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

import s5engine as s5
from s5engine.errors import without_credentials
from support import counting_model, noise
from unit.store.segments import write_layers

PIXELS, FEW = noise((16, 64, 64)), noise((1, 20, 30))
WORDS = st.text("abcXYZ019-_.~!$*+=:@/?#%& ", min_size=6, max_size=14)
SIGNED = st.sampled_from(
    ["token", "X-Amz-Signature", "X-Amz-Credential", "sig", "Signature", "access_token", "key"]
)


class Guard(BaseHTTPRequestHandler):
    """Serves a folder to whoever has the password, or the query, of the moment."""

    protocol_version = "HTTP/1.1"
    root: ClassVar[Path]
    user: ClassVar[str] = ""
    query: ClassVar[str] = ""
    seen: ClassVar[list[str]] = []
    leads: ClassVar[str] = ""

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        told = urlsplit(self.path)
        given_ = self.headers.get("Authorization", "")
        wanted = "Basic " + base64.b64encode(self.user.encode()).decode() if self.user else ""
        if wanted not in ("", given_) or (self.query and told.query != self.query):
            return self.answer(401, b"no")
        self.seen.append(str(self.headers))
        if self.leads:
            return self.answer(302, b"", Location=self.leads + told.path)
        path = self.root / unquote(told.path).strip("/")
        if path.is_dir():
            names = (p.name + "/" * p.is_dir() for p in sorted(path.iterdir()))
            page = "".join(f'<a href="{quote(name)}">x</a>' for name in names).encode()
            return self.answer(200, page, Content_Type="text/html")
        if not path.exists():
            return self.answer(404, b"none")
        data, asked = path.read_bytes(), self.headers.get("Range", "")
        if asked:
            first, last = asked.removeprefix("bytes=").split("-")
            start = int(first) if first else max(0, len(data) - int(last))
            stop = min(int(last) + 1 if first and last else len(data), len(data))
            part = f"bytes {start}-{stop - 1}/{len(data)}"
            return self.answer(206, data[start:stop], Content_Range=part, ETag='"1"')
        return self.answer(200, data, ETag='"1"')

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextlib.contextmanager
def serving(root: Path, **how: object) -> Iterator[type[Guard]]:
    handler = type("Handler", (Guard,), {"root": root, "seen": [], **how})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    handler.port = server.server_port
    yield handler
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Path, type[Guard]]]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_layers(root / "seg", PIXELS)
        array = zarr.create_array(
            root / "v.zarr", shape=PIXELS.shape, chunks=PIXELS.shape, dtype="u1"
        )
        array[:] = PIXELS
        write_layers(root / "few", FEW)
        few = zarr.create_array(root / "few.zarr", shape=FEW.shape, chunks=FEW.shape, dtype="u1")
        few[:] = FEW
        with serving(root) as handler:
            yield root, handler


def written(root: Path) -> bytes:
    """Return all that was written below a folder, names and contents."""
    files = [p for p in root.rglob("*") if p.is_file()]
    return b"\n".join(str(p.relative_to(root)).encode() + b"\n" + p.read_bytes() for p in files)


def spellings(secret: str) -> list[str]:
    return [secret, quote(secret, safe=""), quote(secret)]


def lock(handler: type[Guard], user: str, secret: str, name: str = "") -> tuple[str, str]:
    """Let in who has a password, or a query of this name; return an address' start and its end."""
    user = user.replace(":", "")  # it ends a user's name
    handler.user = "" if name else f"{user}:{secret}"
    handler.query = f"{name}={quote(secret, safe='')}" if name else ""
    door = "" if name else f"{quote(user, safe='')}:{quote(secret, safe='')}@"
    return f"http://{door}127.0.0.1:{handler.port}", f"?{handler.query}" if name else ""


@contextlib.contextmanager
def keeping(secret: str) -> Iterator[Path]:
    """Give a folder for results; afterwards nothing written or said holds the secret."""
    said = io.StringIO()
    with (
        tempfile.TemporaryDirectory() as folder,
        warnings.catch_warnings(record=True) as warned,
        contextlib.redirect_stderr(said),
        contextlib.redirect_stdout(said),
    ):
        warnings.simplefilter("always")
        yield Path(folder)
        kept = written(Path(folder)).decode("utf-8", errors="replace")
    told = said.getvalue() + "".join(str(w.message) for w in warned)
    for spelling in spellings(secret):
        assert spelling not in kept
        assert spelling not in told


@given(user=WORDS, secret=WORDS, name=st.one_of(st.just(""), SIGNED))
@settings(max_examples=50, deadline=None)
def test_no_secret_of_an_address_is_kept_or_said(
    served: tuple[Path, type[Guard]], user: str, secret: str, name: str
) -> None:
    _, handler = served
    base, ending = lock(handler, user, secret, name)
    with keeping(secret) as out:
        s5.ingest(f"{base}/few/layers/{ending}", out / "v.zarr", pyramid=False)
        remote = s5.open_volume(f"{base}/few.zarr{ending}")
        np.testing.assert_array_equal(remote.values, FEW)
        print(repr(s5.list_layers(f"{base}/few/{ending}")), remote, remote.attrs)
        handler.user, handler.query = "somebody:else", "other=1"
        for open_, place in ((s5.list_layers, "/few/layers/"), (s5.open_volume, "/few.zarr")):
            try:
                open_(f"{base}{place}{ending}")
            except s5.S5Error:
                print(traceback.format_exc())


@pytest.mark.parametrize("name", ["", "X-Amz-Signature"])
def test_runs_keep_no_secret_either(served: tuple[Path, type[Guard]], name: str) -> None:
    _, handler = served
    base, ending = lock(handler, "somebody", "PASS word/1", name)
    model, _ = counting_model()
    with keeping("PASS word/1") as out:
        volume = s5.ingest(f"{base}/seg/layers/{ending}", out / "v.zarr")
        remote = s5.open_volume(f"{base}/v.zarr{ending}")
        layers = s5.open_volume(f"{base}/seg/layers/{ending}")
        for number, opened in enumerate((volume, remote, layers)):
            ink = s5.predict_ink(opened, model, windows=[0], tta=0)
            np.testing.assert_array_equal(opened.values, PIXELS)
            run = s5.write_run(ink, out / f"run{number}", formats=["zarr"])
            print(ink.attrs, run, run.record, repr(opened))
        s5.split(layers, out / "parts")


@given(first=WORDS, second=WORDS)
@settings(max_examples=5, deadline=None)
def test_a_new_signature_goes_on_with_the_same_work(
    served: tuple[Path, type[Guard]], first: str, second: str
) -> None:
    _, handler = served
    handler.user = ""
    model, counter = counting_model()
    with tempfile.TemporaryDirectory() as folder:
        for word in (first, second):
            handler.query = f"X-Amz-Signature={quote(word, safe='')}"
            base = f"http://127.0.0.1:{handler.port}"
            layers = f"{base}/seg/layers/?{handler.query}"
            s5.ingest(layers, Path(folder) / "v.zarr", pyramid=False, progress=False)
            remote = s5.open_volume(f"{base}/v.zarr?{handler.query}")
            ink = s5.predict_ink(remote, model, windows=[0], tta=0)
            s5.write_run(ink, Path(folder) / "run", formats=["zarr"], progress=False)
        assert counter.tiles == 1


def test_a_store_travels_to_other_processes_with_its_key(
    served: tuple[Path, type[Guard]],
) -> None:
    _, handler = served
    handler.user, handler.query = "", "token=abc"
    remote = s5.open_volume(f"http://127.0.0.1:{handler.port}/v.zarr?token=abc")
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(remote)).values, PIXELS)


SECRETS = {
    "headers": {"headers": {"X-Api-Key": "SECRET", "Authorization": "Bearer SECRET"}},
    "a cookie as a header": {"headers": {"Cookie": "a=SECRET"}},
    "headers of the session": {"client_kwargs": {"headers": {"X-Api-Key": "SECRET"}}},
    "cookies of the session": {"client_kwargs": {"cookies": {"a": "SECRET"}}},
    "cookies of each request": {"cookies": {"a": "SECRET"}},
    "user of the address": {},
}


@pytest.mark.parametrize("way", SECRETS)
@pytest.mark.parametrize("kind", ["layers", "zarr"])
def test_no_secret_follows_to_another_origin(
    served: tuple[Path, type[Guard]], kind: str, way: str
) -> None:
    root, _ = served
    user = "u:SECRET@" if way == "user of the address" else ""
    place = {"layers": "few/layers/", "zarr": "few.zarr"}[kind]
    coded = base64.b64encode(b"u:SECRET").decode()
    with (
        serving(root) as stranger,
        serving(root, leads=f"http://localhost:{stranger.port}") as door,
    ):
        address = f"http://{user}127.0.0.1:{door.port}/{place}"
        volume = s5.open_volume(address, storage_options=SECRETS[way])
        np.testing.assert_array_equal(volume.values, FEW)
        told = "".join(door.seen)
        assert "SECRET" in told or coded in told  # it opens the door
        assert stranger.seen
        assert not any("SECRET" in line or coded in line for line in stranger.seen)


@given(
    WORDS, WORDS, st.sampled_from(["http", "https", "s3", "ftp"]), st.text("ab c:/.", max_size=9)
)
@settings(max_examples=200, deadline=None)
def test_any_text_loses_the_credentials_of_its_addresses(
    user: str, secret: str, scheme: str, around: str
) -> None:
    one, two = quote(user, safe=""), quote(secret, safe="")
    text = f"{around} {scheme}://{one}:{two}@host/a/b?sig={two}&x={one} {around}"
    got = without_credentials(text)
    assert f"{scheme}://host/a/b " in got
    assert f":{two}@" not in got
    assert f"={two}" not in got
    assert str(s5.S5Error(text, text)).count(f"={two}") == 0


def test_text_without_addresses_is_left_alone() -> None:
    for text in ("a@b?c", "x: //y@z?", "12:30 a?b", "C:/a@b", "mail me@there.org?", ""):
        assert without_credentials(text) == text
