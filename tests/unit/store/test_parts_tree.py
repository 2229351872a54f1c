"""Opening the tree of parts as the 2025 system left it: without a record of ours."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from s5engine.errors import StoreError
from s5engine.foreign import structured
from s5engine.store.parts_tree import CONTRAST_2025, RECORD, open_parts_tree
from s5engine.store.volume import open_volume
from unit.store.segments import pixels, write_layers


def tree_of_2025(
    folder: Path,
    data: np.ndarray,
    widths: list[int],
    kind: str = "parts_contrasted",
    first: int = 1,
) -> Path:
    """Write a segment's folder with parts of these widths."""
    columns = np.cumsum([0, *widths])
    for index, (x0, x1) in enumerate(itertools.pairwise(columns)):
        write_layers(folder / kind / f"{folder.name}_{index + first:02d}", data[:, :, x0:x1])
    return folder


def test_parts_lie_side_by_side(tmp_path: Path) -> None:
    data = pixels()
    segment = tree_of_2025(tmp_path / "03192025", data, [150, 150, 100])
    for path in (segment, segment / "parts_contrasted"):
        with open_volume(path) as volume:
            np.testing.assert_array_equal(volume.values, data)
            assert volume.attrs["segment"] == "03192025"
            assert structured(volume.attrs["contrast"]) == CONTRAST_2025
            assert list(structured(volume.attrs["fingerprint"])) == [
                f"03192025_0{n}" for n in (1, 2, 3)
            ]
            crop = volume.isel(y=slice(3, 9), x=slice(140, 310))
            np.testing.assert_array_equal(crop.values, data[:, 3:9, 140:310])


def test_contrasted_parts_come_before_plain_ones(tmp_path: Path) -> None:
    segment = tree_of_2025(tmp_path / "s", pixels(), [400])
    tree_of_2025(segment, pixels(seed=1), [400], kind="parts")
    with open_volume(segment) as volume:
        np.testing.assert_array_equal(volume.values, pixels())
    with open_volume(segment / "parts") as volume:
        np.testing.assert_array_equal(volume.values, pixels(seed=1))
        assert "contrast" not in volume.attrs


def test_whole_layers_come_before_their_parts(tmp_path: Path) -> None:
    segment = tree_of_2025(tmp_path / "s", pixels(), [400])
    write_layers(segment, pixels(seed=1))
    with open_volume(segment) as volume:
        np.testing.assert_array_equal(volume.values, pixels(seed=1))
    with open_parts_tree(segment) as volume:
        np.testing.assert_array_equal(volume.values, pixels())


def test_one_part_knows_where_it_begins(tmp_path: Path) -> None:
    segment = tree_of_2025(tmp_path / "s", pixels(), [300, 100], first=2)
    with open_volume(segment) as volume:
        assert volume["x"].values[[0, -1]].tolist() == [10_000, 10_399]
    with open_volume(segment / "parts_contrasted" / "s_03") as volume:
        np.testing.assert_array_equal(volume.values, pixels()[:, :, 300:])
        assert volume["x"].values[0] == 20_000


def test_missing_parts_in_between_are_refused(tmp_path: Path) -> None:
    segment = tree_of_2025(tmp_path / "s", pixels(), [200])
    tree_of_2025(segment, pixels(), [200], first=3)
    with pytest.raises(StoreError, match=r"the parts \[1, 3\]: some in between are missing"):
        open_volume(segment)


@pytest.mark.parametrize(
    "other", [pixels(height=299), pixels(layers=2), pixels(dtype="uint16")], ids=["h", "n", "t"]
)
def test_parts_that_do_not_fit_are_refused(tmp_path: Path, other: np.ndarray) -> None:
    segment = tree_of_2025(tmp_path / "s", pixels(), [400])
    tree_of_2025(segment, other, [400], first=2)
    with pytest.raises(StoreError, match="does not fit to"):
        open_volume(segment)


def test_a_damaged_record_is_one_clear_error(tmp_path: Path) -> None:
    segment = tree_of_2025(tmp_path / "s", pixels(), [400])
    (segment / "parts_contrasted" / RECORD).write_text('{"segment": "s"}')
    with pytest.raises(StoreError, match="damaged"):
        open_volume(segment)


def test_no_parts_at_all(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no parts in"):
        open_parts_tree(tmp_path)
