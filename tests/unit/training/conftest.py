"""A small labelled segment whose blocks tell when they are read."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

import dask.array as da
import imagecodecs
import numpy as np
import pytest
import xarray as xr

import s5engine as s5

HEIGHT, WIDTH, PART = 210, 500, 250
TILE, STRIDE = 32, 16
#: Blocks of the volume: (layers, rows, columns), neither on the tiles' grid nor on the parts'.
CHUNKS = (8, 70, 60)


class Layers:
    """An array that notes which of its blocks are read, and can fail."""

    def __init__(self, values: np.ndarray) -> None:
        self.values, self.shape, self.dtype, self.ndim = values, values.shape, values.dtype, 3
        self.read: list[tuple[int, int]] = []
        self.fail_after = 10**9
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[Layers], tuple[np.ndarray]]:
        return Layers, (self.values,)

    def __getitem__(self, place: tuple[slice, ...]) -> np.ndarray:
        with self._lock:
            if len(self.read) >= self.fail_after:
                raise OSError("the connection is lost")
            self.read.append((place[1].start, place[2].start))
        return self.values[place]


@dataclass
class Segment:
    """A volume in two parts, and their labels as arrays and files."""

    source: Layers
    volume: xr.DataArray
    parts: dict[int, xr.DataArray]
    folder: Path
    label: np.ndarray
    ignore: np.ndarray
    papyrus: np.ndarray
    options: dict[str, object] = field(
        default_factory=lambda: {"tile": TILE, "stride": STRIDE, "progress": False}
    )

    def columns(self, part: int) -> slice:
        return slice((part - 1) * PART, part * PART)

    def build(self, name: str = "tiles.zarr", **options: object) -> s5.Tileset:
        return s5.build_tileset(
            options.pop("parts", self.parts),
            options.pop("labels", self.folder),
            self.folder / name,
            **{**self.options, **options},
        )


def write_png(path: Path, mask: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(imagecodecs.png_encode(mask.astype(np.uint8) * 255))


@pytest.fixture
def segment(tmp_path: Path) -> Segment:
    rng = np.random.default_rng(7)
    source = Layers(rng.integers(0, 256, (20, HEIGHT, WIDTH), np.uint8))
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    label = (np.sin(y / 9) * np.cos(x / 13)) > 0.3
    ignore = np.abs(x - 90) < 25
    # Papyrus on the left of part 1 and on the right of part 2: blocks between stay unread.
    papyrus = ((x < 170) | (x > 400)) & (y > 20)
    volume = xr.DataArray(
        da.from_array(
            source,
            chunks=CHUNKS,
            asarray=False,
            name=f"segment-{id(source)}",
            meta=np.empty((0, 0, 0), np.uint8),
        ),
        dims=("layer", "y", "x"),
        coords={"layer": 3 + np.arange(20), "y": np.arange(HEIGHT), "x": np.arange(WIDTH)},
        attrs={"segment": "20260101", "source": "memory", "contrast": None},
    )
    volume = s5.contrast(volume)
    made = Segment(source, volume, s5.parts(volume, PART), tmp_path, label, ignore, papyrus)
    for number in made.parts:
        for name in ("label", "ignore", "papyrus"):
            file = "mask" if name == "papyrus" else name
            write_png(
                tmp_path / f"20260101_{number:02d}" / f"{file}.png",
                getattr(made, name)[:, made.columns(number)],
            )
    return made
