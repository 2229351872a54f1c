"""An ingest killed at any moment goes on where it was, and ends in the same bytes."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from s5engine.errors import StoreError
from s5engine.phantom import LayerServer
from s5engine.source.stack import open_stack
from s5engine.store.volume import open_volume
from unit.store.segments import files_of, pixels, write_layers

#: Bands of 128 rows, so that a small segment has many.
INGEST = """
import sys
from s5engine.store import band_plan
band_plan.BAND_HEIGHTS = (128,)
from s5engine.store.ingest import ingest
ingest(sys.argv[1], sys.argv[2], progress=False)
"""
ROWS, BANDS = 1400, 11


@pytest.fixture(scope="module")
def segment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_layers(tmp_path_factory.mktemp("source") / "seg", pixels(3, ROWS, 1500))


@pytest.fixture
def server(segment: Path) -> Iterator[LayerServer]:
    layers = {f"seg/layers/{path.name}": path for path in (segment / "layers").iterdir()}
    # Slow enough that kills fall between and into bands.
    with LayerServer(layers, bandwidth=1.5e6) as server:
        yield server


def start(server: LayerServer, store: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", INGEST, server.url("seg/layers/"), str(store)])


def finished_rows(store: Path) -> list[tuple[int, int]]:
    """Return the row ranges that the journal calls finished."""
    journal = store.with_name(store.name + ".journal")
    if not journal.exists():
        return []
    lines = journal.read_text().splitlines()[1:]
    units = [json.loads(line)["unit"] for line in lines]
    rows = [unit.split()[1].split(":") for unit in units]
    return [(int(y0), int(y1)) for y0, y1 in rows]


def kill_after(process: subprocess.Popen[bytes], server: LayerServer, sent: int) -> bool:
    """Kill the process −9 when the server has sent so many bytes; False if it ended before."""
    while server.bytes_sent() < sent:
        if process.poll() is not None:
            return False
        time.sleep(0.005)
    process.kill()
    return process.wait() != 0


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 6))]
)
def test_a_killed_ingest_goes_on_and_fetches_no_finished_band_again(
    server: LayerServer, segment: Path, tmp_path: Path, seed: int
) -> None:
    store = tmp_path / "a.zarr"
    with open_stack(server.url("seg/layers/")) as stack:
        whole, directories = stack.bytes_for(None), stack.directory_bytes
    draw = random.Random(seed)
    kills = 0
    for _ in range(3):
        server.reset_log()
        done = finished_rows(store)
        left = whole * (BANDS - len(done)) // BANDS
        process = start(server, store)
        kills += kill_after(process, server, directories + int(draw.uniform(0.1, 0.6) * left))
    assert kills == 3
    done = finished_rows(store)
    assert 0 < len(done) < BANDS
    server.reset_log()
    assert start(server, store).wait() == 0
    with open_stack(server.url("seg/layers/")) as stack:
        remaining = sum(
            stack.bytes_for((y, min(y + 128, ROWS), 0, 1500))
            for y in range(0, ROWS, 128)
            if (y, min(y + 128, ROWS)) not in done
        )
    # Twice the directories: the stack opened just now read them as well.
    listing = sum(r.sent for r in server.requests if r.path.endswith("/"))
    assert server.bytes_sent() <= remaining + 2 * directories + listing
    np.testing.assert_array_equal(open_volume(store).values, pixels(3, ROWS, 1500))
    undisturbed = tmp_path / "b.zarr"
    assert start(server, undisturbed).wait() == 0
    assert files_of(store) == files_of(undisturbed)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zarr", "b.zarr"]


def test_a_killed_store_opens_only_when_told_so(server: LayerServer, tmp_path: Path) -> None:
    store = tmp_path / "a.zarr"
    process = start(server, store)
    while len(finished_rows(store)) < 2:
        assert process.poll() is None
        time.sleep(0.005)
    process.kill()
    process.wait()
    with pytest.raises(StoreError, match="unfinished"):
        open_volume(store)
    done = finished_rows(store)[-1][1]
    seen = open_volume(store, partial=True).isel(y=slice(0, done))
    np.testing.assert_array_equal(seen.values, pixels(3, ROWS, 1500)[:, :done])


def test_a_second_ingest_into_the_same_store_is_refused(
    server: LayerServer, tmp_path: Path
) -> None:
    from s5engine.store.ingest import ingest

    store = tmp_path / "a.zarr"
    process = start(server, store)
    try:
        while not finished_rows(store):
            assert process.poll() is None
            time.sleep(0.005)
        for resume in (True, False):
            with pytest.raises(StoreError, match="Another process is at work"):
                ingest(server.url("seg/layers/"), store, resume=resume, progress=False)
        assert process.wait() == 0
    finally:
        process.kill()
        process.wait()
    np.testing.assert_array_equal(open_volume(store).values, pixels(3, ROWS, 1500))
