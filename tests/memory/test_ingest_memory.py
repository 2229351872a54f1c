"""An ingest stays within its budget: measured in a fresh process, served from another one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from s5engine.budget import format_bytes, parse_bytes
from s5engine.phantom.true_scale import true_scale_segment
from s5engine.store.volume import open_volume

SERVE = """
import sys
from s5engine.phantom import LayerServer
from s5engine.phantom.true_scale import true_scale_segment
segment = true_scale_segment(*(int(v) for v in sys.argv[1:4]))
with LayerServer({f"seg/layers/{name}": file for name, file in segment.files.items()}) as server:
    print(server.url("seg/layers/"), flush=True)
    sys.stdin.read()
"""
# The high-water mark of this process alone: ru_maxrss would begin at that of the test's process.
INGEST = """
import sys
from pathlib import Path
from s5engine.store import band_plan
url, store, budget, rows, heights = sys.argv[1:6]
if heights:
    band_plan.BAND_HEIGHTS = (int(heights),)
from s5engine.store.ingest import ingest
ingest(url, store, budget=budget, box=(0, int(rows), 0, int(sys.argv[6])), progress=False)
status = Path("/proc/self/status").read_text()
print(int(status.split("VmHWM:")[1].split()[0]) * 1024)
"""


@contextmanager
def served(height: int, width: int, layers: int) -> Iterator[str]:
    """Serve a segment from another process; yield the address of its layers."""
    command = [sys.executable, "-c", SERVE, str(height), str(width), str(layers)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().decode().strip()
        finally:
            process.terminate()


def peak_of_ingest(
    url: str, store: Path, budget: str, rows: int, width: int, band_height: int | None = None
) -> int:
    """Ingest in a fresh process; return its largest resident memory, bytes."""
    heights = str(band_height or "")
    command = [sys.executable, "-c", INGEST, url, str(store), budget, str(rows), heights]
    result = subprocess.run(
        [*command, str(width)], stdout=subprocess.PIPE, text=True, check=True, timeout=550
    )
    return int(result.stdout)


@pytest.mark.slow
def test_bands_are_bounded_by_the_budget(tmp_path: Path) -> None:
    height, width, layers, budget = 2048, 20_000, 8, "420 MiB"
    with served(height, width, layers) as url:
        bounded = peak_of_ingest(url, tmp_path / "a", budget, height, width)
        # The same in one band: the figure means something.
        unbounded = peak_of_ingest(url, tmp_path / "b", "20 GiB", height, width, band_height=2048)
    assert bounded < parse_bytes(budget), format_bytes(bounded)
    assert unbounded > parse_bytes(budget), format_bytes(unbounded)
    segment = true_scale_segment(height, width, layers)
    box = (1000, 1100, 19_000, 20_000)
    crop = open_volume(tmp_path / "a").isel(y=slice(*box[:2]), x=slice(*box[2:]))
    np.testing.assert_array_equal(crop.values, segment.expected(box=box))


def test_bands_that_memory_cannot_hold_are_collected_on_disk(tmp_path: Path) -> None:
    height, width, layers, budget = 256, 120_000, 8, "230 MiB"
    with served(height, width, layers) as url:
        peak = peak_of_ingest(url, tmp_path / "a", budget, height, width)
    # One band of 128 rows alone is half of the budget, two and the process are more than it.
    assert layers * 128 * width > parse_bytes(budget) // 2
    assert peak < parse_bytes(budget), format_bytes(peak)
    segment = true_scale_segment(height, width, layers)
    for box in [(0, 256, 0, 1500), (100, 200, 119_000, 120_000)]:
        crop = open_volume(tmp_path / "a").isel(y=slice(*box[:2]), x=slice(*box[2:]))
        np.testing.assert_array_equal(crop.values, segment.expected(box=box))


@pytest.mark.slow
def test_the_whole_width_of_a_true_segment_stays_below_4_gib(tmp_path: Path) -> None:
    rows, width, layers = 1024, 289_380, 21
    with served(13_780, width, layers) as url:
        peak = peak_of_ingest(url, tmp_path / "a", "4 GiB", rows, width)
    assert peak < 4 * 2**30, format_bytes(peak)
    segment = true_scale_segment(13_780, width, layers)
    volume = open_volume(tmp_path / "a")
    assert volume.shape == (layers, rows, width)
    for box in [(0, 50, 0, 2000), (500, 600, 150_000, 151_000), (1000, 1024, 288_000, width)]:
        crop = volume.isel(y=slice(*box[:2]), x=slice(*box[2:]))
        np.testing.assert_array_equal(crop.values, segment.expected(box=box))
