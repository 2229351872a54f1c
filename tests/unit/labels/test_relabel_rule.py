"""The rule of relabelling: never ink where none was detected, never a guess taught."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import s5engine as s5
from s5engine.labels.relabel_rule import Evidence, RelabelRule, near_drawn, propose

SHAPE = (4, 6)


def evidence(
    ink: np.ndarray, spread: np.ndarray | None = None, predicted: np.ndarray | None = None
) -> Evidence:
    """Return the evidence of ink (window, y, x)."""
    shape = ink.shape[1:]
    return Evidence(
        ink.mean(0),
        ink.min(0),
        ink.max(0),
        np.zeros(shape, np.float32) if spread is None else spread,
        np.ones(shape, bool) if predicted is None else predicted,
    )


fractions = st.floats(0, 1, width=32)
masks = arrays(bool, SHAPE)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Evidence, np.ndarray, np.ndarray, RelabelRule]:
    low, high = sorted(draw(st.lists(fractions, min_size=2, max_size=2, unique=True)))
    rule = RelabelRule(
        high, low, draw(st.floats(0, 0.5, width=32)), draw(st.sampled_from(["keep", "question"]))
    )
    found = evidence(
        draw(arrays(np.float32, (draw(st.integers(1, 3)), *SHAPE), elements=fractions)),
        draw(arrays(np.float32, SHAPE, elements=st.floats(0, 0.5, width=32))),
        draw(masks),
    )
    return found, draw(masks), draw(masks), rule


@given(cases())
def test_invariants(case: tuple[Evidence, np.ndarray, np.ndarray, RelabelRule]) -> None:
    found, label, ignore, rule = case
    before = label.copy(), ignore.copy()
    new = propose(found, label, ignore, rule)
    np.testing.assert_array_equal(label, before[0])
    np.testing.assert_array_equal(ignore, before[1])
    agreed = (found.spread <= rule.max_spread) & (
        (found.highest - found.lowest) / 2 <= rule.max_spread
    )
    sure_ink = found.predicted & agreed & (found.lowest >= rule.ink_above)
    sure_blank = found.predicted & agreed & (found.highest <= rule.blank_below)
    assert not (new.label & ~(label | sure_ink)).any()
    assert not (new.label & new.ignore).any()
    assert not (ignore & ~new.ignore).any()
    drawn = label & ~ignore
    gone = drawn & ~new.label
    assert not (gone & ~(sure_blank & new.ignore)).any()
    assert rule.drawn == "question" or not gone.any()
    still = ~found.predicted
    np.testing.assert_array_equal(new.label[still], drawn[still])
    np.testing.assert_array_equal(new.ignore[still], ignore[still])
    # What is taught as blank is surely so, where nobody had said anything.
    taught_blank = ~new.label & ~new.ignore & found.predicted
    assert not (taught_blank & ~sure_blank).any()
    np.testing.assert_array_equal(new.label, new.kept | new.added)


@given(cases())
def test_a_second_time_changes_nothing(
    case: tuple[Evidence, np.ndarray, np.ndarray, RelabelRule],
) -> None:
    found, label, ignore, rule = case
    once = propose(found, label, ignore, rule)
    twice = propose(found, once.label, once.ignore, rule)
    np.testing.assert_array_equal(twice.label, once.label)
    np.testing.assert_array_equal(twice.ignore, once.ignore)
    assert not twice.added.any()
    assert not twice.doubted.any()


#: ink of two windows, spread → what becomes of (blank, drawn ink, ignored) with "question".
TABLE = [
    ((0.9, 0.8), 0.1, ("ink", "ink", "ignored")),
    ((0.6, 0.6), 0.2, ("ink", "ink", "ignored")),
    ((0.9, 0.59), 0.0, ("ignored", "ink", "ignored")),
    ((0.9, 0.9), 0.21, ("ignored", "ink", "ignored")),
    ((0.45, 0.45), 0.0, ("ignored", "ink", "ignored")),
    ((0.1, 0.2), 0.1, ("blank", "ignored", "ignored")),
    ((0.3, 0.3), 0.0, ("blank", "ignored", "ignored")),
    ((0.1, 0.1), 0.3, ("ignored", "ink", "ignored")),
    ((0.1, 0.9), 0.0, ("ignored", "ink", "ignored")),
    ((np.nan, np.nan), 0.0, ("ignored", "ink", "ignored")),
]


@pytest.mark.parametrize(("ink", "spread", "wanted"), TABLE)
def test_each_case(ink: tuple[float, float], spread: float, wanted: tuple[str, ...]) -> None:
    maps = np.repeat(np.array(ink, np.float32)[:, None, None], 3, axis=2)
    found = evidence(maps, np.full((1, 3), spread, np.float32))
    label, ignore = np.array([[0, 1, 0]], bool), np.array([[0, 0, 1]], bool)
    new = propose(found, label, ignore, RelabelRule(drawn="question"))
    names = np.where(new.label, "ink", np.where(new.ignore, "ignored", "blank"))[0]
    assert tuple(names) == wanted
    kept = propose(found, label, ignore, RelabelRule())
    assert kept.label[0, 1]
    assert kept.questioned[0, 1] == (wanted[1] == "ignored")


def test_a_narrow_limit_counts_windows_too() -> None:
    found = evidence(np.array([[[0.9]], [[0.7]]], np.float32))
    nothing = np.zeros((1, 1), bool)
    assert propose(found, nothing, nothing, RelabelRule(max_spread=0.11)).added.all()
    assert propose(found, nothing, nothing, RelabelRule(max_spread=0.09)).doubted.all()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"ink_above": 0.2}, "blank_below is 0.3 and ink_above 0.2"),
        ({"ink_above": 0.3}, "0 ≤ blank_below < ink_above ≤ 1"),
        ({"ink_above": 1.1}, "ink_above 1.1"),
        ({"blank_below": -0.1}, "blank_below is -0.1"),
        ({"ink_above": float("nan")}, "ink_above nan"),
        ({"max_spread": 0.6}, "max_spread is 0.6"),
        ({"max_spread": -0.1}, "max_spread is -0.1"),
        ({"drawn": "drop"}, "drawn is"),
        ({"threshold": 0}, "threshold 0"),
        ({"margin": -1}, "margin is 0…256 px, not -1"),
        ({"margin": 257}, "margin is 0…256 px, not 257"),
    ],
)
def test_settings_that_do_not_fit(change: dict[str, object], complaint: str) -> None:
    with pytest.raises(s5.S5Error, match=complaint):
        RelabelRule(**change)  # type: ignore[arg-type]


@given(masks, st.integers(0, 5))
def test_near_is_within_the_margin_along_rows_and_columns(label: np.ndarray, margin: int) -> None:
    wanted = np.zeros_like(label)
    for y, x in np.argwhere(label):
        wanted[max(0, y - margin) : y + margin + 1, max(0, x - margin) : x + margin + 1] = True
    np.testing.assert_array_equal(near_drawn(label, margin), wanted)


def test_the_drawn_outline_is_believed() -> None:
    # Surely ink, doubtful, surely blank; a letter is drawn in the first two columns of each.
    ink = np.repeat(np.float32([0.9, 0.45, 0.1]), 8)[None, None].repeat(4, 1)
    label = np.zeros((4, 24), bool)
    label[:, [0, 1, 8, 9, 16, 17]] = True
    rule = RelabelRule(drawn="question", margin=2)
    near = near_drawn(label, rule.margin)
    new = propose(evidence(ink), label, np.zeros_like(label), rule, near)
    wanted = np.array(list("LL..LL.." + "LL..II.." + "II......"))
    np.testing.assert_array_equal(new.label, np.broadcast_to(wanted == "L", label.shape))
    np.testing.assert_array_equal(new.ignore, np.broadcast_to(wanted == "I", label.shape))
