"""What takes long to read is shown at a coarser level first; what is at hand stays sharp."""

from __future__ import annotations

import threading

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from s5engine.view import rough
from s5engine.view.cache import TileCache
from s5engine.view.painter import Painter
from s5engine.view.pictures import SurfacePicture
from s5engine.view.pixels import Wanted, assemble, read_tiles, read_whole
from s5engine.view.region import Span, tiles_of
from s5engine.view.rough import COARSEST, LIGHT, WORTH_WAITING, decoded, rough_step

LAYERS = 21


def level(values, reduction: int, layers: int) -> xr.DataArray:
    lazy = da.asarray(values).rechunk((layers, 256, 256))
    names = ("layer", "y", "x")
    coords = {name: np.arange(length) for name, length in zip(names, lazy.shape, strict=True)}
    attrs = {"segment": "s", "reduction": reduction, "contrast": [[0, 0]]}
    return xr.DataArray(lazy, dims=("layer", "y", "x"), coords=coords, attrs=attrs)


def empty(reductions: list[int], layers: int = LAYERS) -> SurfacePicture:
    """A picture of which nothing is read."""
    pyramid = [
        level(da.zeros((layers, 4000 // r, 5000 // r), np.uint8), r, layers) for r in reductions
    ]
    return SurfacePicture("s", pyramid)


@given(
    y=st.integers(0, 3000),
    x=st.integers(0, 3500),
    height=st.integers(1, 1000),
    width=st.integers(1, 1500),
    kept=st.sets(st.integers(0, 40)),
    data=st.data(),
)
def test_the_rough_step_holds_all_that_was_never_read(y, x, height, width, kept, data) -> None:
    picture = PICTURES[data.draw(st.sampled_from(sorted(PICTURES)))]
    wanted = Wanted(picture, Span(0, y, y + height, x, x + width), "0")
    tiles = list(tiles_of(picture.levels[0], wanted.span))
    cache = TileCache()
    for number in kept & set(range(len(tiles))):
        cache.put(wanted.tile_key(tiles[number]), np.zeros((1, 1, 1), np.uint8), 0)
    unseen = [tile for tile in tiles if cache.get(wanted.tile_key(tile)) is None]
    step = rough_step(wanted, cache)
    if decoded(wanted, len(unseen)) <= WORTH_WAITING or picture.levels[1].further > 1:
        assert step is None
        return
    if step is None:
        # So few tiles that the coarser level's are hardly fewer.
        assert len(unseen) < 13
        return
    assert step.read == step.under
    assert step.show == (wanted if len(unseen) < len(tiles) else step.read)
    coarse = picture.levels[step.read.span.level]
    assert 1 < coarse.reduction <= COARSEST
    y0, y1, x0, x1 = step.read.extent
    for row, column in unseen:
        assert y0 <= max(y, row * 256) - 0.5
        assert y1 >= min(y + height, row * 256 + 256) - 0.5
        assert x0 <= max(x, column * 256) - 0.5
        assert x1 >= min(x + width, column * 256 + 256) - 0.5


PICTURES = {
    "all levels": empty([1, 2, 4, 8]),
    "a level is missing": empty([1, 4]),
    "averaged as it is read": empty([1]),
}


@pytest.mark.parametrize(
    ("reductions", "layers", "reduction"),
    [
        ([1, 2, 4], 21, 4),
        ([1, 2, 4], 9, 4),
        ([1, 2, 4, 8], 21, 4),
        ([1, 2], 21, 2),
        ([1, 8], 21, 0),
        ([1], 21, 0),
        ([1, 2], 2, 0),
    ],
)
def test_the_level_is_light_or_the_coarsest_allowed(reductions, layers, reduction) -> None:
    picture = empty(reductions, layers)
    step = rough_step(Wanted(picture, Span(0, 512, 1536, 512, 2048), "0"), TileCache())
    found = 0 if step is None else picture.levels[step.read.span.level].reduction
    assert found == reduction


def test_a_coarser_level_at_hand_is_taken_although_it_is_not_light() -> None:
    picture, cache = empty([1, 2, 4]), TileCache()
    whole = Wanted(picture, Span(1, 0, 2000, 0, 2500), "0")
    assert decoded(whole, 24) > LIGHT
    for tile in tiles_of(picture.levels[1], whole.span):
        cache.put(whole.tile_key(tile), np.zeros((1, 1, 1), np.uint8), 0)
    step = rough_step(Wanted(picture, Span(0, 512, 1536, 512, 2048), "0"), cache)
    assert step is not None
    assert step.read.span == Span(1, 256, 768, 256, 1024)


def noise(name: str = "n") -> SurfacePicture:
    values = np.random.default_rng(1).integers(1, 255, (2, 700, 900), np.uint8)
    half = np.random.default_rng(2).integers(1, 255, (2, 350, 450), np.uint8)
    return SurfacePicture(name, [level(values, 1, 2), level(half, 2, 2)])


@given(
    y=st.integers(0, 500),
    x=st.integers(0, 700),
    height=st.integers(1, 200),
    width=st.integers(1, 200),
    part=st.booleans(),
)
def test_coarse_pixels_lie_where_their_place_is(y, x, height, width, part) -> None:
    wanted = Wanted(NOISE, Span(0, y, y + height, x, x + width), "1")
    cache = TileCache()
    first = next(iter(tiles_of(NOISE.levels[0], wanted.span)))
    if part:
        read_tiles(wanted, first, 1, cache)
    under = Wanted(NOISE, rough.coarser(NOISE, wanted.span, 1), "1")
    read_whole(under, cache)
    fine, coarse = (v.data[1].compute() for v in (NOISE.levels[0], NOISE.levels[1]))
    plain = coarse.repeat(2, 0).repeat(2, 1)
    if part:
        sides = NOISE.levels[0].side
        spans = tuple(slice(i * s, (i + 1) * s) for i, s in zip(first, sides, strict=True))
        plain[spans] = fine[spans]
    expected = plain[y : y + height, x : x + width]
    np.testing.assert_array_equal(assemble(wanted, cache, under), expected)


NOISE = noise()


class Held(SurfacePicture):
    """Its finest level is not read before it may be."""

    def __init__(self) -> None:
        super().__init__("held", [level.copy() for level in PYRAMID])
        self.may = threading.Event()

    def read(self, level, tile, choice, count=1):
        if level == 0:
            assert self.may.wait(120)
        return super().read(level, tile, choice, count)


PYRAMID = [level(np.full((9, 1536 // r, 1536 // r), 10 * r, np.uint8), r, 9) for r in (1, 2)]


@pytest.fixture
def told(monkeypatch):
    """A painter that finds nothing worth waiting for, and what it has told, in order."""
    monkeypatch.setattr(rough, "WORTH_WAITING", 0)
    heard: list[tuple[object, ...]] = []
    changed = threading.Condition()

    def note(*words: object) -> None:
        with changed:
            heard.append(words)
            changed.notify_all()

    def wait_for(*words: object) -> list[tuple[object, ...]]:
        """Return what was told, but for pixels shown again while others are waited for."""
        with changed:
            assert changed.wait_for(lambda: words in heard, 120), heard
            return list(dict.fromkeys(heard))

    painter = Painter(
        TileCache(),
        lambda place, wanted, pixels: note(place, wanted.span.level, int(pixels.min())),
        finished=note,
        readers=32,  # tiles that are held back leave some free
    )
    yield painter, wait_for
    painter.stop()


def test_the_screen_is_rough_then_sharp(told) -> None:
    painter, wait_for = told
    picture = Held()
    screen, wide = (Wanted(picture, Span(0, 0, side, 0, side), "0") for side in (1024, 1200))
    painter.ask({"a": [screen, wide]}, 7)
    assert wait_for(7, False) == [("a", 1, 20), (7, False)]
    picture.may.set()
    heard = wait_for(7, True)
    # Where that takes long, what there is so far is shown, filled with the coarser level.
    assert [w for w in heard if w != ("a", 0, 20)] == [
        ("a", 1, 20),
        (7, False),
        ("a", 0, 10),
        (7, True),
    ]
    # Now that it is there, it is not shown roughly again.
    painter.ask({"a": [screen]}, 8)
    assert wait_for(8, True)[-1] == (8, True)
    assert (8, False) not in wait_for(8, True)


def test_a_newer_wish_overtakes_between_rough_and_sharp(told) -> None:
    painter, wait_for = told
    picture = Held()
    painter.ask({"a": [Wanted(picture, Span(0, 0, 768, 0, 768), "0")]}, 1)
    wait_for(1, False)
    painter.ask({"b": [Wanted(picture, Span(0, 768, 1536, 768, 1536), "0")]}, 2)
    wait_for(2, False)
    picture.may.set()
    heard = wait_for(2, True)
    assert (1, True) not in heard
    assert ("a", 0, 10) not in heard
    shown = [words for words in heard if words[0] == "b" and words != ("b", 0, 20)]
    assert shown == [("b", 1, 20), ("b", 0, 10)]
