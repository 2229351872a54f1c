"""The phantom is the same whatever the box, looks like papyrus, and holds the ink it says."""

from __future__ import annotations

import pickle
import tracemalloc
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates

from s5engine.errors import InvalidArgumentError, SourceNotFoundError
from s5engine.geometry import Box
from s5engine.phantom import Phantom
from s5engine.phantom.noise import hills, lattice, wrapped
from s5engine.phantom.textures import crackle, fibres, grain

SEGMENT = (13_780, 289_380)


@st.composite
def boxes(draw, height, width):
    h, w = draw(st.integers(1, height)), draw(st.integers(1, width))
    y, x = draw(st.integers(0, height - h)), draw(st.integers(0, width - w))
    return Box(y, y + h, x, x + w)


# --- the same pixel has the same value -------------------------------------------------------


@cache
def whole(size, seed):
    """A small phantom, and all of it."""
    phantom = Phantom(*size, layers=7, dtype="uint16", seed=seed, text="ΑΒ")
    everything = (phantom.read(), phantom.ink(), phantom.papyrus(), phantom.surface())
    return phantom, *everything


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from([(400, 700), (130, 160)]), st.integers(0, 2))
def test_any_box_is_cut_from_the_same_whole(data, size, seed):
    phantom, volume, ink, papyrus, surface = whole(size, seed)
    box = data.draw(boxes(*size))
    cut = np.s_[box.y0 : box.y1, box.x0 : box.x1]
    np.testing.assert_array_equal(phantom.read(box, [2, 6]), volume[[2, 6]][:, *cut])
    np.testing.assert_array_equal(phantom.ink(box), ink[cut])
    np.testing.assert_array_equal(phantom.papyrus(box), papyrus[cut])
    np.testing.assert_array_equal(phantom.surface(box), surface[cut])


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_overlapping_boxes_of_a_true_size_segment_agree(data):
    phantom = Phantom(*SEGMENT, text_box=(4630, 7730, 13_200, 19_300))
    y, x = data.draw(st.integers(4000, 8000)), data.draw(st.integers(12_000, 20_000))
    a = phantom.read((y, y + 300, x, x + 40), [9])
    dy, dx = data.draw(st.integers(0, 290)), data.draw(st.integers(0, 39))
    b = phantom.read((y + dy, y + 300, x + dx, x + 2500), [9])
    np.testing.assert_array_equal(a[:, dy:, dx:], b[:, :, : 40 - dx])


@settings(max_examples=40, deadline=None)
@given(
    y=st.integers(0, 5000),
    x=st.integers(0, 400_000),
    h=st.integers(1, 40),
    w=st.integers(1, 300),
    spacing=st.integers(60, 2000),
)
def test_joined_hills_are_the_lattice_field_within_the_stated_bound(y, x, h, w, spacing):
    joined = hills((y, y + h, x, x + w), [(spacing, 1.0, 9)])
    plain = lattice(np.arange(y, y + h), np.arange(x, x + w), spacing, 9)
    assert np.abs(joined - plain).max() < 202 / spacing**2 + 1e-5
    fine = hills((y, y + h, x, x + w), [(20, 1.0, 9)])
    twin = lattice(np.arange(y, y + h), np.arange(x, x + w), 20, 9)
    np.testing.assert_array_equal(fine, twin)


def test_lattice_fields_have_mean_0_and_spread_1():
    field = lattice(np.arange(0, 60_000, 13), np.arange(0, 60_000, 13), 50, 4)
    assert abs(field.mean()) < 0.02
    assert field.std() == pytest.approx(1, abs=0.02)


