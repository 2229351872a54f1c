"""Each benchmark at a tiny size: it runs, checks that all ways give equal output, and is recorded.

Cases run in this process, so that nothing waits for imports; their figures mean nothing and no
speed is asserted.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import ink_cases, peer_cases, tile_cases
from benchmarks.browser_tab import find_chromium
from benchmarks.common import cases_here, run_case
from benchmarks.suite import NAMES, run

#: Of the others, each takes a few seconds.
LONG_EVEN_TINY = ("view", "overhead", "ingest", "backend", "inference")


@pytest.mark.filterwarnings("ignore")  # those of libraries that only benchmarks use
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in LONG_EVEN_TINY else n for n in NAMES]
)
def test_a_benchmark_runs_tiny(name: str, tmp_path: Path) -> None:
    if name == "view" and find_chromium() is None and not os.environ.get("CI"):
        pytest.skip("no Chromium: install one, or name it in S5_CHROMIUM")
    with cases_here():
        path = run(name, "tiny", folder=tmp_path / "results", root=tmp_path)
    result = json.loads(path.read_text())
    assert len(result["cases"]) > 1
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["results"]


def holding(size: int, seconds: float) -> int:
    """Hold memory in a child for a while."""
    import subprocess

    code = f"import time; held = bytearray({size}); held[::4096] = b'x' * len(held[::4096]);"
    subprocess.run([sys.executable, "-c", f"{code} time.sleep({seconds})"], check=True)
    return os.getpid()


@pytest.mark.slow
def test_memory_of_what_a_case_starts_counts() -> None:
    size = 300 * 2**20
    module = "tests.unit.benchmarks.test_suite"
    measured = run_case(f"{module}:holding", size=size, seconds=1.2)
    assert measured.result != os.getpid()
    assert measured.peak_bytes > size
    assert max(measured.memory["mib"]) > 300
    assert measured.seconds > 1.2


@pytest.mark.slow
def test_preparation_is_not_timed() -> None:
    measured = run_case("tests.unit.benchmarks.test_suite:prepared")
    assert measured.result == "done"
    assert measured.seconds < 0.5


def prepared():
    import time

    time.sleep(0.7)
    yield
    return "done"


def test_a_different_pixel_of_ink_is_found(tmp_path: Path) -> None:
    ink = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    for name in ("old", "run"):
        folder = tmp_path / name / "npy_files"
        folder.mkdir(parents=True)
        np.save(folder / "segmentation_layer_3.npy", ink)
    where = str(tmp_path / "old"), str(tmp_path / "run")
    assert ink_cases.check_equal(*where, windows=[3], tolerance=1e-5) == 0
    ink[4, 4] += 0.001
    np.save(tmp_path / "run" / "npy_files" / "segmentation_layer_3.npy", ink)
    with pytest.raises(AssertionError):
        ink_cases.check_equal(*where, windows=[3], tolerance=1e-5)
    other = str(tmp_path / "old" / "npy_files" / "segmentation_layer_3.npy")
    with pytest.raises(AssertionError):
        peer_cases.compare(where[1], other, 3, 1e-5)


def test_a_different_tile_is_found(tmp_path: Path) -> None:
    from benchmarks import baseline_tiles

    root = str(tmp_path)
    tile_cases.make(root, height=200, width=320, layers=16)
    how = {"layers": list(range(16)), "tile": 64}
    old, new = f"{root}/old", f"{root}/new.zarr"
    count = baseline_tiles.prepare(f"{root}/part", f"{root}/labels/phantom_01", old, **how)
    assert tile_cases.build(root, new, packed=True, **how) == count
    assert tile_cases.check_equal(old, new) == count
    path = next(Path(old).glob("*.npz"))
    with np.load(path) as file:
        arrays = dict(file)
    arrays["layers"][3, 5, 5] ^= 1
    np.savez(path, **arrays)
    with pytest.raises(AssertionError):
        tile_cases.check_equal(old, new)
