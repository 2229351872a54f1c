"""A phantom with its labels, right and spoilt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

import s5engine as s5
from s5engine.errors import InvalidArgumentError
from s5engine.phantom import Phantom, spoil_label, write_labelled


def test_volume_and_labels_lie_where_training_looks(tmp_path: Path) -> None:
    phantom = Phantom(96, 256, seed=5, text="ΝΟΜΟΣ", layers=18)
    volume = write_labelled(phantom, tmp_path, segment="p")
    np.testing.assert_array_equal(volume.values, phantom.read())
    again = write_labelled(phantom, tmp_path, segment="p")  # a script that is run again goes on
    assert again.attrs["fingerprint"] == volume.attrs["fingerprint"]
    folder = tmp_path / "labels" / "p_01"
    np.testing.assert_array_equal(s5.read_mask(folder / "label.png"), phantom.ink())
    np.testing.assert_array_equal(s5.read_mask(folder / "mask.png"), phantom.papyrus())
    tiles = s5.build_tileset(
        [s5.parts(s5.contrast(volume))[1]],
        tmp_path / "labels",
        tmp_path / "t.zarr",
        tile=32,
        stride=16,
        progress=False,
    )
    assert tiles.ink_percent.max() > 5
    with pytest.raises(InvalidArgumentError, match="px"):
        write_labelled(phantom, tmp_path / "x", label=np.zeros((3, 4), bool))


@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_only_the_share_is_spoilt(seed: int, share: float) -> None:
    label = np.zeros((40, 120), bool)
    for k in range(10):
        label[10:20, 5 + 11 * k : 11 + 11 * k] = True
    papyrus = np.ones_like(label)
    spoilt = spoil_label(label, papyrus, share=share, seed=seed)
    gone = ndimage.label(label & ~spoilt)[1]
    assert gone == round(10 * share)
    wrong = spoilt & ~label
    assert wrong.sum() <= 60 * (round(10 * share) // 2)
    assert not (spoil_label(label, ~papyrus, share=share, seed=seed) & ~label).any()


def test_letters_are_missing_and_wrong_in_turn() -> None:
    phantom = Phantom(256, 512, seed=1, text="ΑΒΓΔ ΕΖΗΘ")
    ink = phantom.ink()
    spoilt = spoil_label(ink, phantom.papyrus(), share=0.5, seed=3)
    assert (ink & ~spoilt).any()
    assert (spoilt & ~ink).any()
    with pytest.raises(InvalidArgumentError, match="share"):
        spoil_label(ink, ink, share=1.5)
