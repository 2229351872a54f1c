"""The title's crop of the whole segment 03192025, at true scale: memory, bytes and rows fetched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import s5engine as s5
from benchmarks.common import run_case
from benchmarks.served import ServedSegment
from memory.title_case import BOX, HEIGHT, LAYERS, WIDTH
from s5engine.phantom import true_scale_segment

WANTED = range(3, 21)
GIB = 2**30
#: The head of each file may be read to find its directory: at most so many bytes.
HEAD = 4096


@pytest.mark.slow
def test_the_title_is_ingested_within_4_gib_and_only_its_rows_are_fetched(tmp_path: Path) -> None:
    segment = true_scale_segment(HEIGHT, WIDTH, LAYERS)
    store = tmp_path / "title.zarr"
    with ServedSegment(HEIGHT, WIDTH, LAYERS) as server:
        measured = run_case(
            "benchmarks.ingest_cases:store",
            url=server.url,
            store=str(store),
            layers=list(WANTED),
            box=list(BOX),
            budget="4 GiB",
        )
        log = server.log()
    assert measured.peak_bytes < 4 * GIB

    files = {f"{number:02d}.tif": segment.files[f"{number:02d}.tif"] for number in WANTED}
    # The header is the file's first piece, each row one of the next, the directory comes last.
    rows = {name: file.offsets[1 : HEIGHT + 2] for name, file in files.items()}
    wanted = sum(int(at[BOX[1]] - at[BOX[0]]) for at in rows.values())
    directories = sum(file.size - int(rows[name][-1]) for name, file in files.items())
    fetched = dict.fromkeys(files, 0)
    for request in log:
        name = request["path"].rpartition("/")[2]
        if not name or request["method"] == "HEAD":
            continue
        at, start, stop = rows[name], request["start"], request["stop"]  # no other layer is read
        head, directory = stop <= HEAD, start >= at[-1]
        inside = at[BOX[0]] <= start and stop <= at[BOX[1]]
        assert head or directory or inside, request
        fetched[name] += request["sent"]
    assert sum(fetched.values()) >= wanted
    sent = sum(request["sent"] for request in log)
    assert sent <= 1.05 * wanted + directories + len(files) * HEAD + 2**14

    volume = s5.open_volume(store)
    assert volume.shape == (len(WANTED), BOX[1] - BOX[0], BOX[3] - BOX[2])
    rng = np.random.default_rng(5)
    for _ in range(25):
        y0, x0 = rng.integers(BOX[0], BOX[1] - 200), rng.integers(BOX[2], BOX[3] - 300)
        layers = sorted(rng.choice(list(WANTED), 3, replace=False).tolist())
        crop = volume.sel(layer=layers, y=slice(y0, y0 + 199), x=slice(x0, x0 + 299))
        expected = segment.expected(layers, (y0, y0 + 200, x0, x0 + 300))
        np.testing.assert_array_equal(crop.values, expected)


@pytest.mark.slow
def test_the_whole_line_to_the_picture_stays_within_4_gib(tmp_path: Path) -> None:
    with ServedSegment(HEIGHT, WIDTH, LAYERS) as server:
        measured = run_case(
            "tests.memory.title_case:whole_line", url=server.url, folder=str(tmp_path), stride=32
        )
    assert measured.result == [775, 1525]
    assert measured.peak_bytes < 4 * GIB
