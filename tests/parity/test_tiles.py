"""Tiles are those that the 2025 code cut from the same label files."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from skimage.transform import resize

import s5engine as s5
import support

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def tileset(tmp_path_factory: pytest.TempPathFactory) -> s5.Tileset:
    folder = tmp_path_factory.mktemp("tiles")
    for name in ("label", "ignore", "mask"):
        shutil.copy(GOLDEN / f"tiles_{name}.png", folder / f"{name}.png")
    layers = support.noise((16, 700, 900))
    part = support.volume_of(layers, (16, 256, 256)).assign_attrs(part=4)
    return s5.build_tileset([part], {4: folder}, folder / "tiles.zarr", progress=False)


def test_index_and_maps_are_those_of_2025(tileset: s5.Tileset) -> None:
    with np.load(GOLDEN / "tiles.npz") as file:
        golden = dict(file)
    # The 2025 tiles are in the order of their file names; ours go row by row.
    order = np.lexsort((golden["x"], golden["y"]))
    golden = {name: values[order] for name, values in golden.items()}
    assert len(tileset) == len(golden["x"]) == 76
    for name in ("x", "y", "ink_percent", "ignore_percent"):
        np.testing.assert_array_equal(getattr(tileset, name), golden[name], err_msg=name)
    for i in range(len(tileset)):
        example = tileset[i]
        np.testing.assert_array_equal(example.label, golden["label"][i])
        np.testing.assert_array_equal(example.keep, golden["keep"][i])


def test_the_reduction_is_that_of_skimage(tileset: s5.Tileset) -> None:
    """The twin of the reduced maps: every tile cut from the whole masks and resized by itself."""
    label, ignore = (s5.read_mask(GOLDEN / f"tiles_{n}.png") for n in ("label", "ignore"))
    label &= ~ignore
    for i in range(len(tileset)):
        y, x = int(tileset.y[i]), int(tileset.x[i])
        for own, whole in zip(tileset.labels(i), (label, ~ignore), strict=True):
            tile = whole[y : y + 128, x : x + 128].astype(np.uint8)
            expected = resize(tile, (32, 32), order=0, preserve_range=True, anti_aliasing=False)
            np.testing.assert_array_equal(own, expected)
