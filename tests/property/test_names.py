"""A name that comes from data is one component of a path, or is refused before a file is made."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
import zarr
from hypothesis import example, given, settings
from hypothesis import strategies as st

import s5engine as s5
from s5engine.errors import InvalidArgumentError
from s5engine.paths import path_name
from s5engine.source.listing import _segment
from support import noise
from unit.store.segments import write_layers

ATTACKS = [
    "..",
    ".",
    "",
    " ",
    "/",
    "/victim",
    "../../x",
    "a/../../b",
    "a/b",
    "..\\x",
    "C:\\x",
    "C:x",
    "a\0b",
    "\n",
    "a\nb",
    "-rf",
    "--out",
    "~",
    "~root",
    ".hidden",
    "a.",
    "a ",
    "CON",
    "nul.txt",
    "com1",
    "a" * 300,
    "ä" * 120,
    "a\u202eb",
    "a\u200bb",
    "\u2028",
    "．．／x",
    "a／b",
    "a∕b\x7f",
    "*",
    "a?b",
    '"',
    "a|b",
    "<img>",
    "a:b",
]
FINE = [
    "20230702185753",
    "PHerc172",
    "s5_title",
    "20231012184420_superseded",
    "seg 4",
    "Φιλόδημος",
    "100%",
    "a#b",
    "w08_2024-01-01",
    "é",
    "part(1)",
    "x.y",
]


@pytest.mark.parametrize("name", FINE)
def test_names_that_people_give_are_kept(name: str) -> None:
    assert path_name(name, "segment") == name


@given(st.one_of(st.sampled_from(ATTACKS), st.text(max_size=12), st.text("./\\~-a", max_size=8)))
@settings(max_examples=400, deadline=None)
@example("e\u0301")
def test_a_name_stays_in_its_folder_or_is_refused(name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve()
        try:
            component = path_name(name, "segment")
        except s5.S5Error as error:
            said = str(error)
            if len(said) > 400 or not said.isprintable():
                pytest.fail(said)
            return
        place = (root / component).resolve()
        assert place.parent == root
        place.mkdir()
        assert [path.name for path in root.iterdir()] == [component]
        assert component.isprintable()


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_are_refused(name: str) -> None:
    with pytest.raises(InvalidArgumentError, match="cannot be named after the segment"):
        path_name(name, "segment")


@pytest.mark.parametrize("name", [None, 7, b"x", ["a"]])
def test_what_is_no_text_is_no_name(name: object) -> None:
    with pytest.raises(InvalidArgumentError):
        path_name(name, "segment")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("names")
    write_layers(root / "seg", noise((2, 20, 30)))
    s5.ingest(root / "seg", root / "v.zarr", progress=False, pyramid=False)
    return root / "v.zarr"


def renamed(store: Path, name: str) -> None:
    path = store / "zarr.json"
    told = json.loads(path.read_text())
    told["attributes"]["s5engine"]["segment"] = name
    path.write_text(json.dumps(told))


def everything_in(root: Path) -> set[Path]:
    return set(root.rglob("*"))


@given(st.sampled_from([a for a in ATTACKS if a.strip("\0 ")]))
@settings(max_examples=50, deadline=None)
def test_a_store_that_names_itself_after_another_place_writes_nothing_there(
    store: Path, name: str
) -> None:
    renamed(store, name)
    root = store.parent
    before = everything_in(root)
    try:
        volume = s5.open_volume(store)
    except s5.S5Error:
        assert everything_in(root) == before
        return
    out = root / "a" / "b" / "out"
    with pytest.raises(s5.S5Error, match="cannot be named after the segment"):
        s5.split(volume, out, progress=False)
    assert everything_in(root) == before
    assert not Path("/victim").exists()


def test_a_good_name_in_data_makes_its_folder(store: Path, tmp_path: Path) -> None:
    renamed(store, "PHerc 172")
    s5.split(s5.open_volume(store), tmp_path / "out", progress=False)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["PHerc 172"]


@pytest.mark.parametrize(
    "way", ["%2e%2e/layers/", "a/%2e%2e/layers", "..", "%2E/layers/", "layers"]
)
def test_dots_in_an_address_are_nobodys_name(way: str) -> None:
    name = _segment(f"http://127.0.0.1/{way}")
    assert path_name(name, "segment") == "layers"


def test_a_foreign_array_is_named_after_its_file(tmp_path: Path) -> None:
    array = zarr.create_array(tmp_path / "x y.zarr", shape=(2, 9, 9), chunks=(2, 9, 9), dtype="u1")
    array[:] = 1
    s5.split(s5.open_volume(tmp_path / "x y.zarr"), tmp_path / "out", progress=False)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["x y"]
