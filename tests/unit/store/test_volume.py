"""Opening any volume: ours, others', layers; and one clear error for what is none."""

from __future__ import annotations

import gc
import pickle
from pathlib import Path

import dask
import numpy as np
import pytest
import zarr

from s5engine.errors import S5Error, StoreError
from s5engine.foreign import structured
from s5engine.phantom import LayerServer
from s5engine.store.ingest import ingest
from s5engine.store.ome import VolumeRecord
from s5engine.store.volume import block_shape, open_volume
from unit.store.segments import pixels, write_layers


def bare(path: Path, data: np.ndarray, **options: object) -> Path:
    zarr.create_array(path, data=data, **options)  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_bare_array(tmp_path: Path, zarr_format: int) -> None:
    data = pixels()
    volume = open_volume(bare(tmp_path / "seg.zarr", data, zarr_format=zarr_format))
    assert volume.dims == ("layer", "y", "x")
    assert volume.attrs["segment"] == "seg"
    assert "contrast" not in volume.attrs
    np.testing.assert_array_equal(volume.values, data)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_an_ome_zarr_of_another_tool(tmp_path: Path, zarr_format: int) -> None:
    data = pixels(layers=5, dtype="uint16")
    scales = [{"axes": [{"name": n} for n in "zyx"], "datasets": [{"path": "s0"}, {"path": "s1"}]}]
    attributes = {"multiscales": scales} if zarr_format == 2 else {"ome": {"multiscales": scales}}
    group = zarr.create_group(tmp_path / "a", zarr_format=zarr_format, attributes=attributes)
    group.create_array("s0", data=data, chunks=(5, 128, 128))
    group.create_array("s1", data=data[:, ::2, ::2], chunks=(5, 128, 128))
    volume = open_volume(tmp_path / "a")
    np.testing.assert_array_equal(volume.values, data)
    assert volume.dtype == np.uint16


def test_channels_last_with_one_layer_per_chunk(tmp_path: Path) -> None:
    data = pixels(layers=4, height=150, width=300)
    volume = open_volume(bare(tmp_path / "a", np.moveaxis(data, 0, -1), chunks=(64, 64, 1)))
    assert volume.shape == data.shape
    assert volume.chunks[0] == (4,)
    np.testing.assert_array_equal(volume.values, data)


def test_surplus_axes_of_length_one_are_left_out(tmp_path: Path) -> None:
    data = pixels()
    names = [{"name": n} for n in "tczyx"]
    scales = [{"axes": names, "datasets": [{"path": "0"}]}]
    group = zarr.create_group(tmp_path / "a", attributes={"ome": {"multiscales": scales}})
    group.create_array("0", data=data[None, None], chunks=(1, 1, 3, 128, 128))
    np.testing.assert_array_equal(open_volume(tmp_path / "a").values, data)


def test_one_layer_stays_a_volume(tmp_path: Path) -> None:
    volume = open_volume(bare(tmp_path / "a", pixels(layers=1)))
    assert volume.sizes["layer"] == 1


def test_a_group_with_a_single_array_of_any_name(tmp_path: Path) -> None:
    zarr.create_group(tmp_path / "a").create_array("volume", data=pixels())
    assert open_volume(tmp_path / "a").shape == (3, 300, 400)


def test_big_endian_pixels_become_native(tmp_path: Path) -> None:
    data = pixels(dtype="uint16")
    volume = open_volume(bare(tmp_path / "a", data.astype(">u2"), zarr_format=2))
    assert volume.dtype == np.dtype("=u2")
    np.testing.assert_array_equal(volume.values, data)


def test_blocks_are_whole_shards(tmp_path: Path) -> None:
    data = np.zeros((2, 1200, 1500), np.uint8)
    path = bare(tmp_path / "a", data, chunks=(2, 128, 128), shards=(2, 256, 1024))
    assert open_volume(path, partial=True).chunks == ((2,), (1024, 176), (1024, 476))


