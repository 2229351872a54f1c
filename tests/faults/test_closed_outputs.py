"""A command whose output or messages nobody takes ends quietly, with a status."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from s5engine import console

COMMAND = Path(sys.executable).with_name("s5")


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("volume") / "v.zarr"
    array = zarr.create_array(
        place, shape=(2, 8, 8), chunks=(2, 8, 8), dtype="uint8", dimension_names=["z", "y", "x"]
    )
    array[:] = np.ones((2, 8, 8), np.uint8)
    return place


@pytest.mark.parametrize(
    ("command", "status", "told"),
    [
        ("{s5} info {volume} > /dev/full", 1, "the output cannot be written: No space left"),
        ("set -o pipefail; {s5} info {volume} | true", 1, ""),
        ("{s5} info {volume} >&- 2>&- <&-", 0, ""),
        ("{s5} info {volume}.gone 2> /dev/full", 1, ""),
        ("{s5} info {volume}.gone 2>&-", 1, ""),
    ],
)
def test_it_ends_quietly(volume: Path, command: str, status: int, told: str) -> None:
    done = subprocess.run(
        ["bash", "-c", command.format(s5=COMMAND, volume=volume)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(console.__file__).parents[1])},
    )
    assert done.returncode == status
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


class Broken(io.StringIO):
    """A stream on a full disk."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("stream", [None, Broken(), "closed"])
def test_messages_stop_no_work(stream: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if stream == "closed":
        stream = io.StringIO()
        stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    console.say("hello")
    with console.progress("work", 2, "rows") as meter:
        meter.advance()
        meter.advance()
