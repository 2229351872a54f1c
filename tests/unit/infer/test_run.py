"""Runs: what they leave, that they go on, and that nothing is done twice."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import dask
import dask.array
import numpy as np
import pytest
import torch
import xarray as xr
from PIL import Image

import s5engine as s5
from s5engine.infer import execution, memory
from support import counting_model, noise, texture, volume_of

SHAPE = (18, 300, 420)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "BLOCK_SIZES", (128,))


def lazy_ink(model: s5.InkModel, **asked: object) -> xr.DataArray:
    settings = {"windows": [0, 2], "stride": 32, "tta": 1} | asked
    volume = volume_of(noise(SHAPE), y0=100, x0=1000, contrast=[[0, 0], [255, 255]])
    return s5.predict_ink(volume, model, **settings)


def test_a_run_leaves_everything_that_it_promises(tmp_path: Path) -> None:
    model, counter = counting_model()
    ink = lazy_ink(model)
    expected = ink.values
    counter.tiles = 0
    run = s5.write_run(ink, tmp_path / "run", progress=False)
    first = counter.tiles
    np.testing.assert_array_equal(run.ink.values, expected)
    assert run.ink.chunks is not None
    assert (int(run.ink.y[0]), int(run.ink.x[-1])) == (100, 1419)
    np.testing.assert_array_equal(s5.blend(run.tiles).values, expected)
    for plane, window in zip(expected, (0, 2), strict=True):
        npy = np.load(tmp_path / "run" / "npy_files" / f"segmentation_layer_{window}.npy")
        assert npy.dtype == np.float32
        np.testing.assert_array_equal(npy, plane)
        png = Image.open(tmp_path / "run" / "visualizations" / f"segmentation_layer_{window}.png")
        np.testing.assert_array_equal(np.asarray(png), (plane * 255).astype(np.uint8))
    overview = np.asarray(Image.open(tmp_path / "run" / "overview.png"))
    np.testing.assert_array_equal(overview, (expected.mean(0, np.float64) * 255).astype(np.uint8))
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record == run.record
    assert record["completed"]
    settings = record["settings"]
    assert (settings["stride"], settings["device"], settings["taper"]) == (
        32,
        "cpu",
        "gaussian",
    )
    assert record["versions"]["torch"] == torch.__version__
    assert record["peak_rss_bytes"] > 2**20
    assert counter.tiles == first
    assert not list((tmp_path / "run").rglob("*.partial"))


@pytest.mark.graphs
def test_blending_anew_needs_no_network(tmp_path: Path) -> None:
    model, counter = counting_model()
    run = s5.write_run(lazy_ink(model), tmp_path, progress=False)
    counter.tiles = 0
    hann = s5.blend(run.tiles, taper="hann").values
    assert counter.tiles == 0
    np.testing.assert_array_equal(hann, lazy_ink(model, taper="hann").values)
    one = s5.blend(run.tiles.sel(window=[2]))
    np.testing.assert_array_equal(one.values, run.ink.sel(window=[2]).values)


def test_a_sliced_ink_runs_only_what_it_needs(tmp_path: Path) -> None:
    model, counter = counting_model()
    whole = lazy_ink(model)
    corner = whole.isel(y=slice(0, 60), x=slice(0, 60))
    run = s5.write_run(corner, tmp_path, progress=False)
    assert counter.tiles == 4 * 4 * 2 * 2  # one block, two windows, two views
    np.testing.assert_array_equal(run.ink.values, whole.values[:, :60, :60])


class StoppedError(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize("moment", [1, 20, 50])
def test_a_stopped_run_goes_on_without_running_a_block_again(tmp_path: Path, moment: int) -> None:
    model, counter = counting_model()
    expected = lazy_ink(model).values
    whole, counter.tiles = counter.tiles, 0
    batches = 0

    def failing(tiles: torch.Tensor) -> torch.Tensor:
        nonlocal batches
        batches += 1
        if batches == moment:
            raise StoppedError
        return texture(tiles)

    counter._answer = failing
    # One thread: others would finish their blocks behind the error's back.
    with pytest.raises(StoppedError), dask.config.set(scheduler="synchronous"):
        s5.write_run(lazy_ink(model), tmp_path, progress=False)
    with pytest.raises(s5.S5Error, match="not finished"):
        s5.open_run(tmp_path)
    finished = [
        line for line in (tmp_path / "progress.jsonl").read_text().splitlines() if "predict" in line
    ]
    counter._answer, counter.tiles = texture, 0
    run = s5.write_run(lazy_ink(model), tmp_path, progress=False)
    np.testing.assert_array_equal(run.ink.values, expected)
    blocks = 2 * 3
    assert len(finished) < blocks
    # Whole minus the finished blocks of at least 4 × 4 tiles, two windows, two views each.
    assert counter.tiles <= whole - len(finished) * 4 * 4 * 2 * 2
    counter.tiles = 0
    s5.write_run(lazy_ink(model), tmp_path, progress=False)
    assert counter.tiles == 0


def test_coarser_levels_follow_a_going_run_and_catch_up_after_a_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = counting_model()
    seen: list[set[tuple[int, int]]] = []
    real = execution.reduce_blocks
    stops = [3]

    def noted(store: Path, places: list[tuple[slice, slice]]) -> None:
        if len(seen) in stops:
            raise StoppedError
        seen.append({(rows.start, columns.start) for rows, columns in places})
        real(store, places)

    monkeypatch.setattr(execution, "reduce_blocks", noted)
    monkeypatch.setattr(execution, "_LEVEL_SECONDS", 0.0)
    monkeypatch.setitem(globals(), "SHAPE", (18, 300, 1300))
    with pytest.raises(StoppedError):
        s5.write_run(lazy_ink(model), tmp_path, progress=False)
    shown = set().union(*seen)
    assert len(shown) == 3
    seen.clear()
    stops.clear()
    s5.write_run(lazy_ink(model), tmp_path, progress=False)
    # What was blended first is shown at once, also what another process had blended.
    assert shown < seen[0]
    monkeypatch.setattr(execution, "_LEVEL_SECONDS", 1e9)
    seen.clear()
    s5.write_run(lazy_ink(model), tmp_path / "seldom", progress=False)
    assert len(seen) == 1


def test_other_settings_are_refused_and_named(tmp_path: Path) -> None:
    model, _ = counting_model()
    s5.write_run(lazy_ink(model), tmp_path, progress=False)
    with pytest.raises(s5.S5Error, match="stride was 32 and is now 16"):
        s5.write_run(lazy_ink(model, stride=16), tmp_path, progress=False)
    run = s5.write_run(lazy_ink(model, stride=64), tmp_path, resume=False, progress=False)
    assert run.record["settings"]["stride"] == 64


@pytest.mark.graphs
def test_ink_that_was_worked_on_is_not_taken_for_the_finished_one(tmp_path: Path) -> None:
    model, _ = counting_model()
    ink = lazy_ink(model)
    s5.write_run(ink, tmp_path / "lazy", progress=False)
    with (
        pytest.raises(s5.S5Error, match="worked_on was null and is now"),
        xr.set_options(keep_attrs=True),
    ):
        s5.write_run(1 - ink, tmp_path / "lazy", progress=False)
    # Begins and ends where the whole ink does.
    with pytest.raises(s5.S5Error, match="written_pixels"):
        s5.write_run(ink.isel(y=[*range(0, 299, 13), 299]), tmp_path / "lazy", progress=False)
    known = xr.DataArray(np.zeros((1, 50, 60)), dims=("window", "y", "x"))
    s5.write_run(known, tmp_path / "known", progress=False)
    s5.write_run(known.copy(), tmp_path / "known", progress=False)
    with pytest.raises(s5.S5Error, match="ink was"):
        s5.write_run(known + 0.5, tmp_path / "known", progress=False)


def test_numpy_numbers_as_arguments(tmp_path: Path) -> None:
    model, _ = counting_model()
    ink = lazy_ink(model, windows=np.array([0, 2]), stride=np.int64(32), tta=np.int64(1))
    run = s5.write_run(ink, tmp_path, progress=False)
    assert run.record["settings"]["stride"] == 32


def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    model, counter = counting_model()
    file = tmp_path / "file"
    file.touch()
    for place in (file, file / "run"):
        with pytest.raises(s5.S5Error, match="cannot be written"):
            s5.write_run(lazy_ink(model), place, progress=False)
    assert counter.tiles == 0
    with pytest.raises(s5.S5Error, match="cannot be read"):
        s5.open_run(file)


def test_half_precision_stores_hold_the_ink_to_three_digits(tmp_path: Path) -> None:
    model, _ = counting_model()
    run = s5.write_run(lazy_ink(model), tmp_path, dtype="float16", progress=False)
    assert run.ink.dtype == run.tiles.dtype == np.float16
    np.testing.assert_allclose(run.ink.values, lazy_ink(model).values, rtol=0, atol=2e-3)


def test_formats_are_a_choice(tmp_path: Path) -> None:
    model, _ = counting_model()
    run = s5.write_run(lazy_ink(model), tmp_path, formats=["png"], progress=False)
    kept = {p.name for p in tmp_path.iterdir()}
    assert kept == {"visualizations", "overview.png", "run.json", "progress.jsonl"}
    with pytest.raises(s5.S5Error, match="written without zarr"):
        _ = run.ink


def test_ink_in_memory_is_written_too(tmp_path: Path) -> None:
    model, _ = counting_model()
    ink = lazy_ink(model).compute()
    np.testing.assert_array_equal(
        s5.write_run(ink, tmp_path, progress=False).ink.values, ink.values
    )


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"formats": ["jpg"]}, "formats are some of"),
        ({"formats": []}, "formats are some of"),
        ({"formats": "npy"}, "formats are some of"),
        ({"dtype": "float64"}, "dtype is"),
    ],
)
def test_wrong_arguments_are_refused_before_work(
    tmp_path: Path, change: dict[str, object], complaint: str
) -> None:
    model, counter = counting_model()
    with pytest.raises(s5.S5Error, match=complaint):
        s5.write_run(lazy_ink(model), tmp_path / "run", **change)
    assert counter.tiles == 0
    assert not (tmp_path / "run").exists()


@pytest.mark.graphs
def test_what_is_no_ink_is_refused(tmp_path: Path) -> None:
    with pytest.raises(s5.S5Error, match="dims"):
        s5.write_run(volume_of(noise((2, 9, 9))), tmp_path)
    model, _ = counting_model()
    with pytest.raises(s5.S5Error, match="empty"):
        s5.write_run(lazy_ink(model).isel(y=slice(0, 0)), tmp_path)
    with pytest.raises(s5.S5Error, match="window twice"):
        s5.write_run(lazy_ink(model).isel(window=[0, 0]), tmp_path)
    with pytest.raises(s5.S5Error, match="those of a ndarray"):
        s5.write_run(np.zeros((1, 9, 9)), tmp_path)  # type: ignore[arg-type]  # wrong
    with pytest.raises(s5.S5Error, match="holds no run"):
        s5.open_run(tmp_path)


def test_lines_say_what_is_done_and_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, _ = counting_model()
    s5.write_run(lazy_ink(model), tmp_path)
    lines = capsys.readouterr().err
    assert "predict: on cpu, float32" in lines
    assert "tiles to do" in lines
    assert f"run: {tmp_path}" in lines


@pytest.mark.parametrize("resume", [True, False])
def test_results_that_are_not_a_run_of_ours_are_never_deleted(tmp_path: Path, resume: bool) -> None:
    theirs = tmp_path / "npy_files" / "segmentation_layer_3.npy"
    theirs.parent.mkdir()
    theirs.write_bytes(b"weeks of work")
    model, counter = counting_model()
    with pytest.raises(s5.S5Error, match="holds npy_files, but not the journal of a run"):
        s5.write_run(lazy_ink(model), tmp_path, resume=resume, progress=False)
    assert theirs.read_bytes() == b"weeks of work"
    assert counter.tiles == 0


def test_a_source_that_changed_in_between_is_refused_and_named(tmp_path: Path) -> None:
    model, _ = counting_model()
    volume = volume_of(noise((16, 200, 200)))
    for etag in ("old", "new"):
        known = volume.assign_attrs(fingerprint={"03.tif": {"etag": etag}})
        ink = s5.predict_ink(known, model, windows=[0], stride=32, tta=0)
        if etag == "old":
            s5.write_run(ink, tmp_path / "run", progress=False)
            continue
        with pytest.raises(
            s5.S5Error, match=r"has changed since .*: 03.tif etag was 'old' and is now 'new'"
        ):
            s5.write_run(ink, tmp_path / "run", progress=False)


def test_a_run_uses_the_planned_threads_and_its_budget_to_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from s5engine.infer import run as running

    seen, told = [], []
    model, _ = counting_model()
    real = execution.run_units

    def noted(*given: object, threads: int, **how: object) -> None:
        seen.append(threads)
        real(*given, threads=threads, **how)

    monkeypatch.setattr(execution, "run_units", noted)
    monkeypatch.setattr(running, "write_levels", lambda path, **how: told.append(how))
    with dask.config.set(num_workers=3):
        ink = lazy_ink(model, budget="3 GiB")
    run = s5.write_run(ink, tmp_path / "run", progress=False)
    assert set(seen) == {3}
    assert told[0]["budget"] == 3 * 2**30
    # How it is computed is no setting: with other means the run is the same.
    assert not {"threads", "budget"} & {*run.record["settings"], *run.ink.attrs}
    with dask.config.set(num_workers=1):
        again = s5.write_run(lazy_ink(model, budget="5 GiB"), tmp_path / "run", progress=False)
    assert again.record == run.record


def test_pictures_of_wide_ink_take_little_memory(tmp_path: Path) -> None:
    from s5engine.infer.products import write_png

    tile = dask.array.random.default_rng(1).random((1, 512, 512), chunks=512).astype(np.float32)
    wide = dask.array.concatenate([tile] * 160, axis=2)  # 42 MB as 8 bits
    ink = xr.DataArray(
        wide,
        dims=("window", "y", "x"),
        coords={"window": [3], "y": np.arange(512), "x": np.arange(512 * 160)},
    )
    tracemalloc.start()
    try:
        (path,) = write_png(ink, tmp_path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 28 * 2**20
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    expected = (ink.values[0] * np.float32(255)).astype(np.uint8)
    np.testing.assert_array_equal(np.asarray(Image.open(path)), expected)
