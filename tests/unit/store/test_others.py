"""Others open our stores: the OME-Zarr reader finds the pixels and where they lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader

from s5engine.store.ingest import ingest
from unit.store.segments import pixels, write_layers


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_the_ome_zarr_reader_opens_it(tmp_path: Path, zarr_format: int) -> None:
    source = write_layers(tmp_path / "seg", pixels())
    ingest(
        source,
        tmp_path / "a.zarr",
        box=(3, 200, 5, 300),
        zarr_format=zarr_format,  # type: ignore[arg-type]
        progress=False,
    )
    location = parse_url(tmp_path / "a.zarr")
    assert location is not None
    (node,) = Reader(location)()
    np.testing.assert_array_equal(node.data[0].compute(), pixels()[:, 3:200, 5:300])
    assert [axis["name"] for axis in node.metadata["axes"]] == ["z", "y", "x"]
    ((scale, translation),) = node.metadata["coordinateTransformations"]
    assert scale["scale"] == [1.0, 1.0, 1.0]
    assert translation["translation"] == [0.0, 3.0, 5.0]
