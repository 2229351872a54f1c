"""A pyramid stays within its budget, and needs no more for a longer segment: fresh processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr

from s5engine.budget import format_bytes, parse_bytes
from s5engine.store.create import create_store, mark_complete
from s5engine.store.ome import VolumeRecord

# The high-water mark of this process alone, and what was projected for it.
PYRAMID = """
import sys
from pathlib import Path
import s5engine as s5
from s5engine.store import pyramid
plans, plan_levels = [], pyramid.plan_levels
def noted(*given, **asked):
    plans.append(plan_levels(*given, **asked))
    return plans[-1]
pyramid.plan_levels = noted
s5.write_pyramid(sys.argv[1], budget=sys.argv[2], progress=False)
status = Path("/proc/self/status").read_text()
print(int(status.split("VmHWM:")[1].split()[0]) * 1024, plans[0].projected_peak)
"""

# The same, with workers: the largest of theirs.
ON_WORKERS = PYRAMID.replace(
    "s5.write_pyramid(sys.argv[1], budget=sys.argv[2], progress=False)",
    """
def mark():
    from pathlib import Path
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024
if __name__ == "__main__":
    with s5.cluster("processes", workers=2, budget=sys.argv[2], dashboard=False) as found:
        s5.write_pyramid(sys.argv[1], budget=sys.argv[2], progress=False)
        print(max(found.client.run(mark).values()), plans[0].projected_peak, plans[0].budget)
        sys.exit(0)
""",
)


def volume(path: Path, width: int, layers: int = 8, height: int = 2048) -> Path:
    """A store of noise, which nothing compresses, written shard by shard."""
    record = VolumeRecord(
        "s", "memory", {}, tuple(range(layers)), (0, height, 0, width), "uint8", 3, 1024
    )
    create_store(path, record)
    array = zarr.open_group(path, mode="r+")["0"]
    noise = np.random.default_rng(0).integers(1, 255, (layers, 1024, 1024), np.uint8)
    for y in range(0, height, 1024):
        for x in range(0, width, 1024):
            array[:, y : y + 1024, x : x + 1024] = noise[:, :, : width - x]
    mark_complete(path)
    return path


def ink(path: Path, width: int, height: int = 2048) -> Path:
    """A run's ink store of noise."""
    group = zarr.create_group(path)
    array = group.create_array(
        "ink",
        shape=(2, height, width),
        dtype="float32",
        chunks=(1, 1024, 1024),
        dimension_names=["window", "y", "x"],
    )
    noise = np.random.default_rng(0).random((2, 1024, 1024), np.float32)
    for y in range(0, height, 1024):
        for x in range(0, width, 1024):
            array[:, y : y + 1024, x : x + 1024] = noise[:, :, : width - x]
    return path


def peak_of(store: Path, budget: str) -> tuple[int, int]:
    """Return measured and projected peak of making the levels in a fresh process, bytes."""
    result = subprocess.run(
        [sys.executable, "-c", PYRAMID, str(store), budget],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=300,
    )
    measured, projected = (int(v) for v in result.stdout.split())
    return measured, projected


@pytest.mark.slow
@pytest.mark.parametrize("make", [volume, ink])
def test_the_peak_is_below_the_projected_one_and_does_not_grow(
    tmp_path: Path, make: Callable[[Path, int], Path]
) -> None:
    budget = "400 MiB"
    short, first = peak_of(make(tmp_path / "a", 4096), budget)
    long, second = peak_of(make(tmp_path / "b", 16_384), budget)
    for measured, projected in [(short, first), (long, second)]:
        assert measured <= projected <= parse_bytes(budget), (
            format_bytes(measured),
            format_bytes(projected),
        )
    # The longer one has 200 MB more; what threads keep of freed memory grows a little at first.
    assert long - short < 48 * 2**20, (format_bytes(short), format_bytes(long))


@pytest.mark.slow
@pytest.mark.parametrize("make", [volume, ink])
def test_so_does_each_worker(tmp_path: Path, make: Callable[[Path, int], Path]) -> None:
    store = make(tmp_path / "b", 16_384)
    result = subprocess.run(
        [sys.executable, "-c", ON_WORKERS, str(store), "1.5 GiB"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=300,
    )
    measured, projected, share = (int(v) for v in result.stdout.split())
    assert measured <= projected <= share < parse_bytes("1.5 GiB") / 2
