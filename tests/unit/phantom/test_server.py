"""The server answers as the data server does, and fails as it is told to."""

from __future__ import annotations

import http.client
import re
import socket
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from s5engine.errors import InvalidArgumentError, SourceNotFoundError
from s5engine.phantom import Fault, LayerServer, VirtualFile
from s5engine.phantom.content import RangeNotSatisfiableError, parse_range

DATA = np.random.default_rng(5).bytes(100_000)
LAYERS = "scrolls/s5/autogens/demo/layers"
PATH = f"{LAYERS}/00.tif"


def ask(server, path=PATH, method="GET", **headers):
    """Status, headers, body of one request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        connection.request(method, "/" + path, headers=headers)
        answer = connection.getresponse()
        return answer.status, dict(answer.headers), answer.read()
    finally:
        connection.close()


# --- virtual files ---------------------------------------------------------------------------


@given(st.data())
def test_virtual_file_reads_any_range_as_the_joined_bytes(data):
    pieces = data.draw(st.lists(st.binary(max_size=9), min_size=1, max_size=5))
    order = data.draw(st.lists(st.integers(0, len(pieces) - 1), max_size=30))
    file = VirtualFile(pieces, np.array(order, dtype=int))
    whole = b"".join(pieces[i] for i in order)
    start = data.draw(st.integers(-2, len(whole) + 3))
    stop = data.draw(st.integers(-2, len(whole) + 3))
    assert file.size == len(whole)
    assert file.read() == whole
    assert file.read(start, stop) == (whole[max(start, 0) : stop] if stop > 0 else b"")


def test_virtual_file_refuses_an_order_outside_its_library():
    with pytest.raises(InvalidArgumentError, match="library holds 1"):
        VirtualFile([b"a"], [0, 1])


def test_virtual_file_fingerprint_follows_content():
    a = VirtualFile([b"ab", b"c"], [0, 1])
    assert a.fingerprint() == VirtualFile([b"ab", b"c"], [0, 1]).fingerprint()
    assert a.fingerprint() != VirtualFile([b"ab", b"c"], [1, 0]).fingerprint()
    assert a.fingerprint() != VirtualFile([b"ab", b"d"], [0, 1]).fingerprint()


# --- plain answers ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["bytes", "path", "virtual"])
def test_ranges_of_every_kind_of_file(kind, tmp_path: Path):
    file = {"bytes": DATA, "virtual": VirtualFile([DATA[:7], DATA[7:60_000], DATA[60_000:]])}
    if kind == "path":
        (tmp_path / "x.tif").write_bytes(DATA)
        file["path"] = tmp_path / "x.tif"
    with LayerServer({PATH: file[kind]}) as server:
        status, headers, body = ask(server)
        assert (status, body) == (200, DATA)
        assert headers["Accept-Ranges"] == "bytes"
        assert headers["ETag"].startswith('"')
        assert "GMT" in headers["Last-Modified"]
        status, headers, body = ask(server, Range="bytes=5-70000")
        assert (status, body) == (206, DATA[5:70_001])
        assert headers["Content-Range"] == "bytes 5-70000/100000"
        assert ask(server, Range="bytes=-10")[2] == DATA[-10:]
        assert ask(server, Range="bytes=99990-")[2] == DATA[-10:]
        status, headers, body = ask(server, Range="bytes=100000-100001")
        assert (status, headers["Content-Range"], body) == (416, "bytes */100000", b"")
        status, headers, body = ask(server, method="HEAD")
        assert (status, headers["Content-Length"], body) == (200, "100000", b"")


@given(st.integers(0, 30), st.integers(0, 40), st.integers(1, 30))
def test_range_header_is_read_as_the_standard_says(start, length, size):
    header = f"bytes={start}-{start + length}"
    if start >= size:
        with pytest.raises(RangeNotSatisfiableError):
            parse_range(header, size)
    else:
        assert parse_range(header, size) == (start, min(start + length + 1, size))


@pytest.mark.parametrize("header", [None, "", "bytes=-", "bytes=0-1,4-5", "rows=1-2", "bytes=5-2"])
def test_other_range_headers_mean_the_whole_file(header):
    assert parse_range(header, 10) is None


def test_a_connection_is_kept_alive_and_counts_are_exact():
    with LayerServer({PATH: DATA, f"{LAYERS}/01.tif": DATA}) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        connection.request("GET", "/" + PATH, headers={"Range": "bytes=10-19"})
        connection.getresponse().read()
        first = connection.sock
        connection.request("GET", f"/{LAYERS}/01.tif")
        connection.getresponse().read()
        assert connection.sock is first
        connection.close()
        asked = [(r.method, r.path, r.start, r.stop, r.status, r.sent) for r in server.requests]
        assert asked == [
            ("GET", PATH, 10, 20, 206, 10),
            ("GET", f"{LAYERS}/01.tif", None, None, 200, 100_000),
        ]
        assert server.bytes_sent() == 100_010
        assert server.bytes_sent(PATH) == 10
        server.reset_log()
        assert server.requests == []


def test_a_server_without_ranges_sends_the_whole_file():
    with LayerServer({PATH: DATA}, ranges=False, etag=False) as server:
        status, headers, body = ask(server, Range="bytes=5-9")
        assert (status, body) == (200, DATA)
        assert "Accept-Ranges" not in headers
        assert "ETag" not in headers


def test_many_connections_at_once():
    file = VirtualFile([bytes([i]) * 5000 for i in range(50)], np.arange(1000) % 50)
    whole = file.read()
    wrong = []
    with LayerServer({PATH: file}) as server:

        def work(number):
            for i in range(20):
                start = (number * 131_071 + i * 70_001) % 4_000_000
                body = ask(server, Range=f"bytes={start}-{start + 99_999}")[2]
                if body != whole[start : start + 100_000]:
                    wrong.append((number, i))

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        [t.start() for t in threads]
        [t.join() for t in threads]
        assert not wrong
        assert server.bytes_sent() == 8 * 20 * 100_000


def test_replace_changes_tag_and_date_and_the_same_content_has_the_same_tag():
    with LayerServer({PATH: DATA}) as server, LayerServer({PATH: DATA}) as other:
        before, there = ask(server)[1], ask(other)[1]
        assert before["ETag"] == there["ETag"]
        server.replace(PATH, DATA[::-1])
        status, after, body = ask(server)
        assert (status, body) == (200, DATA[::-1])
        assert after["ETag"] != before["ETag"]
        assert after["Last-Modified"] != before["Last-Modified"]
        server.remove(PATH)
        assert ask(server)[0] == 404


# --- listings --------------------------------------------------------------------------------


@pytest.mark.parametrize("style", ["apache", "nginx"])
def test_every_parent_folder_has_a_listing(style):
    files = {PATH: DATA, f"{LAYERS}/10.tif": b"x", f"{LAYERS}/a b&c.tif": b"", "top.txt": b"1"}
    with LayerServer(files, listing=style) as server:
        status, headers, body = ask(server, LAYERS + "/")
        assert status == 200
        assert headers["Content-Type"].startswith("text/html")
        links = re.findall(r'href="([^"]*)"', body.decode())
        assert [x for x in links if "?" not in x] == ["../", "00.tif", "10.tif", "a%20b%26c.tif"]
        assert ("?C=N;O=D" in links) == (style == "apache")
        assert ("98K" in body.decode()) == (style == "apache")
        assert ("100000" in body.decode()) == (style == "nginx")
        assert ask(server, f"{LAYERS}/a%20b%26c.tif")[0] == 200
        top = re.findall(r'href="([^"?]*)"', ask(server, "")[2].decode())
        assert top == ["scrolls/", "top.txt"]
        assert ask(server, f"{LAYERS}/?C=S;O=A")[2] == body


def test_a_folder_without_its_slash_is_redirected_and_an_unknown_one_is_404():
    with LayerServer({PATH: DATA}) as server:
        status, headers, _ = ask(server, LAYERS)
        assert status == 301
        assert urlsplit(headers["Location"]).path == f"/{LAYERS}/"
        assert ask(server, "scrolls/s4/")[0] == 404
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(server.url("nothing"))
        caught.value.close()


# --- faults ----------------------------------------------------------------------------------


def test_status_fault_comes_so_many_times_after_so_many_good_answers():
    fault = Fault("*/00.tif", "status", times=2, skip=1, code=429, retry_after=0.5)
    with LayerServer({PATH: DATA}, faults=[fault]) as server:
        answers = [ask(server) for _ in range(4)]
        assert [a[0] for a in answers] == [200, 429, 429, 200]
        assert answers[1][1]["Retry-After"] == "0.5"
        assert ask(server, LAYERS + "/")[0] == 200


def test_truncate_fault_closes_before_the_announced_end():
    with LayerServer({PATH: DATA}, faults=[Fault("*", "truncate", times=1)]) as server:
        with pytest.raises(http.client.IncompleteRead) as caught:
            ask(server)
        assert caught.value.partial == DATA[:50_000]
        assert server.requests[0].sent == 50_000
        assert ask(server)[2] == DATA


def test_drop_fault_closes_without_an_answer():
    with LayerServer({PATH: DATA}, faults=[Fault("*", "drop", times=1)]) as server:
        with pytest.raises(http.client.RemoteDisconnected):
            ask(server)
        assert server.requests[0].status == 0
        assert ask(server)[2] == DATA


def test_html_fault_is_a_page_with_status_200():
    with LayerServer({PATH: DATA}, faults=[Fault("*", "html")]) as server:
        status, headers, body = ask(server, Range="bytes=0-9")
        assert (status, headers["Content-Type"]) == (200, "text/html")
        assert b"<html>" in body


def test_range_faults():
    faults = [
        Fault("*", "wrong-range", times=2),
        Fault("*", "ignore-range", times=1),
    ]
    with LayerServer({PATH: DATA}, faults=faults) as server:
        status, headers, body = ask(server, Range="bytes=100-199")
        assert (status, headers["Content-Range"]) == (206, "bytes 101-200/100000")
        assert body == DATA[101:201]
        assert ask(server, Range="bytes=99990-99999")[1]["Content-Range"].startswith("bytes 99989-")
        assert ask(server, Range="bytes=100-199")[::2] == (200, DATA)
        assert ask(server, Range="bytes=100-199")[::2] == (206, DATA[100:200])


def test_new_etag_fault_never_repeats_a_tag():
    with LayerServer({PATH: DATA}, faults=[Fault("*", "new-etag", times=2)]) as server:
        tags = [ask(server)[1]["ETag"] for _ in range(4)]
        assert len(set(tags)) == 3
        assert tags[2] == tags[3]


def test_hang_fault_and_latency_delay_the_answer():
    with LayerServer({PATH: b"x"}, latency=0.05, faults=[Fault("*", "hang", seconds=0.2)]) as s:
        began = time.monotonic()
        assert ask(s)[2] == b"x"
        assert time.monotonic() - began >= 0.25


def test_bandwidth_is_a_limit_per_connection():
    with LayerServer({PATH: DATA}, bandwidth=400_000) as server:
        began = time.monotonic()
        assert ask(server)[2] == DATA
        assert time.monotonic() - began >= 0.2


def test_faults_can_be_added_and_cleared_while_serving():
    with LayerServer({PATH: DATA}) as server:
        server.faults.add(Fault("*", "status", code=503, method="GET"))
        assert (ask(server)[0], ask(server, method="HEAD")[0]) == (503, 200)
        server.faults.clear()
        assert ask(server)[0] == 200


# --- ends ------------------------------------------------------------------------------------


def test_closing_ends_idle_hanging_and_streaming_connections():
    threads = threading.active_count()
    big = VirtualFile([bytes(1 << 20)], np.zeros(4000, int))
    server = LayerServer({PATH: big}, faults=[Fault("*/01.tif", "hang", seconds=600)])
    sockets = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(3)]
    sockets[1].sendall(f"GET /{PATH} HTTP/1.1\r\n\r\n".encode())
    sockets[2].sendall(f"GET /{LAYERS}/01.tif HTTP/1.1\r\n\r\n".encode())
    while len(server.requests) < 2:
        time.sleep(0.01)
    server.close()
    server.close()
    assert threading.active_count() == threads
    [s.close() for s in sockets]


def test_a_client_that_leaves_early_does_no_harm():
    big = VirtualFile([bytes(1 << 20)], np.zeros(400, int))
    with LayerServer({PATH: big, "a": b"1"}) as server:
        for _ in range(5):
            connection = socket.create_connection(("127.0.0.1", server.port))
            connection.sendall(f"GET /{PATH} HTTP/1.1\r\n\r\n".encode())
            connection.recv(100)
            connection.close()
        assert ask(server, "a")[2] == b"1"


def test_a_freed_port_can_be_taken_again():
    with LayerServer({PATH: DATA}) as server:
        ask(server)
        port = server.port
    with LayerServer({PATH: DATA}, port=port) as server:
        assert server.url(PATH) == f"http://127.0.0.1:{port}/{PATH}"
        assert ask(server)[0] == 200


def test_mistakes_are_refused(tmp_path: Path):
    with pytest.raises(InvalidArgumentError, match="listing"):
        LayerServer({}, listing="iis")
    with pytest.raises(InvalidArgumentError, match="bandwidth"):
        LayerServer({}, bandwidth=0)
    with pytest.raises(SourceNotFoundError, match="no file"):
        LayerServer({"a": tmp_path / "none"})
    with pytest.raises(InvalidArgumentError, match="no fault"):
        Fault("*", "flood")
    with pytest.raises(InvalidArgumentError, match="keep"):
        Fault("*", "truncate", keep=1.0)
    with LayerServer({}) as server, pytest.raises(InvalidArgumentError, match="has no file"):
        server.remove("x")
