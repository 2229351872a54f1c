"""Source → store: the pixels, the layout, what others see, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

from s5engine.errors import (
    BudgetError,
    InvalidArgumentError,
    ResumeError,
    SourceChangedError,
    StoreError,
)
from s5engine.foreign import structured
from s5engine.store import band_plan
from s5engine.store.ingest import ingest
from unit.store.segments import files_of, pixels, write_layers


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_layers(tmp_path / "seg", pixels())


def quiet(source: Path, store: Path, **options: Any) -> xr.DataArray:
    return ingest(source, store, progress=False, **options)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_the_store_holds_the_sources_pixels(tmp_path: Path, zarr_format: int, dtype: str) -> None:
    data = pixels(dtype=dtype)
    volume = quiet(
        write_layers(tmp_path / "seg", data, first=4), tmp_path / "a", zarr_format=zarr_format
    )
    np.testing.assert_array_equal(volume.values, data)
    assert volume["layer"].values.tolist() == [4, 5, 6]
    fingerprint = structured(volume.attrs.pop("fingerprint"))
    assert {layer: file["size"] for layer, file in fingerprint.items()} == {
        str(n): (tmp_path / "seg" / "layers" / f"{n:02d}.tif").stat().st_size for n in (4, 5, 6)
    }
    assert volume.attrs == {"segment": "seg", "source": str(tmp_path / "seg" / "layers")}


def test_a_crop_of_some_layers_knows_where_it_lies(source: Path, tmp_path: Path) -> None:
    volume = quiet(source, tmp_path / "a", layers=[1, 2], box=(20, 290, 33, 399))
    np.testing.assert_array_equal(volume.values, pixels()[1:, 20:290, 33:399])
    assert volume["layer"].values.tolist() == [1, 2]
    assert volume["y"].values[[0, -1]].tolist() == [20, 289]
    assert volume["x"].values[[0, -1]].tolist() == [33, 398]


def test_the_layout_of_version_3(source: Path, tmp_path: Path) -> None:
    quiet(source, tmp_path / "a")
    array = zarr.open_array(tmp_path / "a" / "0", mode="r")
    assert array.shards == (3, 1024, 1024)
    assert array.chunks == (3, 128, 128)
    assert array.metadata.dimension_names == ("z", "y", "x")  # type: ignore[union-attr]
    codec = array.compressors[0].to_dict()["configuration"]
    assert (codec["cname"], codec["clevel"], codec["shuffle"]) == ("zstd", 1, "noshuffle")
    attributes = zarr.open_group(tmp_path / "a", mode="r").attrs.asdict()
    assert attributes["ome"]["version"] == "0.5"
    assert attributes["s5engine"]["complete"] is True


def test_the_layout_of_version_2(source: Path, tmp_path: Path) -> None:
    quiet(source, tmp_path / "a", zarr_format=2)
    metadata = json.loads((tmp_path / "a" / "0" / ".zarray").read_text())
    assert metadata["chunks"] == [3, 128, 128]
    assert metadata["dimension_separator"] == "/"
    assert metadata["fill_value"] == 0
    assert metadata["compressor"] == {
        "id": "blosc",
        "cname": "zstd",
        "clevel": 1,
        "shuffle": 0,
        "blocksize": 0,
    }
    assert (tmp_path / "a" / "0" / "0" / "2" / "3").exists()
    assert not (tmp_path / "a" / "0" / "0" / "0" / "0").exists()  # empty chunks are not written


def test_16_bit_pixels_are_shuffled(tmp_path: Path) -> None:
    source = write_layers(tmp_path / "seg", pixels(dtype="uint16"))
    quiet(source, tmp_path / "a")
    quiet(source, tmp_path / "b", zarr_format=2)
    array = zarr.open_array(tmp_path / "a" / "0", mode="r")
    assert array.compressors[0].to_dict()["configuration"]["shuffle"] == "bitshuffle"
    assert json.loads((tmp_path / "b" / "0" / ".zarray").read_text())["compressor"]["shuffle"] == 2


def test_xarray_opens_it(source: Path, tmp_path: Path) -> None:
    for zarr_format in (2, 3):
        store = tmp_path / str(zarr_format)
        quiet(source, store, zarr_format=zarr_format)
        with xr.open_zarr(store, consolidated=False, mask_and_scale=False) as dataset:
            assert dataset["0"].dims == ("z", "y", "x")
            np.testing.assert_array_equal(dataset["0"].values, pixels())


def test_nothing_but_the_store_is_left(source: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    quiet(source, tmp_path / "out" / "a.zarr")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.zarr"]
    group = zarr.open_group(tmp_path / "out" / "a.zarr", mode="r")
    assert [name for name, _ in group.members()] == ["0"]  # and zarr warns of no stray file


def test_lower_bands_make_the_same_pixels(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(band_plan, "BAND_HEIGHTS", (128,))
    volume = quiet(source, tmp_path / "a")
    assert zarr.open_array(tmp_path / "a" / "0", mode="r").shards == (3, 128, 1024)
    np.testing.assert_array_equal(volume.values, pixels())


def test_a_complete_store_is_opened_at_once(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet(source, tmp_path / "a")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "a").rglob("*")}
    monkeypatch.setattr("s5engine.source.stack.LayerStack.iter_bands", None)
    np.testing.assert_array_equal(quiet(source, tmp_path / "a").values, pixels())
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "a").rglob("*")} == before


def test_starting_afresh_replaces_the_store(source: Path, tmp_path: Path) -> None:
    quiet(source, tmp_path / "a", zarr_format=2)
    (tmp_path / "a" / "0" / "stray").write_text("left by someone")
    quiet(source, tmp_path / "a", resume=False)
    quiet(source, tmp_path / "b")
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"layers": [0, 1]}, "layers was [0, 1, 2] and is now [0, 1]"),
        ({"box": (0, 128, 0, 128)}, "box was [0, 300, 0, 400] and is now [0, 128, 0, 128]"),
        ({"zarr_format": 2}, "zarr_format was 3 and is now 2"),
    ],
)
def test_other_settings_are_refused(
    source: Path, tmp_path: Path, options: dict[str, Any], key: str
) -> None:
    quiet(source, tmp_path / "a")
    before = files_of(tmp_path / "a")
    with pytest.raises(ResumeError) as error:
        quiet(source, tmp_path / "a", **options)
    assert key in str(error.value)
    assert files_of(tmp_path / "a") == before


def test_a_changed_source_is_refused(source: Path, tmp_path: Path) -> None:
    quiet(source, tmp_path / "a")
    write_layers(source, pixels(seed=1))
    with pytest.raises(SourceChangedError, match="has changed since"):
        quiet(source, tmp_path / "a")
    np.testing.assert_array_equal(
        quiet(source, tmp_path / "a", resume=False).values, pixels(seed=1)
    )


@pytest.mark.parametrize("resume", [True, False])
@pytest.mark.parametrize("kind", ["file", "folder", "zarr array", "zarr group"])
def test_what_is_not_ours_is_never_touched(
    source: Path, tmp_path: Path, kind: str, resume: bool
) -> None:
    place = tmp_path / "out" / "a"
    place.parent.mkdir()
    if kind == "file":
        place.write_text("mine")
    elif kind == "folder":
        place.mkdir()
        (place / "thesis.txt").write_text("mine")
    elif kind == "zarr array":
        zarr.create_array(place, data=pixels())
    else:
        zarr.create_group(place).create_array("0", data=pixels())
    before = files_of(place.parent)
    with pytest.raises(StoreError, match="not a store made from layers"):
        quiet(source, place, resume=resume)
    assert files_of(place.parent) == before


def test_an_empty_folder_is_taken(source: Path, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    np.testing.assert_array_equal(quiet(source, tmp_path / "a").values, pixels())


@pytest.mark.parametrize("store", ["s3://bucket/a.zarr", "https://host/a.zarr"])
def test_a_remote_target_is_refused(source: Path, store: str) -> None:
    with pytest.raises(InvalidArgumentError, match="not on this machine"):
        ingest(source, store, progress=False)


def test_an_unknown_format_is_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="2 or 3"):
        quiet(source, tmp_path / "a", zarr_format=4)


def test_a_budget_that_cannot_do_is_refused_before_anything_is_made(
    source: Path, tmp_path: Path
) -> None:
    with pytest.raises(BudgetError, match="at least"):
        quiet(source, tmp_path / "out" / "a", budget="8 MiB")
    assert not (tmp_path / "out").exists()


def test_a_box_outside_is_refused_before_anything_is_made(source: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="not inside"):
        quiet(source, tmp_path / "out" / "a", box=(0, 301, 0, 400))
    assert not (tmp_path / "out").exists()


def test_the_last_line_says_where_the_store_is(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ingest(source, tmp_path / "a.zarr")
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith(f"ingest: {tmp_path / 'a.zarr'} holds 3 layers of seg")
