"""A composite of any size needs the memory of one square: measured in fresh processes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from s5engine.budget import format_bytes

COMPOSITE = """
import sys
from pathlib import Path
import dask.array as da
import numpy as np
import xarray as xr
from s5engine.view import composite
composite._SQUARE = 1024
width = int(sys.argv[1])
ink = da.full((3, 2048, width), 0.25, dtype="float32", chunks=(1, 1024, 1024))
picture = composite.composite(xr.DataArray(ink, dims=("window", "y", "x")), reduce=8)
assert picture.shape == (256, width // 8) and np.allclose(picture, 0.25)
status = Path("/proc/self/status").read_text()
print(int(status.split("VmHWM:")[1].split()[0]) * 1024)
"""


def peak_of(width: int) -> int:
    command = [sys.executable, "-c", COMPOSITE, str(width)]
    return int(subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=300).stdout)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_ink() -> None:
    short, long = peak_of(2048), peak_of(16_384)
    # The picture itself, its matrices and the graph grow; the ink is 352 MB more.
    assert long - short < 64 * 2**20, (format_bytes(short), format_bytes(long))
