"""Others read our pyramids: the OME-Zarr models, ome-zarr-py, napari's reader, tensorstore."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import ome_zarr_models
import pytest
import tensorstore
import zarr
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader

from s5engine.store.pyramid import open_pyramid, write_pyramid
from unit.store.test_pyramid import ink_store, volume_store

#: A volume as OME-Zarr 0.4 and 0.5, and a run's ink.
KINDS = ["0.4", "0.5", "ink"]


@pytest.fixture(params=KINDS)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    kind = request.param
    store = ink_store(tmp_path) if kind == "ink" else None
    store = store or volume_store(tmp_path, zarr_format=2 if kind == "0.4" else 3)
    write_pyramid(store, progress=False)
    return kind, store


def expected(store: Path) -> list[np.ndarray]:
    return [level.values for level in open_pyramid(store)]


def equal(found: list[Any], store: Path) -> None:
    for one, other in zip(found, expected(store), strict=True):
        np.testing.assert_array_equal(np.asarray(one), other)


def test_it_is_valid_against_the_model_of_the_specification(made: tuple[str, Path]) -> None:
    kind, store = made
    image: Any = ome_zarr_models.open_ome_zarr(zarr.open_group(store, mode="r"))
    assert type(image).__module__ == f"ome_zarr_models.v0{4 if kind == '0.4' else 5}.image"
    (scales,) = image.ome_attributes.multiscales
    for number, told in enumerate(scales.datasets):
        scale, translation = told.coordinateTransformations
        level = open_pyramid(store)[number]
        assert scale.scale == [1, 2**number, 2**number]
        assert translation.translation[1:] == [float(level.y[0]), float(level.x[0])]


def test_ome_zarr_py_reads_it(made: tuple[str, Path]) -> None:
    _, store = made
    (node,) = Reader(parse_url(store))()
    equal([level.compute() for level in node.data], store)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # napari's own
def test_naparis_reader_reads_it(made: tuple[str, Path]) -> None:
    from napari_ome_zarr import napari_get_reader

    kind, store = made
    ((levels, told, layer),) = napari_get_reader(str(store))(str(store))
    assert layer == "image"
    equal([level.compute() for level in levels], store)
    if kind == "ink":
        assert told["channel_axis"] == 0
        assert told["name"] == ["ink of seg: window 3", "ink of seg: window 9"]
        assert told["contrast_limits"] == [[0, 1], [0, 1]]


def test_tensorstore_reads_it(made: tuple[str, Path]) -> None:
    """Neuroglancer's own Python package and other C++ readers use the same rules."""
    kind, store = made
    group = zarr.open_group(store, mode="r")
    found = []
    attributes: Any = group.attrs.asdict()
    image = (attributes if kind == "0.4" else attributes["ome"])["multiscales"][0]
    for told in image["datasets"]:
        spec = {
            "driver": "zarr" if kind == "0.4" else "zarr3",
            "kvstore": {"driver": "file", "path": f"{store / told['path']}/"},
        }
        array = tensorstore.open(spec, read=True).result()
        if kind != "0.4":
            assert list(array.domain.labels) == [axis["name"] for axis in image["axes"]]
        found.append(array.read().result())
    equal(found, store)
