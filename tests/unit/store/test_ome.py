"""Metadata: axes and levels of others' stores, the record of ours."""

from __future__ import annotations

import pytest

from s5engine.errors import StoreError
from s5engine.store.ome import VolumeRecord, level_zero, read_record

RECORD = VolumeRecord("s", "http://h/s", {"0": {"size": 3}}, (3, 4), (5, 9, 7, 20), "uint8", 3, 128)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, None),
        ({"multiscales": []}, None),
        ({"multiscales": "no"}, None),
        ({"multiscales": [{"datasets": []}]}, None),
        ({"multiscales": [{"datasets": [{"path": "0"}]}]}, ("0", ())),
        (
            {"multiscales": [{"axes": ["z", "y", "x"], "datasets": [{"path": "s0"}, {}]}]},
            ("s0", ("z", "y", "x")),
        ),
        (
            {"ome": {"multiscales": [{"axes": [{"name": "z"}], "datasets": [{"path": "/a/"}]}]}},
            ("a", ("z",)),
        ),
    ],
)
def test_the_first_level_is_found_in_every_version(attributes: object, expected: object) -> None:
    assert level_zero(attributes) == expected  # type: ignore[arg-type]


def test_a_record_reads_back_as_it_was_written() -> None:
    assert read_record(RECORD.attributes(), "here") == RECORD


def test_others_have_no_record() -> None:
    assert read_record({"multiscales": []}, "here") is None
    assert read_record({"s5engine": {"kind": "ink"}}, "here") is None


def test_a_damaged_record_is_one_clear_error() -> None:
    own = RECORD.attributes()["s5engine"]
    with pytest.raises(StoreError, match="here are damaged"):
        read_record({"s5engine": {**own, "box": "no"}}, "here")


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_crop_says_where_it_lies(zarr_format: int) -> None:
    from dataclasses import replace

    attributes = replace(RECORD, zarr_format=zarr_format).attributes()
    scales = attributes["ome"] if zarr_format == 3 else attributes
    transforms = scales["multiscales"][0]["datasets"][0]["coordinateTransformations"]
    assert transforms[1] == {"type": "translation", "translation": [3.0, 5.0, 7.0]}
