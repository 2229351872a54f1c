"""The ingest benchmark at a small size: all ways give equal pixels, and the figures mean something.

No speed is asserted.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile

from benchmarks import baseline, ingest_cases
from benchmarks.common import CaseError, run_case
from benchmarks.served import ServedSegment
from s5engine.phantom import true_scale_segment

LAYERS, ROWS, WIDTH, PART = 12, 150, 700, 300


@pytest.fixture(scope="module")
def served() -> Iterator[ServedSegment]:
    with ServedSegment(ROWS, WIDTH, LAYERS) as segment:
        yield segment


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, served: ServedSegment) -> Path:
    """Return a folder in which all three ways have left their output."""
    root = tmp_path_factory.mktemp("ways")
    assert baseline.run(served.url, str(root / "baseline"), width=PART) == 3
    assert served.bytes_sent() >= served.file_bytes
    served.reset()
    assert served.bytes_sent() == 0
    assert ingest_cases.store(served.url, str(root / "store"), width=PART) == 3
    measured = run_case(
        "benchmarks.ingest_cases:tree", url=served.url, folder=str(root / "tree"), width=PART
    )
    assert measured.result == 3
    assert measured.seconds > 0
    assert 2**24 < measured.peak_bytes < 2**31
    return root


def check(root: Path) -> int:
    ways = {name: str(root / name) for name in ("baseline", "store", "tree")}
    return ingest_cases.check_equal(**ways, width=PART, windows=20)


def test_all_ways_give_equal_pixels(made: Path) -> None:
    assert check(made) > 20


def test_the_baseline_gives_the_contrasted_columns_of_each_part(made: Path) -> None:
    segment = true_scale_segment(ROWS, WIDTH, LAYERS)
    table = baseline.contrast_table()
    for number, (x0, x1) in {1: (0, 300), 2: (300, 600), 3: (600, 700)}.items():
        part = made / "baseline" / "parts_contrasted" / f"phantom_{number:02d}" / "layers"
        assert len([*part.iterdir()]) == LAYERS
        expected = table[segment.expected(layers=[7], box=(0, ROWS, x0, x1))[0]]
        np.testing.assert_array_equal(tifffile.imread(part / "07.tif"), expected)


def test_a_changed_pixel_is_found(made: Path, tmp_path: Path) -> None:
    part = made / "baseline" / "parts_contrasted" / "phantom_02" / "layers"
    before = {path: path.read_bytes() for path in part.iterdir()}
    try:
        for path in before:
            image = tifffile.imread(path)
            image[ROWS // 2, PART // 2] ^= 1
            tifffile.imwrite(path, image)
        with pytest.raises(AssertionError):
            check(made)
    finally:
        for path, data in before.items():
            path.write_bytes(data)


def test_the_decoder_stops_at_the_last_column(tmp_path: Path, served: ServedSegment) -> None:
    decoded = run_case(
        "benchmarks.ingest_cases:pixels_decoded",
        url=served.url,
        store=str(tmp_path / "store"),
        box=[0, ROWS, 0, 70],
    ).result
    assert decoded == LAYERS * ROWS * 70


def test_a_failing_case_is_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CaseError):
        run_case("benchmarks.baseline:run", url="http://127.0.0.1:9/", folder="/nowhere")
    assert "Error" in capfd.readouterr().err
