"""Scores against a plain count, and the best threshold against all of them tried."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import s5engine as s5
from s5engine.errors import InvalidArgumentError


def plain_f1(found: np.ndarray, true: np.ndarray) -> float:
    tp, fp, fn = (found & true).sum(), (found & ~true).sum(), (~found & true).sum()
    return float(2 * tp / (2 * tp + fp + fn)) if tp + fp + fn else 0.0


def test_counts_by_hand() -> None:
    ink = np.array([[0.9, 0.8, 0.1], [0.6, 0.2, 0.5]], np.float32)
    truth = np.array([[1, 0, 1], [1, 0, 0]], bool)
    score = s5.score_ink(ink, truth)
    assert (score.precision, score.recall, score.f1, score.iou) == (2 / 3, 2 / 3, 2 / 3, 0.5)
    within = np.array([[1, 0, 1], [1, 1, 1]], bool)
    assert s5.score_ink(ink, truth, within).precision == 1
    assert s5.score_ink(ink, truth, threshold=0.95).f1 == 0


def test_lazy_ink_in_blocks_scores_the_same() -> None:
    rng = np.random.default_rng(0)
    ink, truth = rng.random((50, 70), np.float32), rng.random((50, 70)) < 0.3
    lazy = xr.DataArray(da.from_array(ink, chunks=(16, 32)), dims=("y", "x"))
    assert s5.score_ink(lazy, truth) == s5.score_ink(ink, truth)
    assert s5.score_ink(ink, truth).f1 == pytest.approx(plain_f1(ink > 0.5, truth))


@given(st.integers(0, 2**32 - 1), st.integers(1, 9))
def test_no_threshold_does_better(seed: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, levels, (6, 7)).astype(np.uint8)
    truth, within = rng.random((6, 7)) < 0.3, rng.random((6, 7)) < 0.8
    truth[0, 0] = within[0, 0] = True
    all_of_them = [
        plain_f1(found[within], truth[within])
        for t in range(levels)
        for found in (values >= t, values <= t)
    ]
    assert s5.best_threshold(values, truth, within).f1 == pytest.approx(max(all_of_them))


def test_wrong_input_is_said() -> None:
    with pytest.raises(InvalidArgumentError, match="same pixels"):
        s5.score_ink(np.zeros((3, 4)), np.zeros((4, 3), bool))
    with pytest.raises(InvalidArgumentError, match="No pixel"):
        s5.best_threshold(np.zeros((3, 4)), np.zeros((3, 4), bool))
