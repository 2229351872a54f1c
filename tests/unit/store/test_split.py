"""Cutting the tree of parts: pixels, names, masks, what is kept and what is refused."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile

from s5engine.errors import (
    BudgetError,
    InvalidArgumentError,
    ResumeError,
    SourceChangedError,
    StoreError,
)
from s5engine.foreign import structured
from s5engine.phantom import LayerServer
from s5engine.store import band_plan
from s5engine.store import cut as module
from s5engine.store.ingest import ingest
from s5engine.store.split import split
from s5engine.store.volume import open_volume
from unit.store.segments import files_of, pixels, write_layers

POINTS = [[0.0, 0.0], [128.0, 64.0], [255.0, 255.0]]
DARKER = (np.arange(256) // 2).astype(np.uint8)
HALVES = (np.arange(65_536) // 2).astype(np.uint16)
SHAPE = {"layers": 12, "height": 200, "width": 500}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_layers(tmp_path / "seg", pixels(**SHAPE))


@pytest.fixture
def low_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(band_plan, "BAND_HEIGHTS", (64,))


def cut(source: Any, out: Path, **options: Any) -> dict[int, Path]:
    return split(source, out, **{"width": 150, "progress": False, **options})


def layer(folder: Path, number: int) -> np.ndarray:
    return tifffile.imread(folder / "layers" / f"{number:02d}.tif")


def test_every_part_has_its_columns_of_every_layer(source: Path, tmp_path: Path) -> None:
    folders = cut(source, tmp_path / "out")
    assert [f.relative_to(tmp_path / "out").as_posix() for f in folders.values()] == [
        f"seg/parts/seg_{n:02d}" for n in (1, 2, 3, 4)
    ]
    data = pixels(**SHAPE)
    for number, folder in folders.items():
        columns = slice((number - 1) * 150, min(number * 150, 500))
        assert sorted(p.name for p in folder.iterdir()) == ["layers", "mask.png"]
        assert len(list((folder / "layers").iterdir())) == 12
        for index in range(12):
            np.testing.assert_array_equal(layer(folder, index), data[index][:, columns])
        mask = cv2.imread(str(folder / "mask.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(mask, np.where(data[10][:, columns] != 0, 255, 0))


@pytest.mark.parametrize(("dtype", "table"), [("uint8", DARKER), ("uint16", HALVES)])
def test_pixels_go_through_the_lookup(tmp_path: Path, dtype: str, table: np.ndarray) -> None:
    data = pixels(**SHAPE, dtype=dtype)
    folders = cut(
        write_layers(tmp_path / "seg", data), tmp_path / "out", lookup=table, contrast=POINTS
    )
    assert folders[2] == tmp_path / "out" / "seg" / "parts_contrasted" / "seg_02"
    np.testing.assert_array_equal(layer(folders[2], 5), table[data[5][:, 150:300]])
    mask = cv2.imread(str(folders[2] / "mask.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(mask, np.where(table[data[10][:, 150:300]] != 0, 255, 0))
    with open_volume(tmp_path / "out" / "seg") as volume:
        assert structured(volume.attrs["contrast"]) == POINTS
        np.testing.assert_array_equal(volume.values, table[data])


@pytest.mark.parametrize("offset", [0, 40, 149])
def test_the_tree_opens_as_the_segment_that_it_was_cut_from(
    source: Path, tmp_path: Path, offset: int
) -> None:
    cut(source, tmp_path / "out", first_offset=offset)
    with open_volume(tmp_path / "out" / "seg") as volume:
        np.testing.assert_array_equal(volume.values, pixels(**SHAPE))
        assert volume["x"].values.tolist() == list(range(500))
        assert volume.attrs["segment"] == "seg"
        assert "contrast" not in volume.attrs


def test_a_volume_is_cut_as_its_source_would_be(source: Path, tmp_path: Path) -> None:
    volume = ingest(source, tmp_path / "a.zarr", box=(10, 200, 160, 480), progress=False)
    folders = cut(volume, tmp_path / "out")
    assert list(folders) == [2, 3, 4]
    data = pixels(**SHAPE)[:, 10:]
    np.testing.assert_array_equal(layer(folders[2], 3), data[3][:, 160:300])
    np.testing.assert_array_equal(layer(folders[4], 3), data[3][:, 450:480])
    with open_volume(tmp_path / "out" / "seg" / "parts") as opened:
        np.testing.assert_array_equal(opened.values, data[:, :, 160:480])
        np.testing.assert_array_equal(opened["x"], volume["x"])
        np.testing.assert_array_equal(opened["y"], volume["y"])


def test_low_bands_make_the_same_files(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut(source, tmp_path / "a")
    monkeypatch.setattr(band_plan, "BAND_HEIGHTS", (32,))
    cut(source, tmp_path / "b")
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")


def test_selected_parts_fetch_only_their_columns(tmp_path: Path) -> None:
    data = pixels(layers=2, height=256, width=1024)
    (tmp_path / "layers").mkdir()
    for number, image in enumerate(data):
        tifffile.imwrite(tmp_path / "layers" / f"{number}.tif", image, tile=(128, 128))
    files = {f"seg/layers/{p.name}": p for p in (tmp_path / "layers").iterdir()}
    with LayerServer(files) as server:
        folders = cut(server.url("seg/layers/"), tmp_path / "out", width=128, parts=[1, 8])
        assert list(folders) == [1, 8]
        np.testing.assert_array_equal(layer(folders[8], 1), data[1][:, 896:])
        pixel_bytes = 2 * 2 * 256 * 128
        heads = [r for r in server.requests if r.start == 0]
        listing = [r for r in server.requests if r.path.endswith("/")]
        around = sum(r.sent for r in heads + listing)
        assert server.bytes_sent() <= pixel_bytes + around
    assert (tmp_path / "out" / "seg" / "parts" / "seg_02").exists() is False


def test_layers_that_are_there_are_kept_and_damaged_ones_written_again(
    source: Path, tmp_path: Path
) -> None:
    folders = cut(source, tmp_path / "out")
    before = files_of(tmp_path / "out")
    kept = folders[1] / "layers" / "00.tif"
    stamp = kept.stat().st_mtime_ns
    cut_off = folders[1] / "layers" / "01.tif"
    cut_off.write_bytes(cut_off.read_bytes()[:-10])
    tifffile.imwrite(folders[2] / "layers" / "02.tif", np.zeros((200, 149), np.uint8))
    (folders[2] / "layers" / "03.tif").write_text("no picture")
    (folders[3] / "layers" / "04.tif").unlink()
    cut(source, tmp_path / "out")
    assert files_of(tmp_path / "out") == before
    assert kept.stat().st_mtime_ns == stamp


def test_a_mask_that_someone_drew_is_kept(source: Path, tmp_path: Path) -> None:
    folders = cut(source, tmp_path / "out")
    (folders[1] / "mask.png").write_bytes(b"drawn by hand")
    cut(source, tmp_path / "out", resume=False)
    assert (folders[1] / "mask.png").read_bytes() == b"drawn by hand"


def test_parts_can_be_added_later(source: Path, tmp_path: Path) -> None:
    cut(source, tmp_path / "out", parts=[2])
    cut(source, tmp_path / "out", parts=[1, 3, 4])
    with open_volume(tmp_path / "out" / "seg") as volume:
        np.testing.assert_array_equal(volume.values, pixels(**SHAPE))


def interrupt(
    monkeypatch: pytest.MonkeyPatch, source: Path, out: Path, writes: int, **options: Any
) -> None:
    """Cut, and fail after so many writes of pixels."""
    real, done = module.PartFile.write, 0

    def write(self: Any, pixels: Any, row: int) -> None:
        nonlocal done
        if done >= writes:
            raise KeyboardInterrupt
        done += 1
        real(self, pixels, row)

    with monkeypatch.context() as patch:
        patch.setattr(module.PartFile, "write", write)
        with pytest.raises(KeyboardInterrupt):
            cut(source, out, **options)


@pytest.mark.usefixtures("low_bands")
@pytest.mark.parametrize("writes", [0, 1, 47, 48, 49, 100, 191])
def test_an_interrupted_cut_goes_on_where_it_was(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    interrupt(monkeypatch, source, tmp_path / "out", writes)
    rows: list[tuple[int, int]] = []
    real = module.PartFile.write

    def write(self: Any, pixels: Any, row: int) -> None:
        rows.append((row, row + pixels.shape[0]))
        real(self, pixels, row)

    monkeypatch.setattr(module.PartFile, "write", write)
    cut(source, tmp_path / "out")
    assert min(rows)[0] == writes // 48 * 64  # 12 layers of 4 parts in each band
    cut(source, tmp_path / "whole")
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")


@pytest.mark.usefixtures("low_bands")
def test_finishing_some_parts_does_not_confuse_the_others(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(monkeypatch, source, tmp_path / "out", 60)
    interrupt(monkeypatch, source, tmp_path / "out", 30, parts=[2])
    cut(source, tmp_path / "out", parts=[3], layers=range(4))
    cut(source, tmp_path / "out")
    cut(source, tmp_path / "whole")
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")


@pytest.mark.usefixtures("low_bands")
def test_a_kill_between_the_renames_is_finished(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, done = module.PartFile.finish, 0

    def finish(self: Any) -> None:
        nonlocal done
        if done == 5:
            raise KeyboardInterrupt
        done += 1
        real(self)

    with monkeypatch.context() as patch:
        patch.setattr(module.PartFile, "finish", finish)
        with pytest.raises(KeyboardInterrupt):
            cut(source, tmp_path / "out")
    cut(source, tmp_path / "out")
    cut(source, tmp_path / "whole")
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")


def test_a_changed_source_or_other_settings_are_refused(source: Path, tmp_path: Path) -> None:
    cut(source, tmp_path / "out", parts=[1, 2])
    with pytest.raises(ResumeError, match="first_offset was 0 and is now 10"):
        cut(source, tmp_path / "out", first_offset=10)
    with pytest.raises(ResumeError, match="part_width was 150 and is now 250"):
        cut(source, tmp_path / "out", width=250)
    os.utime(source / "layers" / "03.tif", (0, 0))
    with pytest.raises(SourceChangedError, match="has changed since"):
        cut(source, tmp_path / "out")
    with pytest.raises(SourceChangedError):  # part 2 would stay as it was
        cut(source, tmp_path / "out", resume=False, parts=[1])
    cut(source, tmp_path / "out", resume=False)
    cut(source, tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parts": [5]}, "no parts [5]"),
        ({"parts": [0, 1]}, "no parts [0]"),
        ({"parts": []}, "no parts"),
        ({"width": 0}, "cannot be cut"),
        ({"first_offset": 150}, "cannot be cut"),
        ({"layers": [12]}, "12"),
        ({"lookup": DARKER}, "given together"),
        ({"contrast": POINTS}, "given together"),
        ({"lookup": HALVES, "contrast": POINTS}, "need 256 values of uint8"),
        ({"lookup": DARKER[:100], "contrast": POINTS}, "need 256 values of uint8"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_made(
    source: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidArgumentError) as error:
        cut(source, tmp_path / "out", **options)
    assert message in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_budget_that_cannot_do_is_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match="Cutting the parts"):
        cut(source, tmp_path / "out", budget="8 MiB")


def test_a_contrasted_volume_is_not_contrasted_twice(source: Path, tmp_path: Path) -> None:
    cut(source, tmp_path / "out", lookup=DARKER, contrast=POINTS)
    with (
        open_volume(tmp_path / "out" / "seg") as volume,
        pytest.raises(InvalidArgumentError, match="already"),
    ):
        cut(volume, tmp_path / "b", lookup=DARKER, contrast=POINTS)


def test_a_volume_with_missing_rows_or_layers_is_refused(source: Path, tmp_path: Path) -> None:
    with open_volume(source) as volume:
        with pytest.raises(InvalidArgumentError, match="without a step"):
            cut(volume.isel(y=slice(0, 200, 2)), tmp_path / "out")
        with pytest.raises(InvalidArgumentError, match="no layers \\[99\\]"):
            cut(volume, tmp_path / "out", layers=[99])
        with pytest.raises(InvalidArgumentError, match="dimensions"):
            cut(volume.isel(layer=0), tmp_path / "out")


def test_a_place_that_cannot_be_written_is_one_clear_error(source: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file"):
        cut(source, tmp_path / "file" / "out")


def test_a_full_disk_is_one_clear_error_and_resumable(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pwrite(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("s5engine.store.part_file.os.pwrite", pwrite)
        with pytest.raises(StoreError, match="No space left on device"):
            cut(source, tmp_path / "out")
    cut(source, tmp_path / "out")
    with open_volume(tmp_path / "out" / "seg") as volume:
        np.testing.assert_array_equal(volume.values, pixels(**SHAPE))


def test_without_layer_10_there_is_no_mask(source: Path, tmp_path: Path) -> None:
    folders = cut(source, tmp_path / "out", layers=[2, 3])
    assert [p.name for p in folders[1].iterdir()] == ["layers"]
