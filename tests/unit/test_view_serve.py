"""The viewer's server answers its own page alone, and opens nothing that it was not given."""

from __future__ import annotations

import http.client
from collections.abc import Iterator

import pytest

from s5engine.errors import InvalidArgumentError, S5Error, StoreError
from s5engine.view.serve import Viewer

pytest.importorskip("bokeh")


@pytest.fixture(scope="module")
def viewer() -> Iterator[Viewer]:
    served = Viewer(lambda doc: None).start()
    yield served
    served.stop()


def ask(viewer: Viewer, path: str, method: str = "GET", **headers: str) -> tuple[int, dict]:
    connection = http.client.HTTPConnection("127.0.0.1", viewer.port, timeout=60)
    connection.putrequest(method, path, skip_host=True)
    for name, value in ({"Host": f"127.0.0.1:{viewer.port}"} | headers).items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders())


def test_the_page_is_served_and_no_other_may_frame_it(viewer) -> None:
    status, headers = ask(viewer, "/")
    assert status == 200
    policy = [word.strip() for word in headers["Content-Security-Policy"].split(";")]
    assert "frame-ancestors 'none'" in policy
    assert "default-src 'none'" in policy
    scripts = next(word for word in policy if word.startswith("script-src"))
    assert "'unsafe-inline'" not in scripts
    assert "'nonce-" in scripts
    assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "/../../etc/passwd",
        "/static/js/../../../server.py",
        "/metadata",
        "/autoload.js",
        "/static/../__init__.py",
        "/static/js/%2e%2e/%2e%2e/server.py",
        "/static/extensions/x",
        "/ws",
    ],
)
def test_other_paths_are_refused(viewer, path) -> None:
    assert ask(viewer, path)[0] in (403, 404)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_is_written_over_http(viewer, method) -> None:
    assert ask(viewer, "/", method)[0] in (403, 405)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1:1", ""])
def test_a_name_that_was_made_to_point_here_is_refused(viewer, host) -> None:
    assert ask(viewer, "/", Host=host)[0] in (400, 403)


def websocket(viewer: Viewer, origin: str) -> int:
    return ask(
        viewer,
        "/ws",
        Origin=origin,
        Upgrade="websocket",
        Connection="Upgrade",
        Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ==",
        Sec_WebSocket_Version="13",
        Sec_WebSocket_Protocol="bokeh, x",
    )[0]


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "https://127.0.0.1:{port}", "http://127.0.0.1:1"]
)
def test_pages_of_other_origins_get_no_connection(viewer, origin, monkeypatch) -> None:
    monkeypatch.setenv("BOKEH_ALLOW_WS_ORIGIN", "*")
    assert websocket(viewer, origin.format(port=viewer.port)) == 403
    assert ask(viewer, "/", Origin=origin.format(port=viewer.port))[0] == 403


def test_its_own_page_is_not_refused(viewer) -> None:
    assert ask(viewer, "/", Origin=f"http://127.0.0.1:{viewer.port}")[0] == 200
    assert ask(viewer, "/", Host=f"localhost:{viewer.port}")[0] == 200


def test_it_listens_on_this_machine_alone(viewer) -> None:
    assert [s.getsockname()[0] for s in viewer._sockets] == ["127.0.0.1"]


def test_a_port_that_is_taken_or_none_is_an_error(viewer) -> None:
    with pytest.raises(StoreError, match="--port"):
        Viewer(lambda doc: None, port=viewer.port)
    with pytest.raises(InvalidArgumentError, match="65535"):
        Viewer(lambda doc: None, port=70_000)
    assert issubclass(StoreError, S5Error)


@pytest.mark.parametrize("host", ["127.0.0.1:9", "localhost:12345", "localhost", "[::1]:9"])
def test_a_forwarded_port_is_told_how_it_is_opened(viewer, host: str) -> None:
    said = refused(viewer, host)
    assert f"ssh -L {viewer.port}:127.0.0.1:{viewer.port}" in said
    assert f"--port {host.rpartition(':')[2] if host[-1].isdigit() else 80}" in said
    assert host in said


@pytest.mark.parametrize("host", ["evil.example", "<img src=x>:1", "127.0.0.1:99999999", ""])
def test_another_name_is_told_nothing_of_this_server(viewer, host: str) -> None:
    assert str(viewer.port) not in refused(viewer, host)


def refused(viewer: Viewer, host: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", viewer.port, timeout=120)
    connection.putrequest("GET", "/", skip_host=True)
    connection.putheader("Host", host)
    connection.endheaders()
    answer = connection.getresponse()
    said = answer.read().decode()
    connection.close()
    assert answer.status in (400, 403)
    assert said == "" or answer.getheader("Content-Type", "").startswith("text/plain")
    return said
