"""One place may be written in many ways: each of them leads there, by every door."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import s5engine as s5
from s5engine.address import is_remote, local_path, on_this_machine, recorded, shown
from s5engine.errors import InvalidArgumentError
from support import counting_model, noise
from unit.store.segments import write_layers

PIXELS = noise((16, 64, 64))
#: Names of folders that a careless reader of addresses takes for something else.
NAMES = ["plain", "a b", "a#b", "a?b=1", "100%", "%41", "ä", "a:b", "ab:c", "~x", "a&b", "+", "@h"]
CHARACTERS = st.characters(codec="utf-8", exclude_characters="/\0", exclude_categories=["C"])


@pytest.fixture(scope="module")
def places() -> Iterator[Path]:
    """A home folder that holds a segment, a store and a run for each name."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder).resolve()
        write_layers(home / "seg", PIXELS)
        volume = s5.ingest(home / "seg", home / "v.zarr", progress=False, pyramid=False)
        model, _ = counting_model()
        ink = s5.predict_ink(volume, model, windows=[0], tta=0)
        s5.write_run(ink, home / "run", formats=["zarr"], progress=False)
        for name in NAMES:
            (home / name).mkdir()
            for made in ("seg", "v.zarr", "run"):
                (home / name / made).symlink_to(home / made)
        (home / "link").symlink_to(home / "plain")
        yield home


def spellings(path: Path, home: Path) -> dict[str, str | Path]:
    inside = path.relative_to(home)
    return {
        "absolute": str(path),
        "a path": path,
        "home": f"~/{inside}",
        "home as a path": Path("~") / inside,
        "relative": f"./{inside}",
        "dots": str(home / "plain" / ".." / inside),
        "slash": f"{path}/",
        "file": f"file://{quote(str(path))}",
        "FILE": f"FILE://{quote(str(path))}",
        "localhost": f"file://localhost{quote(str(path))}",
        "short": f"file:{quote(str(path))}",
    }


WAYS = list(spellings(Path("/h/x"), Path("/h")))


@given(name=st.sampled_from(NAMES), way=st.sampled_from(WAYS))
@settings(max_examples=150, deadline=None)
def test_every_door_finds_what_is_written_in_any_way(places: Path, name: str, way: str) -> None:
    here, home = Path.cwd(), os.environ.get("HOME")
    os.chdir(places)
    os.environ["HOME"] = str(places)
    try:
        segment, store, run = (
            spellings(places / name / made, places)[way] for made in ("seg", "v.zarr", "run")
        )
        assert s5.list_layers(segment).segment == "seg"
        assert s5.open_volume(store).shape == PIXELS.shape
        assert len(s5.open_pyramid(store)) == 1
        assert s5.open_run(run).completed
        again = s5.ingest(segment, store, progress=False, pyramid=False)  # it is finished
        assert np.array_equal(again[0, 0].values, PIXELS[0, 0])
    finally:
        os.chdir(here)
        os.environ["HOME"] = home or "/"


@given(st.lists(st.text(CHARACTERS, min_size=1, max_size=6), min_size=1, max_size=3))
@settings(max_examples=200, deadline=None)
def test_a_file_address_undoes_exactly_what_quoting_did(parts: list[str]) -> None:
    path = Path("/", *parts)
    assert local_path(f"file://{quote(str(path))}") == path
    assert local_path(path) == local_path(str(path)) == path
    assert recorded(path) == str(path)


@pytest.mark.parametrize(
    "address", ["http://h/a", "HTTPS://h/a", "s3://b/k", "memory://a", "simplecache::s3://b/k"]
)
def test_what_is_elsewhere_is_remote_by_text_or_by_path(address: str) -> None:
    assert is_remote(address)
    if "::" not in address:
        assert is_remote(Path(address))  # a path loses one of two slashes
    with pytest.raises(InvalidArgumentError, match="not here"):
        on_this_machine(address, "{} is not here.")


@pytest.mark.parametrize("address", ["a:b/layers", "ab:c", "C:x", "a/b://c", "", "~nobody-x/a"])
def test_what_only_looks_like_an_address_is_a_path(address: str) -> None:
    assert local_path(address) == Path(address)


def test_a_file_of_another_machine_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="three slashes"):
        local_path("file://elsewhere/x")


def test_only_credentials_are_left_out_of_what_is_shown() -> None:
    for address, wanted in {
        "http://u:p@h:8/a%20b/c?t=1#f": "http://h:8/a%20b/c",
        "https://h/a": "https://h/a",
        "s3://key:secret@b/k?versionId=1": "s3://b/k",
        "/x/a?b#c@d": "/x/a?b#c@d",
        "file:///x/a?b": "file:///x/a?b",
        "http://[::1/x?token=1": "http://[::1/x",
        "http://u:p@h@x/a": "http://x/a",
    }.items():
        assert shown(address) == wanted


def test_results_are_not_written_to_what_looks_like_a_local_folder(tmp_path: Path) -> None:
    here = Path.cwd()
    os.chdir(tmp_path)
    try:
        with pytest.raises(InvalidArgumentError, match=r"s3://bucket/v.zarr"):
            s5.ingest(tmp_path, Path("s3://bucket/v.zarr"))
    finally:
        os.chdir(here)
    assert list(tmp_path.iterdir()) == []
