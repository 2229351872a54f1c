"""What is on the screen: levels, tiles and spans, without a browser."""

from __future__ import annotations

import threading
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from s5engine.errors import InvalidArgumentError, SourceNotFoundError, StoreError
from s5engine.geometry import Box
from s5engine.ops.contrast import lookup_table
from s5engine.store.png import write_gray_png
from s5engine.view.cache import TileCache
from s5engine.view.labels import inside, open_labels, part_boxes
from s5engine.view.masks import MaskPicture
from s5engine.view.painter import Painter
from s5engine.view.picture_levels import levels_of
from s5engine.view.pictures import InkPicture, SurfacePicture
from s5engine.view.pixels import Wanted, missing, read_whole
from s5engine.view.region import LARGEST, MOST_PIXELS, Seen, Span, span_of
from s5engine.view.scene import open_scene
from s5engine.view.url import ViewSettings, from_query, to_query


def ink(height: int = 700, width: int = 1300, y0: int = 0, x0: int = 0) -> xr.DataArray:
    values = np.random.default_rng(3).random((2, height, width), dtype=np.float32)
    return xr.DataArray(
        da.from_array(values, chunks=(1, 300, 400)),
        dims=("window", "y", "x"),
        coords={"window": [3, 5], "y": y0 + np.arange(height), "x": x0 + np.arange(width)},
        attrs={"segment": "s"},
    )


@given(
    y=st.integers(0, 690),
    x=st.integers(0, 1290),
    h=st.integers(1, 400),
    w=st.integers(1, 500),
    choice=st.sampled_from(["mean", "max", "5"]),
)
def test_any_span_equals_the_plain_slice(y, x, h, w, choice) -> None:
    picture = InkPicture("ink", lambda: [ARRAY])
    span = Span(0, y, min(y + h, 700), x, min(x + w, 1300))
    values = ARRAY.values
    plane = {"mean": values.mean(0), "max": values.max(0), "5": values[1]}[choice]
    expected = (plane[span.y0 : span.y1, span.x0 : span.x1] * np.float32(255)).astype(np.uint8)
    np.testing.assert_array_equal(read_whole(Wanted(picture, span, choice)), expected)


ARRAY = ink()


def test_missing_levels_are_averages() -> None:
    levels = levels_of([ARRAY])
    assert [level.reduction for level in levels] == [1, 2, 4]
    picture = InkPicture("ink", lambda: [ARRAY])
    height, width = levels[2].shape
    seen = read_whole(Wanted(picture, Span(2, 0, height, 0, width), "3"))
    plain = ARRAY.values[0, :700, :1300].reshape(175, 4, 325, 4).mean((1, 3))
    assert np.abs(seen - plain * 255).max() <= 1.01


@given(
    zoom=st.floats(0.003, 20),
    y=st.floats(-500, 14_000),
    x=st.floats(-500, 290_000),
    width=st.integers(200, 2500),
    height=st.integers(200, 1400),
)
def test_a_span_holds_what_is_seen_and_is_never_too_much(zoom, y, x, width, height) -> None:
    whole = xr.DataArray(
        da.zeros((1, 13_780, 289_380), chunks=(1, 1024, 1024)), dims=("layer", "y", "x")
    )
    levels = levels_of([whole])
    seen = Seen(
        y - height / zoom / 2, y + height / zoom / 2, x - width / zoom / 2, x + width / zoom / 2
    )
    span = span_of(levels, (0, 0), seen, zoom, margin=True)
    needed = span_of(levels, (0, 0), seen, zoom, margin=False)
    meets = seen.y1 > 0 and seen.x1 > 0 and seen.y0 < 13_779 and seen.x0 < 289_379
    assert needed is not None or not meets
    if span is None or needed is None:
        return
    assert span.holds(needed)
    assert span.shape[0] * span.shape[1] <= MOST_PIXELS * 1.1 + 2 * sum(span.shape) + 4
    pixel = levels[span.level].reduction * zoom
    assert span.level == 0 or pixel <= LARGEST or seen.area > MOST_PIXELS


def test_a_surface_is_contrasted_unless_it_was() -> None:
    values = np.random.default_rng(0).integers(0, 256, (4, 60, 70), np.uint8)
    volume = xr.DataArray(
        da.from_array(values, chunks=(4, 60, 70)),
        dims=("layer", "y", "x"),
        coords={"layer": [5, 6, 7, 8], "y": np.arange(60), "x": np.arange(70)},
        attrs={"segment": "s", "contrast": None},
    )
    whole = Span(0, 0, 60, 0, 70)
    plain = read_whole(Wanted(SurfacePicture("a", [volume]), whole, "7"))
    np.testing.assert_array_equal(plain, lookup_table()[values[2]])
    before = SurfacePicture("b", [volume.assign_attrs(contrast=[[0, 0]])])
    np.testing.assert_array_equal(read_whole(Wanted(before, whole, "5")), values[0])
    with pytest.raises(InvalidArgumentError, match=r"5…8"):
        read_whole(Wanted(before, whole, "9"))