@pytest.mark.parametrize(
    ("shape", "unit", "expected"),
    [
        ((21, 13_780, 289_380), (21, 1024, 1024), (21, 1024, 1024)),
        ((21, 13_780, 289_380), (21, 128, 128), (21, 1024, 1024)),
        ((21, 13_780, 289_380), (21, 256, 1024), (21, 1024, 1024)),
        ((65, 9000, 9000), (4, 512, 512), (68, 1024, 1024)),
        ((65, 9000, 9000), (1, 4096, 4096), (16, 4096, 4096)),
        ((21, 9000, 9000), (21, 100, 100), (21, 1000, 1000)),
        ((21, 500, 700), (21, 1024, 1024), (21, 500, 700)),
    ],
)
def test_a_block_is_whole_units_of_about_1024_px(
    shape: tuple[int, ...], unit: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    block = block_shape(shape, unit, 1)
    assert block == tuple(min(a, b) for a, b in zip(expected, shape, strict=True))


def test_a_folder_of_layers_is_read_where_it_is_sliced(tmp_path: Path) -> None:
    data = pixels()
    with open_volume(write_layers(tmp_path / "seg", data, first=7)) as volume:
        assert volume["layer"].values.tolist() == [7, 8, 9]
        assert volume.attrs["segment"] == "seg"
        assert {"url", "size"} <= set(structured(volume.attrs["fingerprint"])["7"])
        crop = volume.sel(layer=[8]).isel(y=slice(10, 290, 3), x=slice(100, 330))
        np.testing.assert_array_equal(crop.values, data[1:2, 10:290:3, 100:330])


def test_layers_are_cut_into_bounded_bands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s5engine.store.files.BAND_BYTES", 3 * 400 * 70)
    with open_volume(write_layers(tmp_path / "seg", pixels())) as volume:
        assert volume.chunks == ((3,), (70, 70, 70, 70, 20), (400,))
        np.testing.assert_array_equal(volume.values, pixels())


def test_a_volume_of_layers_travels_to_another_process(tmp_path: Path) -> None:
    with open_volume(write_layers(tmp_path / "seg", pixels())) as volume:
        graph = pickle.loads(pickle.dumps(volume.data))
        with dask.config.set(scheduler="synchronous"):
            np.testing.assert_array_equal(graph.compute(), pixels())
    del graph
    gc.collect()  # its own files are closed with it


def test_layers_over_http(tmp_path: Path) -> None:
    data = pixels()
    folder = write_layers(tmp_path / "seg", data)
    files = {f"seg/layers/{path.name}": path for path in (folder / "layers").iterdir()}
    with LayerServer(files) as server, open_volume(server.url("seg/layers/")) as volume:
        np.testing.assert_array_equal(volume.isel(y=slice(5, 9)).values, data[:, 5:9])


def served(folder: Path) -> dict[str, Path]:
    root = folder.parent
    return {str(p.relative_to(root)): p for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_store_over_http(tmp_path: Path, zarr_format: int) -> None:
    data = pixels()
    source = write_layers(tmp_path / "seg", data)
    store = tmp_path / "a.zarr"
    ingest(source, store, zarr_format=zarr_format, progress=False)  # type: ignore[arg-type]
    with LayerServer(served(store)) as server:
        volume = open_volume(server.url("a.zarr"))
        opened = len(server.requests)
        assert not any("/c/" in request.path for request in server.requests)
        np.testing.assert_array_equal(volume.values, data)
        assert len(server.requests) > opened


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((30, 40), "uint8", "three axes"),
        ((3, 30, 40, 2), "uint8", "three axes"),
        ((3, 30, 40), "float32", "float32"),
        ((3, 30, 40), "complex64", "complex64"),
        ((3, 30, 40), "int16", "int16"),
        ((3, 30, 40), "uint32", "uint32"),
        ((3, 30, 40), "bool", "bool"),
    ],
)
def test_what_is_no_volume_is_one_clear_error(
    tmp_path: Path, shape: tuple[int, ...], dtype: str, message: str
) -> None:
    path = bare(tmp_path / "a", np.ones(shape, dtype))
    with pytest.raises(StoreError, match=message):
        open_volume(path)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="There is no volume at"):
        open_volume(tmp_path / "none.zarr")


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(S5Error):
        open_volume(tmp_path)


def test_nothing_there_on_a_server() -> None:
    with LayerServer({"x/y": b""}) as server, pytest.raises(S5Error, match="404"):
        open_volume(server.url("none.zarr"))


@pytest.mark.parametrize("arrays", [(), ("a", "b")])
def test_a_group_without_a_volume_names_what_it_has(tmp_path: Path, arrays: tuple[str]) -> None:
    group = zarr.create_group(tmp_path / "a")
    for name in arrays:
        group.create_array(name, data=pixels())
    with pytest.raises(StoreError, match="holds no volume") as error:
        open_volume(tmp_path / "a")
    assert all(repr(name) in str(error.value) for name in arrays)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"zarr_format": 9}'])
def test_damaged_metadata(tmp_path: Path, text: str) -> None:
    (tmp_path / "zarr.json").write_text(text)
    with pytest.raises(StoreError, match="cannot be read"):
        open_volume(tmp_path)


def test_an_unfinished_store_says_so_unless_partial(tmp_path: Path) -> None:
    from s5engine.store.create import create_store

    box = (5, 305, 7, 407)
    create_store(tmp_path / "a", VolumeRecord("s", "http://h/s", {}, (3, 4), box, "uint8", 3, 128))
    with pytest.raises(StoreError, match=r"unfinished.*Ingest http://h/s into it again"):
        open_volume(tmp_path / "a")
    volume = open_volume(tmp_path / "a", partial=True)
    assert volume["y"].values[[0, -1]].tolist() == [5, 304]
    assert not volume.values.any()
