"""The pictures of `s5 info`: from a coarse level or square by square, the same means and counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import s5engine as s5
from s5engine.cli import app
from s5engine.phantom import Phantom
from s5engine.store.pyramid import open_pyramid, write_pyramid
from s5engine.view import shrink as module
from s5engine.view.contact_sheet import write_contact_sheet
from s5engine.view.shrink import count_values, pick_level, shrink
from support import counting_model, noise, volume_of
from unit.store.segments import write_layers
from unit.store.test_pyramid import ink_store, volume_store


@pytest.mark.parametrize("square", [7, 1024])
def test_shrinking_is_the_plain_mean_in_squares_or_whole(
    square: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SQUARE", square)
    data = noise((2, 31, 50))
    small = shrink(volume_of(data), 20)  # by 3
    assert small.shape == (2, 11, 17)
    for y, x in np.ndindex(11, 17):
        mean = data[:, 3 * y : 3 * y + 3, 3 * x : 3 * x + 3].mean(axis=(1, 2))
        np.testing.assert_allclose(small[:, y, x], mean, rtol=1e-6)
    counts = count_values(volume_of(data), 256, 256.0)
    np.testing.assert_array_equal(counts, np.bincount(data.ravel(), minlength=256))


def test_the_coarsest_level_that_is_large_enough_is_taken(tmp_path: Path) -> None:
    store = volume_store(tmp_path)
    write_pyramid(store, progress=False)
    levels = open_pyramid(store)
    assert pick_level(levels, 900).attrs["reduction"] == 4  # 1,125 px wide
    assert pick_level(levels, 10_000).attrs["reduction"] == 1


@pytest.mark.parametrize("kind", ["volume", "ink"])
def test_info_draws_a_sheet_and_a_histogram(tmp_path: Path, kind: str) -> None:
    store = volume_store(tmp_path) if kind == "volume" else ink_store(tmp_path)
    sheet, histogram = write_contact_sheet(store, tmp_path / "out")
    for path in (sheet, histogram):
        picture = np.asarray(Image.open(path))
        assert picture.std() > 20
        assert max(picture.shape) <= 2000
    if kind == "volume":  # white paper but for the bars: about 40 % of the noise is empty
        told = CliRunner().invoke(app, ["info", str(store), "-o", str(tmp_path / "again")])
        assert told.exit_code == 0, told.output
        assert "pyramid   none" in told.output
        assert (tmp_path / "again" / "histogram.png").read_bytes() == histogram.read_bytes()


def told_of(place: Path, out: Path) -> dict[str, str]:
    """Return what `s5 info` prints of a place: values by their names."""
    told = CliRunner().invoke(app, ["info", str(place), "-o", str(out)])
    assert told.exit_code == 0, told.output
    *lines, sheet, histogram = told.output.splitlines()
    assert (sheet, histogram) == (str(out / "contact_sheet.png"), str(out / "histogram.png"))
    assert all(np.asarray(Image.open(path)).std() > 10 for path in (sheet, histogram))
    return {line[:10].strip(): line[10:] for line in lines}


@pytest.mark.parametrize("layers", [3, 65])
def test_info_of_a_16_bit_volume_of_any_number_of_layers(tmp_path: Path, layers: int) -> None:
    phantom = Phantom(120, 260, layers=layers, dtype="uint16", seed=2)
    write_layers(tmp_path / "seg", phantom.read())
    s5.ingest(tmp_path / "seg", tmp_path / "a.zarr", progress=False)
    told = told_of(tmp_path / "a.zarr", tmp_path / "out")
    assert told["layers"] == f"{layers}: 0…{layers - 1}"
    assert told["y"] == "0…119 (120 px)"
    assert told["x"] == "0…259 (260 px)"
    assert told["pixels"].startswith("uint16, ")
    assert told["contrast"] == "none"
    assert told["parts"] == "1"
    height, width = np.asarray(Image.open(tmp_path / "out" / "contact_sheet.png")).shape
    assert width <= 2000
    # A plain and a contrasted picture of each layer, three pairs in a row.
    assert height == 12 + -(-layers // 3) * (120 + 26 + 12)


def test_info_of_a_run(tmp_path: Path) -> None:
    volume = volume_of(noise((16, 90, 130)), y0=40, x0=10_200)
    model, _ = counting_model()
    ink = s5.predict_ink(volume, model, windows=[0], stride=32, tta=0)
    s5.write_run(ink, tmp_path / "run", formats=("zarr",), progress=False)
    told = told_of(tmp_path / "run", tmp_path / "out")
    assert told["run"] == str(tmp_path / "run")
    assert told["state"] == "finished"
    assert told["windows"] == "0"
    assert told["y"] == "40…129 (90 px)"
    assert told["x"] == "10200…10329 (130 px)"
    assert "stride 32, tta 0, taper gaussian" in told["settings"]
    assert told["memory"].startswith("peak ")