def test_layers_of_one_chunk_are_read_once() -> None:
    volume = xr.DataArray(
        da.zeros((4, 60, 70), chunks=(4, 60, 70), dtype=np.uint8),
        dims=("layer", "y", "x"),
        coords={"layer": range(4), "y": range(60), "x": range(70)},
        attrs={"segment": "s"},
    )
    picture, cache = SurfacePicture("a", [volume]), TileCache()
    read_whole(Wanted(picture, Span(0, 0, 60, 0, 70), "0"), cache)
    assert missing(Wanted(picture, Span(0, 0, 60, 0, 70), "3"), cache) == []


def test_the_cache_keeps_within_its_bytes() -> None:
    cache = TileCache(1000)
    for number in range(20):
        cache.put((number,), np.zeros(100, np.uint8), 0)
    assert cache.nbytes == 1000
    assert cache.get((5,)) is None
    assert cache.get((19,)) is not None


def test_a_newer_wish_overtakes_an_older_one_and_what_is_out_of_date_is_read_again() -> None:
    picture, cache = InkPicture("ink", lambda: [ARRAY]), TileCache()
    got: list[tuple[str, str, bool]] = []
    whole = threading.Event()

    def deliver(place, wanted, pixels) -> None:
        got.append((place, wanted.choice, pixels.min() > 0))

    painter = Painter(cache, deliver, finished=lambda number, sharp: whole.set())
    wanted = Wanted(picture, Span(0, 0, 100, 0, 100), "mean")
    painter.ask({"a": [wanted]})
    assert whole.wait(120)
    assert got == [("a", "mean", True)]
    picture.reopen()
    assert missing(wanted, cache)
    painter.stop()


def test_masks_are_seen_as_training_reads_them(tmp_path: Path) -> None:
    drawn = np.zeros((90, 130), np.uint8)
    drawn[20:50, 33:77] = 255
    drawn[60, 5] = 254  # only 255 counts
    write_gray_png(tmp_path / "label.png", drawn.shape, [drawn])
    box = Box(100, 190, 40, 170)
    picture = MaskPicture("label", Box(90, 200, 30, 180), {tmp_path / "label.png": box})
    seen = read_whole(Wanted(picture, Span(0, 0, 110, 0, 150), ""))
    expected = np.zeros((110, 150), np.uint8)
    expected[10:100, 10:140] = np.where(drawn == 255, 255, 0)
    np.testing.assert_array_equal(seen, expected)


def test_parts_are_numbered_in_the_segment() -> None:
    assert part_boxes(Box(0, 10, 12_000, 25_000)) == {
        2: Box(0, 10, 12_000, 20_000),
        3: Box(0, 10, 20_000, 25_000),
    }


@pytest.mark.parametrize("name", ["../x_01", "a/b_01", "/etc_01", ".."])
def test_a_segments_name_leads_nowhere_else(tmp_path: Path, name) -> None:
    with pytest.raises(InvalidArgumentError, match="inside"):
        inside(tmp_path, name)


def test_a_link_out_of_the_labels_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "labels" / "s_01").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InvalidArgumentError, match="Links"):
        open_labels(tmp_path / "labels", "s", Box(0, 10, 0, 10))


@given(
    st.builds(
        ViewSettings,
        show=st.sampled_from(["mean", "max", "4"]),
        flip=st.booleans(),
        boost=st.integers(10, 100).map(lambda v: v / 10),
        layer=st.integers(0, 60) | st.none(),
        opacity=st.integers(0, 100).map(lambda v: v / 100),
        label=st.booleans(),
        x=st.integers(0, 400_000).map(float) | st.none(),
    )
)
def test_an_address_gives_the_settings_back(settings) -> None:
    from urllib.parse import parse_qs

    assert from_query(parse_qs(to_query(settings))) == settings


@pytest.mark.parametrize(
    "query",
    [
        {"boost": ["x"]},
        {"flip": [b"maybe"]},
        {"opacity": ["2"]},
        {"zoom": ["nan"]},
        {"colour": ["<b>"]},
    ],
)
def test_an_address_with_nonsense_is_refused(query) -> None:
    with pytest.raises(InvalidArgumentError):
        from_query(query)


def test_wrong_places_are_refused_before_anything_is_served(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="nothing at"):
        open_scene([tmp_path / "none"])
    with pytest.raises(StoreError, match="neither a run nor"):
        open_scene([tmp_path])
    with pytest.raises(InvalidArgumentError, match="--labels"):
        open_scene([tmp_path], proposal=tmp_path)
    with pytest.raises(InvalidArgumentError, match="0 places"):
        open_scene([])
    with pytest.raises(SourceNotFoundError, match="labels"):
        open_labels(tmp_path / "none", "s", Box(0, 10, 0, 10))
