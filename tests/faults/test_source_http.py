"""What the network and the server do wrong, and what reading makes of it."""

from __future__ import annotations

import gc
import os
import threading
import time

import fsspec
import numpy as np
import pytest

from s5engine.errors import SourceChangedError, SourceError, SourceNotFoundError
from s5engine.phantom.faults import Fault
from s5engine.phantom.layouts import Layout, encode_layer
from s5engine.phantom.server import LayerServer
from s5engine.source import RetryPolicy, list_layers, open_stack
from support import deleted_files

QUICK = RetryPolicy(attempts=4, delay=0.001, timeout=0.5)
ONCE = RetryPolicy(attempts=1, delay=0.001, timeout=20)
VOLUME = np.random.default_rng(7).integers(0, 200, (3, 200, 900)).astype(np.uint8)
FILES = {f"s/layers/{i:02d}.tif": encode_layer(VOLUME[i], "rows-lzw") for i in range(3)}


@pytest.fixture
def server():
    with LayerServer(FILES) as running:
        yield running


PASSING = [
    Fault("*.tif", "status", times=3, code=503),
    Fault("*.tif", "status", times=2, code=500, skip=7),
    Fault("*.tif", "status", times=2, code=429, retry_after=0.05),
    Fault("*.tif", "status", times=2, code=429, skip=9, retry_after=0),
    Fault("*.tif", "truncate", times=3),
    Fault("*.tif", "truncate", times=3, skip=8, keep=0),
    Fault("*.tif", "drop", times=3, skip=5),
    Fault("*.tif", "hang", times=2, skip=8, seconds=2),
    Fault("*.tif", "wrong-range", times=3, skip=6),
    Fault("*.tif", "ignore-range", times=2, skip=9),
    Fault("*/layers/", "status", times=2, code=502),
    Fault("*/layers/", "truncate", times=2),
    Fault("*/layers/", "drop", times=2),
]


@pytest.mark.parametrize("fault", PASSING, ids=lambda f: f"{f.kind}-{f.code}-{f.skip}")
def test_failures_that_pass_do_not_show(server, fault):
    server.faults.add(fault)
    with open_stack(server.url("s/"), retry=QUICK) as stack:
        np.testing.assert_array_equal(stack.read(), VOLUME)


LASTING = [
    ("*/01.tif", {"kind": "status", "code": 404}, SourceNotFoundError, r"01\.tif does not exist"),
    ("*/01.tif", {"kind": "status", "code": 403}, SourceError, r"01\.tif may not be read \(403\)"),
    ("*/01.tif", {"kind": "status", "code": 401}, SourceError, "credentials"),
    ("*/01.tif", {"kind": "status", "code": 418}, SourceError, "answered 418"),
    ("*/01.tif", {"kind": "status", "code": 503}, SourceError, "tried 4 times.*answered 503"),
    ("*/01.tif", {"kind": "html"}, SourceError, r"01\.tif is an HTML or XML page"),
    ("*/01.tif", {"kind": "hang", "seconds": 5}, SourceError, r"01\.tif.*no answer within 0.5 s"),
    ("*/01.tif", {"kind": "drop"}, SourceError, r"01\.tif.*connection failed"),
    ("*/01.tif", {"kind": "truncate"}, SourceError, r"01\.tif.*tried 4 times"),
    ("*/layers/", {"kind": "status", "code": 404}, SourceNotFoundError, "layers/ does not exist"),
    ("*/layers/", {"kind": "status", "code": 429, "retry_after": 9999}, SourceError, "wait 9999"),
]


@pytest.mark.parametrize(("pattern", "fault", "kind", "said"), LASTING)
def test_failures_that_last_are_said_when_the_stack_is_opened(server, pattern, fault, kind, said):
    server.faults.add(Fault(pattern, **fault))
    before = deleted_files()
    with pytest.raises(kind, match=said):
        open_stack(server.url("s/layers"), retry=QUICK)
    assert deleted_files() == before


@pytest.mark.parametrize(("pattern", "fault", "kind", "said"), LASTING[:9])
def test_failures_that_last_are_said_in_the_middle(server, pattern, fault, kind, said):
    with open_stack(server.url("s/"), retry=QUICK) as stack:
        server.faults.add(Fault(pattern, **fault))
        with pytest.raises(kind, match=said):
            stack.read()
        server.faults.clear()
        np.testing.assert_array_equal(stack.read(), VOLUME)


def test_a_file_that_changes_in_the_middle_is_noticed(server):
    with open_stack(server.url("s/"), retry=QUICK) as stack:
        server.replace("s/layers/01.tif", encode_layer(VOLUME[2], "rows-lzw"))
        with pytest.raises(SourceChangedError, match=r"01\.tif was changed"):
            stack.read()


def test_a_new_etag_of_the_same_size_is_noticed(server):
    with open_stack(server.url("s/"), retry=QUICK) as stack:
        server.faults.add(Fault("*/02.tif", "new-etag"))
        with pytest.raises(SourceChangedError, match=r"02\.tif.*version"):
            stack.read()


def test_the_date_tells_versions_apart_where_there_is_no_etag():
    with (
        LayerServer(FILES, etag=False) as server,
        open_stack(server.url("s/"), retry=QUICK) as stack,
    ):
        np.testing.assert_array_equal(stack.read(), VOLUME)
        assert "mtime" in stack.fingerprint()["0"]
        server.replace("s/layers/01.tif", FILES["s/layers/01.tif"])
        with pytest.raises(SourceChangedError, match=r"01\.tif"):
            stack.read()