@settings(max_examples=40, deadline=None)
@given(
    y=st.integers(0, 9000),
    x=st.integers(0, 400_000),
    h=st.integers(1, 60),
    w=st.integers(1, 60),
    offset=st.integers(0, 2**63),
)
def test_a_texture_repeats_without_a_seam(y, x, h, w, offset):
    texture = np.arange(35, dtype=np.float32).reshape(5, 7)
    found = wrapped(texture, y, y + h, x, x + w, offset)
    top = (y + offset % 1_000_003) % 5
    left = (x + offset // 1_000_003 % 1_000_033) % 7
    rows, columns = (top + np.arange(h)) % 5, (left + np.arange(w)) % 7
    np.testing.assert_array_equal(found, texture[np.ix_(rows, columns)])


def test_seam_of_the_textures_is_no_rougher_than_the_rest():
    for texture in (fibres(0), fibres(1), grain(), crackle()):
        for axis in (0, 1):
            steps = np.abs(np.diff(texture, axis=axis, append=texture.take([0], axis)))
            rough = steps.mean(axis=1 - axis)
            assert rough[-1] < 1.25 * np.percentile(rough[:-1], 99)


# --- geometry ----------------------------------------------------------------------------------


def test_the_largest_segment_is_read_without_being_held():
    phantom = Phantom(13_780, 429_360)
    assert phantom.shape == (21, 13_780, 429_360)
    phantom.read((0, 2, 0, 2))  # the textures, once
    tracemalloc.start()
    corner = phantom.read((13_770, 13_780, 429_300, 429_360))
    middle = phantom.read((6800, 6864, 214_000, 214_256), layers=slice(8, 12))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert not corner.any()
    assert middle.shape == (4, 64, 256)
    assert middle.any()
    assert peak < 20e6


def test_about_70_percent_of_a_large_segment_is_papyrus_and_its_rim_is_empty():
    phantom = Phantom(*SEGMENT)
    tiles = [
        phantom.papyrus((y, y + 48, x, x + 48)).mean()
        for y in range(0, 13_700, 850)
        for x in range(0, 289_300, 9001)
    ]
    assert 0.63 < np.mean(tiles) < 0.78
    assert not phantom.papyrus((0, 2, 0, 20_000)).any()
    assert not phantom.papyrus((2000, 9000, 0, 2)).any()


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_outside_is_zero_in_all_layers_and_papyrus_nowhere(dtype):
    phantom = Phantom(500, 900, dtype=dtype, seed=1)
    volume, papyrus = phantom.read(), phantom.papyrus()
    assert volume.dtype == dtype
    assert 0.3 < papyrus.mean() < 0.97
    for layer in volume:
        np.testing.assert_array_equal(layer > 0, papyrus)


def test_8_bit_values_are_the_upper_bytes_of_16_bit_ones():
    small = Phantom(200, 300).read(layers=[3, 9])
    large = Phantom(200, 300, dtype="uint16").read(layers=[3, 9])
    np.testing.assert_array_equal(large >> 8, small)
    assert len(np.unique(large)) > 1000


def test_layers_and_seeds_differ():
    a, b = Phantom(200, 300), Phantom(200, 300, seed=1)
    volume = a.read()
    for k in range(20):
        assert (volume[k] != volume[k + 1]).mean() > 0.3
    assert (volume[9] != b.read(layers=[9])[0]).mean() > 0.3


# --- papyrus ----------------------------------------------------------------------------------


def test_the_sheet_is_bright_and_wanders_within_the_layers():
    phantom = Phantom(1500, 1500, text=None)
    volume, surface, papyrus = phantom.read(), phantom.surface(), phantom.papyrus()
    profile = volume[:, papyrus].mean(axis=1)
    assert 8 <= profile.argmax() <= 13
    assert profile.max() > 1.5 * profile[3]
    assert surface.max() - surface.min() > 3
    assert surface.min() > 4
    assert surface.max() < 17
    # Followed along its surface the sheet is brighter than in any layer.
    followed = map_coordinates(
        volume.astype(np.float32), [surface, *np.indices(surface.shape)], order=1
    )
    assert followed[papyrus].mean() > profile.max()


def test_fibres_run_along_the_rows_in_front_and_down_the_columns_behind():
    phantom = Phantom(1200, 1200, text=None, seed=2)
    volume = phantom.read().astype(np.float32)
    surface, inside = phantom.surface(), np.s_[300:900, 300:900]
    grid = np.indices(surface.shape)

    def anisotropy(offset):
        sheet = gaussian_filter(map_coordinates(volume, [surface + offset, *grid], order=1), 1.5)
        dy, dx = np.gradient(sheet[inside])
        return np.abs(dy).mean() / np.abs(dx).mean()

    assert anisotropy(-2.5) > 1.6
    assert anisotropy(+2.5) < 1 / 1.6


# --- ink --------------------------------------------------------------------------------------


def roughness(picture):
    """Local energy of what is finer than a fibre's length."""
    fine = picture - gaussian_filter(picture, (1, 8))
    return gaussian_filter(fine * fine, 10)


def separation(feature, ink, papyrus):
    """Probability that an ink pixel has more of the feature than a bare one (0.5: no signal)."""
    rng = np.random.default_rng(0)
    a, b = (rng.choice(feature[m], 2000) for m in (ink, papyrus & ~ink))
    return (a[:, None] > b[None]).mean()


def test_ink_is_hidden_in_one_layer_and_shows_in_the_mean_along_the_surface():
    phantom = Phantom(700, 1800, seed=3)
    ink, surface = phantom.ink(), phantom.surface()
    papyrus = gaussian_filter(phantom.papyrus().astype(np.float32), 12) > 0.999
    volume = phantom.read().astype(np.float32)
    grid = np.indices(surface.shape)
    depths = (-3.8, -3.2, -2.6, -2.0)
    followed = np.mean(
        [map_coordinates(volume, [surface + d, *grid], order=1) for d in depths], axis=0
    )
    aligned = separation(roughness(followed), ink & papyrus, papyrus)
    single = max(separation(roughness(volume[k]), ink & papyrus, papyrus) for k in range(4, 15))
    assert aligned > 0.75
    assert single < aligned - 0.06


def test_only_the_ink_changes_with_its_contrast_and_only_near_the_surface():
    plain = Phantom(400, 900, ink_contrast=0)
    faint, strong = Phantom(400, 900), Phantom(400, 900, ink_contrast=3)
    bare = plain.read().astype(int)
    difference = faint.read().astype(int) - bare
    ink, surface = faint.ink(), faint.surface()
    assert ink.any()
    assert not difference[:, ~ink].any()
    layer = np.arange(21)[:, None, None]
    behind = layer > surface[None] + 1
    assert not difference[behind].any()
    at = np.abs(layer - (surface[None] - 2.6)) < 0.5
    assert difference[at & ink].mean() > 1
    stronger = strong.read().astype(int) - bare
    assert np.abs(stronger).sum() > 2.5 * np.abs(difference).sum()
    np.testing.assert_array_equal(strong.ink(), ink)


def test_without_text_there_is_no_ink():
    assert not Phantom(300, 300, text=None).ink().any()


def test_labels_are_shown_as_ink_pixel_by_pixel_or_scaled(tmp_path):
    drawn = np.zeros((300, 500), bool)
    drawn[100:180, 200:330] = True
    phantom = Phantom(300, 500, text=None, label=drawn)
    np.testing.assert_array_equal(phantom.ink(), drawn & phantom.papyrus())
    half = Phantom(300, 500, text=None, label=drawn[::2, ::2])
    np.testing.assert_array_equal(half.ink(), phantom.ink())
    Image.fromarray((drawn * 200).astype(np.uint8)).save(tmp_path / "label.png")
    read = Phantom(300, 500, text=None, label=tmp_path / "label.png")
    np.testing.assert_array_equal(read.ink(), phantom.ink())
    wide = Phantom(300, 900, text=None, label=drawn)
    np.testing.assert_array_equal(
        wide.ink((0, 300, 200, 700)), wide.papyrus((0, 300, 200, 700)) & drawn
    )
    with pytest.raises(SourceNotFoundError, match="no label"):
        Phantom(300, 500, label=tmp_path / "none.png").ink()
    with pytest.raises(InvalidArgumentError, match="picture"):
        Phantom(300, 500, label=np.zeros(4, bool)).ink()


# --- the object --------------------------------------------------------------------------------


def test_a_phantom_can_be_pickled_and_not_changed():
    phantom = Phantom(100, 200, label=np.ones((100, 200), bool))
    phantom.read((0, 5, 0, 5))
    twin = pickle.loads(pickle.dumps(phantom))
    np.testing.assert_array_equal(twin.read(layers=[9]), phantom.read(layers=[9]))
    with pytest.raises(AttributeError):
        phantom.height = 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layers": 0}, "at least 1"),
        ({"dtype": "float32"}, "uint8"),
        ({"ink_contrast": -1}, "ink_contrast"),
        ({"text": "Ж"}, "no letters"),
        ({"text_box": (0, 10, 0, 5000)}, "not inside"),
    ],
)
def test_mistakes_are_refused_when_the_phantom_is_made(arguments, message):
    with pytest.raises(InvalidArgumentError, match=message):
        Phantom(100, 200, **arguments)


def test_reading_outside_is_refused():
    with pytest.raises(InvalidArgumentError, match="not inside"):
        Phantom(100, 200).read((0, 101, 0, 10))
    with pytest.raises(InvalidArgumentError, match="layers 0 to 20"):
        Phantom(100, 200).read(layers=[21])
