"""A run that is killed at any moment goes on, and ends as if it had not been."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import s5engine as s5

SCRIPT = """
import sys, time
import numpy as np, torch
import s5engine as s5
from s5engine.infer import memory
from support import noise, texture, volume_of

memory.BLOCK_SIZES = (128,)

def network(tiles):
    print("tiles", len(tiles), flush=True)
    time.sleep(float(sys.argv[2]))
    return texture(tiles)

ink = s5.predict_ink(
    volume_of(noise((16, 400, 500))), s5.wrap_model(network, tile=64), windows=[0], stride=32, tta=0
)
s5.write_run(ink, sys.argv[1], progress=False)
"""


def start(folder: Path, pause: float) -> subprocess.Popen[str]:
    paths = os.pathsep.join(str(Path(p).resolve()) for p in (Path(__file__).parents[1], "."))
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder), str(pause)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": paths},
        cwd=Path(s5.__file__).parents[1],
    )


def tiles_run(output: str) -> int:
    return sum(int(line.split()[1]) for line in output.splitlines() if line.startswith("tiles"))


def finished_tiles(folder: Path) -> int:
    """Tiles of the blocks that the journal calls finished; inner blocks own 4 × 4."""
    journal = folder / "progress.jsonl"
    lines = journal.read_text().splitlines() if journal.exists() else []
    return 16 * sum('"predict ' in line for line in lines if line.endswith("}"))


@pytest.mark.parametrize(
    "share", [0.5, *(pytest.param(share, marks=pytest.mark.slow) for share in (0.15, 0.85))]
)
def test_kill_nine(tmp_path: Path, share: float) -> None:
    undisturbed = tmp_path / "undisturbed"
    with start(undisturbed, 0) as process:
        whole = tiles_run(process.communicate()[0])
        assert process.returncode == 0
    killed = tmp_path / "killed"
    with start(killed, 0.02) as process:
        seen = 0
        while seen < share * whole:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, "it ended before it was to be killed"
            seen += tiles_run(line)
        process.send_signal(signal.SIGKILL)
        process.wait()
    kept = finished_tiles(killed)

    with start(killed, 0) as process:
        again = tiles_run(process.communicate()[0])
        assert process.returncode == 0
    assert again <= whole - kept
    a, b = s5.open_run(undisturbed), s5.open_run(killed)
    np.testing.assert_array_equal(a.ink.values, b.ink.values)
    np.testing.assert_array_equal(a.tiles.values, b.tiles.values)
    name = "npy_files/segmentation_layer_0.npy"
    np.testing.assert_array_equal(np.load(undisturbed / name), np.load(killed / name))
    if share > 0.5:
        assert kept > 0