def test_a_local_file_that_changes_is_noticed(tmp_path):
    path = tmp_path / "0.tif"
    path.write_bytes(FILES["s/layers/00.tif"])
    with open_stack(tmp_path) as stack:
        os.truncate(path, 5000)
        with pytest.raises(SourceChangedError, match=r"0\.tif was changed"):
            stack.read()


def test_without_ranges_layers_are_copied_to_disk_once_and_removed(capfd):
    before = deleted_files()
    with LayerServer(FILES, ranges=False) as server:
        with open_stack(server.url("s/"), retry=QUICK) as stack:
            assert deleted_files() == before + 3
            server.reset_log()
            np.testing.assert_array_equal(stack.read(), VOLUME)
            np.testing.assert_array_equal(stack.read((3, 9, 0, 900)), VOLUME[:, 3:9])
            assert server.requests == []
        assert deleted_files() == before
    assert capfd.readouterr().err.count("whole files only") == 1


def test_a_copy_that_is_cut_off_is_fetched_again():
    fault = Fault("*.tif", "truncate", times=2)
    with (
        LayerServer(FILES, ranges=False, faults=[fault]) as server,
        open_stack(server.url("s/"), retry=QUICK) as stack,
    ):
        np.testing.assert_array_equal(stack.read(), VOLUME)


def test_a_full_disk_is_said_before_the_copy(monkeypatch):
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr("s5engine.source.disk.shutil.disk_usage", lambda path: usage)
    before = deleted_files()
    with (
        LayerServer(FILES, ranges=False) as server,
        pytest.raises(SourceError, match=r"needs .* which has 10 B free.*TMPDIR"),
    ):
        open_stack(server.url("s/"), retry=QUICK)
    assert deleted_files() == before


def test_credentials_are_sent_but_never_printed(server):
    server.faults.add(Fault("*/01.tif", "status", code=403))
    address = server.url("s/layers/").replace("http://", "http://reader:hush@") + "?sig=secret"
    with pytest.raises(SourceError) as caught:
        open_stack(address, retry=ONCE)
    assert "01.tif" in str(caught.value)
    error: BaseException | None = caught.value
    while error is not None:
        assert "hush" not in str(error)
        assert "secret" not in str(error)
        error = error.__cause__
    server.faults.clear()
    with open_stack(address, retry=ONCE) as stack:
        assert "hush" not in str(stack.fingerprint())
        np.testing.assert_array_equal(stack.read((0, 3, 0, 900)), VOLUME[:, :3])


def test_a_server_that_is_not_there_is_said():
    with LayerServer(FILES) as server:
        address = server.url("s/")
    with pytest.raises(SourceError, match="connection failed"):
        list_layers(address, retry=QUICK)


def source_threads():
    own = ("s5-open", "s5-fetch", "s5-decode")  # others, such as a device's owner, may stay
    return [t for t in threading.enumerate() if t.name.startswith(own)]


@pytest.mark.parametrize("when", ["close", "error in the consumer", "dropped"])
def test_leaving_an_iteration_stops_everything_at_once(when):
    layout = Layout(rows=1)
    files = {f"s/layers/{i}.tif": encode_layer(VOLUME[0], layout) for i in range(3)}
    with LayerServer(files, bandwidth=30_000) as server:
        slow = RetryPolicy(attempts=2, timeout=60)
        with LayerServer(files) as quick:
            index = list_layers(quick.url("s/"))
        assert len(index) == 3
        with open_stack(server.url("s/"), retry=slow) as stack:
            bands = stack.iter_bands([(0, 2), (2, 100), (100, 200)], 0, 900)
            next(bands)
            start = time.monotonic()
            if when == "close":
                bands.close()
            elif when == "dropped":
                del bands
                gc.collect()
            else:
                with pytest.raises(ZeroDivisionError):
                    bands.throw(ZeroDivisionError())
            assert time.monotonic() - start < 2  # the rest would take about 4 s a layer
            assert source_threads() == []
            server.bandwidth = None
            np.testing.assert_array_equal(stack.read((0, 4, 0, 900)), np.stack([VOLUME[0, :4]] * 3))


def test_a_policy_with_patience_can_be_called_off_while_it_waits(server):
    patient = RetryPolicy(attempts=9, delay=30, jitter=0, timeout=60)
    with open_stack(server.url("s/"), retry=patient) as stack:
        bands = stack.iter_bands([(0, 2), (2, 200)], 0, 900)
        next(bands)
        server.faults.add(Fault("*/02.tif", "status", code=503))
        start = time.monotonic()
        bands.close()
        assert time.monotonic() - start < 2
    assert source_threads() == []


def test_a_file_system_that_gives_too_little_is_asked_again(monkeypatch):
    memory = fsspec.filesystem("memory")
    for path, data in FILES.items():
        memory.pipe_file("/" + path, data)
    plain, calls = type(memory).cat_file, []

    def short(self, path, start=None, end=None, **options):
        calls.append(path)
        data = plain(self, path, start=start, end=end, **options)
        return data[:-1] if len(calls) % 5 == 0 else data

    try:
        monkeypatch.setattr(type(memory), "cat_file", short)
        with open_stack("memory://s/layers", retry=QUICK) as stack:
            np.testing.assert_array_equal(stack.read(), VOLUME)
            assert len(calls) > 6
        monkeypatch.setattr(type(memory), "cat_file", lambda *a, **k: b"")
        with pytest.raises(SourceError, match=r"0 of 1024 bytes came"):
            open_stack("memory://s/layers", retry=QUICK)
    finally:
        memory.rm("/s", recursive=True)
