"""A PNG written in bands of rows reads back as the picture."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from s5engine.store.png import write_gray_png


@pytest.mark.parametrize("rows", [1, 7, 100])
def test_it_reads_back(tmp_path: Path, rows: int) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (100, 61)).astype(np.uint8)
    bands = (picture[y : y + rows] for y in range(0, 100, rows))
    write_gray_png(tmp_path / "a.png", (100, 61), bands)
    read = cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(read, picture)
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "L"
        image.verify()
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
