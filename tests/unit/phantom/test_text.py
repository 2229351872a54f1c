"""Letters are distinct, text is centred, mirrored and the same by any region."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s5engine.errors import InvalidArgumentError
from s5engine.geometry import Box
from s5engine.phantom.font import GLYPHS, draw, plain_capitals
from s5engine.phantom.text import set_title

AREA = Box(40, 340, 100, 900)


def title(text, **options):
    return set_title(text, AREA, **{"letter_height": None, "mirrored": False, **options})


def test_all_greek_capitals_latin_capitals_and_digits_can_be_written():
    greek = "ΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩ"
    assert plain_capitals(greek) == greek
    latin = plain_capitals("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789·.-")
    assert set(latin) <= set(GLYPHS)
    assert plain_capitals("perì kakiôn") == "ΡΕRΙ ΚΑΚΙΟΝ"
    assert plain_capitals("περὶ κακιῶν ς") == "ΠΕΡΙ ΚΑΚΙΩΝ Σ"


def test_unknown_characters_are_named():
    with pytest.raises(InvalidArgumentError, match="'Ж' '中'"):
        plain_capitals("Α中Ж")


def test_no_two_letters_look_alike():
    pictures = {letter: draw(letter, 60)[0] for letter in GLYPHS}
    for a, b in itertools.combinations(pictures, 2):
        one, other = pictures[a], pictures[b]
        width = max(one.shape[1], other.shape[1])
        padded = [
            np.pad(p, ((0, 0), ((width - p.shape[1]) // 2, -(-(width - p.shape[1]) // 2))))
            for p in (one, other)
        ]
        union, common = (padded[0] | padded[1]).sum(), (padded[0] & padded[1]).sum()
        assert common / union < 0.97, (a, b)


@pytest.mark.parametrize("letter", list(GLYPHS))
def test_letters_fill_their_box_and_stay_inside_their_margin(letter):
    picture, margin = draw(letter, 80)
    assert picture.any()
    border = np.ones(picture.shape, bool)
    border[1:-1, 1:-1] = False
    assert not (picture & border).any()
    columns = np.flatnonzero(picture.any(axis=0))
    assert columns[0] >= margin - 2
    assert columns[-1] <= picture.shape[1] - margin + 2
    if letter not in "·.-ΦΨΟΩQ":
        rows = np.flatnonzero(picture.any(axis=1))
        assert abs(rows[0] - margin) < 8
        assert abs(rows[-1] - margin - 80) < 8


@settings(max_examples=60, deadline=None)
@given(
    y=st.integers(0, 390),
    x=st.integers(0, 990),
    h=st.integers(1, 200),
    w=st.integers(1, 400),
    mirrored=st.booleans(),
)
def test_any_region_is_cut_from_the_same_text(y, x, h, w, mirrored):
    written = title("ΠΕΡΙ ΚΑΚΙΩΝ", mirrored=mirrored)
    whole = written.draw(Box(0, 400, 0, 1000))
    box = Box(y, min(400, y + h), x, min(1000, x + w))
    np.testing.assert_array_equal(written.draw(box), whole[y : box.y1, x : box.x1])


def test_mirrored_text_reads_after_a_flip():
    whole = AREA
    plain = title("ΠΕΡΙ ΚΑΚΙΩΝ Α").draw(whole)
    mirrored = title("ΠΕΡΙ ΚΑΚΙΩΝ Α", mirrored=True).draw(whole)
    assert (plain != mirrored).any()
    np.testing.assert_array_equal(mirrored[:, ::-1], plain)


@pytest.mark.parametrize("text", ["ΠΕΡΙ ΚΑΚΙΩΝ", "Α", "ΦΙΛΟΔΗΜΟΥ\nΠΕΡΙ\nΚΑΚΙΩΝ", "1 2 3 4 5 6 7 8"])
def test_text_is_centred_within_its_area_and_its_bounds(text):
    written = title(text, mirrored=True)
    ink = written.draw(Box(0, 400, 0, 1000))
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    assert abs((columns[0] + columns[-1]) / 2 - 500) < 6
    assert AREA.x0 - 3 <= columns[0] < columns[-1] <= AREA.x1 + 3
    assert abs((rows[0] + rows[-1]) / 2 - 190) < 25
    bounds = written.bounds
    assert abs(bounds.x0 - columns[0]) < 8
    assert abs(bounds.x1 - columns[-1]) < 8


def test_lines_are_kept_or_broken_so_that_letters_become_as_high_as_they_can():
    narrow = set_title("ΠΕΡΙ ΚΑΚΙΩΝ", Box(0, 900, 0, 900), letter_height=None, mirrored=False)
    wide = set_title("ΠΕΡΙ ΚΑΚΙΩΝ", Box(0, 200, 0, 2000), letter_height=None, mirrored=False)
    assert len({y for _, y, _ in narrow.places}) == 2
    assert len({y for _, y, _ in wide.places}) == 1
    assert len({y for _, y, _ in title("Α\nΒ\nΓ").places}) == 3
    assert title("Α", letter_height=30).letter_height == 30
    huge = set_title("Α", Box(0, 13_000, 0, 200_000), letter_height=None, mirrored=False)
    assert huge.letter_height == 640


def test_blank_text_has_no_letters():
    assert title("  ").bounds is None
    assert not title("").draw(Box(0, 10, 0, 10)).any()
