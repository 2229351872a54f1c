"""Long work looks alive: it counts small units, tells the time left, and what to do afterwards."""

from __future__ import annotations

import io
import re
import shlex
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import dask
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import s5engine as s5
from s5engine import console
from s5engine.infer import execution
from support import TILE, constant, counting_model, noise, volume_of
from unit.store.segments import write_layers


class Clock:
    """Stands in for time.monotonic."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@given(
    units=st.lists(st.tuples(st.floats(0.5, 20), st.floats(0.01, 5000)), min_size=1, max_size=12),
    before=st.floats(0, 50),
    rest=st.floats(0, 100),
)
@settings(max_examples=200, deadline=None)
def test_the_time_left_is_known_from_the_first_unit_however_slow(
    units: list[tuple[float, float]], before: float, rest: float
) -> None:
    clock = Clock()
    total = before + sum(size for size, _ in units) + rest
    with mock.patch("s5engine.console.time.monotonic", clock):
        pace = console.Pace("predict", total, "tiles", before)
        assert pace.left is None
        assert "left" not in str(pace)
        for size, seconds in units:
            clock.now += seconds
            pace.advance(size)
            each = pace.elapsed / (pace.done - before)
            assert pace.left == pytest.approx(each * (total - pace.done), abs=1e-6)
            assert re.search(r"gone, about \S+( s)? left$", str(pace))
        pace.advance(total)  # what failed and was done twice
        assert pace.done == total
        assert pace.left == 0


#: Of eighths, which add up to the same in any order.
SECONDS = st.integers(8, 2400).map(lambda eighths: eighths / 8)


@given(st.lists(SECONDS, min_size=2, max_size=5), st.integers(0, 40), st.integers(1, 9_999))
@settings(max_examples=50, deadline=None)
def test_the_bar_of_a_terminal_shows_units_and_both_times(
    seconds: list[float], done: int, size: int
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    clock, screen = Clock(), Terminal()
    total = done + size * len(seconds)
    with (
        mock.patch("s5engine.console.time.monotonic", clock),
        mock.patch("sys.stderr", screen),
        mock.patch.dict("os.environ", {"COLUMNS": "120", "TERM": "xterm"}),
        console.progress("predict", total, "tiles", done=done) as meter,
    ):
        for each in seconds:
            clock.now += each
            meter.advance(size)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.getvalue())
    assert f"{total:,} of {total:,} tiles" in text
    assert "-:--" not in text
    assert f"{console.clock(sum(seconds))} gone, about 0 s left" in text


def test_plain_lines_break_a_long_silence() -> None:
    said: list[str] = []
    heard = threading.Event()

    def say(message: str) -> None:
        said.append(message)
        if len(said) > 1:
            heard.set()

    with (
        mock.patch.multiple(console, LINE_INTERVAL=0.01, SILENCE=0.03, say=say),
        mock.patch("sys.stderr", io.StringIO()),
        console.progress("predict", 300, "tiles"),
    ):
        assert heard.wait(120)
    assert said[0] == "predict: 300 tiles to do"
    assert said[1].startswith("predict: 0 of 300 tiles, 0 s gone")


@given(
    height=st.integers(64, 200),
    width=st.integers(64, 200),
    windows=st.integers(1, 3),
    batch=st.integers(1, 5),
    blank=st.floats(0, 1),
)
@settings(max_examples=50, deadline=None)
def test_every_tile_is_counted_once_and_no_more_than_a_batch_at_a_time(
    height: int, width: int, windows: int, batch: int, blank: float
) -> None:
    model, counter = counting_model()
    mask = np.ones((height, width), bool)
    mask[:, : int(blank * width)] = False
    mask[0, -1] = True
    ink = s5.predict_ink(
        volume_of(noise((16 + windows, height, width))),
        model,
        windows=range(windows),
        stride=TILE // 2,
        tta=0,
        mask=mask,
        batch=batch,
    )
    counts: list[tuple[str, float]] = []
    told: dict[str, float] = {}

    @contextmanager
    def recorded(what: str, total: float, unit: str, **_: object) -> Iterator[object]:
        told[f"{what} {unit}"] = total
        meter = mock.Mock(done=0)
        meter.advance.side_effect = lambda n=1: counts.append((what, n))
        yield meter

    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(execution, "show_progress", recorded),
    ):
        s5.write_run(ink, Path(folder) / "run", formats=["zarr"], progress=False)
    sides = [-(-max(n - TILE, 0) // (TILE // 2)) + 1 for n in (height, width)]
    total = windows * sides[0] * sides[1]
    assert told["predict tiles"] == total
    answered = [n for what, n in counts if what == "predict"]
    assert sum(answered) == total
    assert sum(1 for n in answered if n > batch) <= 1  # tiles that hold no papyrus, all at once
    assert counter.tiles <= total


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """What the verbs of the main line say, where names have spaces; and the folder they ran in."""
    root = tmp_path_factory.mktemp("a place")
    write_layers(root / "seg", noise((18, 64, 64)))
    checkpoint = Path(s5.__file__).parents[1] / "checkpoints" / "demo.ckpt"
    asked = {
        "fetch": ["seg/layers", "my volume.zarr"],
        "infer": [
            "my volume.zarr",
            "--checkpoint",
            str(checkpoint),
            "--windows",
            "1",
            "--mask",
            "none",
            "--tta",
            "0",
            "-o",
            "out/my run",
        ],
        "composite": ["out/my run", "-o", "ink.png"],
        "split": ["my volume.zarr", "-o", "parts"],
    }
    s5_command = Path(sys.executable).with_name("s5")
    said = {}
    for verb, words in asked.items():
        done = subprocess.run(
            [s5_command, verb, *words], cwd=root, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        said[verb] = done.stderr
    return root, said


@pytest.mark.parametrize("verb", ["fetch", "infer", "composite", "split"])
def test_each_verb_ends_with_what_to_do_next(line: tuple[Path, dict[str, str]], verb: str) -> None:
    root, said = line
    last = said[verb].splitlines()[-1]
    words = shlex.split(last.removeprefix("now: "))
    assert words[:2] == ["s5", "view"]
    assert len(words) == (4 if verb == "infer" else 3)
    assert all((root / place).exists() for place in words[2:])


def test_ctrl_c_says_which_tiles_are_lost(capsys: pytest.CaptureFixture[str]) -> None:
    asked = 0

    def stopped(tiles: torch.Tensor) -> torch.Tensor:
        nonlocal asked
        asked += 1
        if asked == 3:
            raise KeyboardInterrupt
        return constant(tiles)

    model = s5.wrap_model(stopped, tile=TILE)
    ink = s5.predict_ink(
        volume_of(noise((16, 64, 400))), model, windows=[0], stride=TILE, tta=0, batch=2
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        dask.config.set(scheduler="synchronous"),
        pytest.raises(KeyboardInterrupt),
    ):
        s5.write_run(ink, Path(folder) / "run")
    assert "predict: 4 tiles of blocks that were not finished are lost" in capsys.readouterr().err
