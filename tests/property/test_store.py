"""What holds for every shape: stores and trees give back the pixels; plans keep their promise."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from s5engine.errors import BudgetError
from s5engine.store import band_plan
from s5engine.store.band_plan import BAND_HEIGHTS, choose_bands
from s5engine.store.ingest import ingest
from s5engine.store.ome import ZarrFormat
from s5engine.store.split import split
from s5engine.store.volume import BLOCK_BYTES, block_shape, open_volume
from unit.store.segments import pixels, write_layers

FEW = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def crops(draw: st.DrawFn) -> tuple[int, int, tuple[int, int, int, int]]:
    """Return a height, a width and a box inside."""
    height, width = draw(st.integers(1, 400)), draw(st.integers(1, 1300))
    y0, x0 = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    y1, x1 = draw(st.integers(y0 + 1, height)), draw(st.integers(x0 + 1, width))
    return height, width, (y0, y1, x0, x1)


@FEW
@given(
    crop=crops(),
    dtype=st.sampled_from(["uint8", "uint16"]),
    zarr_format=st.sampled_from([2, 3]),
    band=st.sampled_from([128, 256]),
)
def test_a_store_gives_back_any_crop(
    crop: tuple[int, int, tuple[int, int, int, int]], dtype: str, zarr_format: ZarrFormat, band: int
) -> None:
    height, width, box = crop
    data = pixels(2, height, width, dtype)
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(band_plan, "BAND_HEIGHTS", (band,)),
    ):
        source = write_layers(Path(folder) / "seg", data)
        volume = ingest(
            source,
            Path(folder) / "a.zarr",
            box=box,
            zarr_format=zarr_format,
            progress=False,
        )
        y0, y1, x0, x1 = box
        np.testing.assert_array_equal(volume.values, data[:, y0:y1, x0:x1])
        assert volume["y"].values.tolist() == list(range(y0, y1))
        assert volume["x"].values.tolist() == list(range(x0, x1))


@FEW
@given(crop=crops(), part=st.integers(1, 500), data=st.data())
def test_a_tree_of_any_parts_gives_back_the_volume(
    crop: tuple[int, int, tuple[int, int, int, int]], part: int, data: st.DataObject
) -> None:
    height, width, box = crop
    part = max(part, width // 8 + 1)
    offset = data.draw(st.integers(0, part - 1))
    original = pixels(2, height, width)
    with tempfile.TemporaryDirectory() as folder:
        source = write_layers(Path(folder) / "seg", original)
        with open_volume(source) as volume:
            y0, y1, x0, x1 = box
            cut = volume.isel(y=slice(y0, y1), x=slice(x0, x1))
            split(cut, folder, width=part, first_offset=offset, progress=False)
        with open_volume(Path(folder) / "seg" / "parts") as tree:
            np.testing.assert_array_equal(tree.values, original[:, y0:y1, x0:x1])
            assert tree["x"].values.tolist() == list(range(x0, x1))


@given(
    shape=st.tuples(st.integers(1, 70), st.integers(1, 20_000), st.integers(1, 500_000)),
    itemsize=st.sampled_from([1, 2]),
    budget=st.integers(2**20, 2**36),
    base=st.integers(0, 2**30),
)
def test_a_plan_fits_and_covers_every_row_once(
    shape: tuple[int, int, int], itemsize: int, budget: int, base: int
) -> None:
    try:
        chosen = choose_bands(shape, itemsize, budget=budget, base=base)
    except BudgetError:
        # Then the least of all plans does not fit: two rows, and two of the lowest shards.
        writing = band_plan.WRITERS * (band_plan.ENCODE_COPIES + 1) * 128 * band_plan.SHARD_WIDTH
        assert base + shape[0] * itemsize * (2 * shape[2] + writing) > budget - 1
        return
    assert chosen.projected_peak <= budget
    assert chosen.band_height in BAND_HEIGHTS
    ends = [0, *itertools.chain.from_iterable(chosen.bands), shape[1]]
    assert ends[::2] == ends[1::2]
    assert all(y0 % chosen.band_height == 0 for y0, _ in chosen.bands)


@given(
    shape=st.tuples(st.integers(1, 300), st.integers(1, 20_000), st.integers(1, 20_000)),
    unit=st.tuples(st.integers(1, 70), st.integers(1, 5000), st.integers(1, 5000)),
    itemsize=st.sampled_from([1, 2]),
)
def test_blocks_are_whole_units_and_bounded(
    shape: tuple[int, int, int], unit: tuple[int, int, int], itemsize: int
) -> None:
    block = block_shape(shape, unit, itemsize)
    for length, size, whole in zip(block, unit, shape, strict=True):
        assert length == whole or length % size == 0
    assert all(0 < length <= whole for length, whole in zip(block, shape, strict=True))
    single = all(
        length == min(size, whole)
        for length, size, whole in zip(block[:1], unit[:1], shape[:1], strict=True)
    )
    assert single or np.prod(block, dtype=np.int64) * itemsize <= BLOCK_BYTES
