"""Digits are not layers: which files of a folder are, and never work that a name is the size of."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import s5engine as s5
from s5engine.errors import SourceError
from s5engine.source.layer_names import pick_layers
from support import noise

PREFIXES = ["", "layer_", "surface_", "20230504_z", "slice-", "2023.05.", "Layer ", "w08_"]
#: What lies in published folders beside layers.
OTHERS = ["mask.png", "meta.json", "composite.tif", "author.txt", "parts/", "preview/", "x.zarr/"]


def name_of(prefix: str, number: int, width: int, ending: str) -> str:
    return f"{prefix}{number:0{width}d}.{ending}"


@given(
    prefix=st.sampled_from(PREFIXES),
    first=st.integers(0, 900),
    count=st.integers(2, 60),
    width=st.integers(1, 4),
    ending=st.sampled_from(["tif", "TIF", "tiff", "png", "jpg"]),
    others=st.lists(st.sampled_from(OTHERS), unique=True),
    order=st.randoms(),
)
@settings(max_examples=150, deadline=None)
def test_the_last_number_of_a_name_is_the_layer(
    prefix: str, first: int, count: int, width: int, ending: str, others: list[str], order
) -> None:
    wanted = {n: name_of(prefix, n, width, ending) for n in range(first, first + count)}
    names = [*wanted.values(), *others]
    order.shuffle(names)
    assert pick_layers(names, "seg", None) == wanted


@given(
    count=st.integers(3, 40),
    odd=st.one_of(
        st.integers(10**6, 10**40).map(str), st.just("20230504093154"), st.just("9" * 5000)
    ),
    ending=st.sampled_from(["tif", "png"]),
)
@settings(max_examples=60, deadline=None)
def test_a_number_that_is_no_layers_is_named_at_once(count: int, odd: str, ending: str) -> None:
    names = [f"{n:02d}.tif" for n in range(count)]
    started = time.monotonic()
    with pytest.raises(SourceError, match="no layer's") as caught:
        pick_layers([*names, f"{odd}.{ending}"], "seg/layers", None)
    assert time.monotonic() - started < 5
    assert odd[:20] in str(caught.value)
    assert len(str(caught.value)) < 400


@given(st.sets(st.integers(0, 400), min_size=2, max_size=30), st.data())
@settings(max_examples=80, deadline=None)
def test_gaps_matter_only_where_all_are_wanted(numbers: set[int], data: st.DataObject) -> None:
    names = [f"{n:03d}.tif" for n in numbers]
    some = data.draw(st.sets(st.sampled_from(sorted(numbers)), min_size=1))
    gaps = max(numbers) - min(numbers) + 1 > len(numbers)
    try:
        found = pick_layers(names, "seg", some)
    except SourceError as error:  # too far apart for layers of one segment
        assert "no layer's" in str(error)  # noqa: PT017 - not all of these are refused
        return
    assert set(found) == numbers
    if gaps:
        with pytest.raises(SourceError, match="these are missing"):
            pick_layers(names, "seg", None)
    else:
        assert pick_layers(names, "seg", None) == found


def write(folder: Path, names: list[str], side: int = 16) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        tifffile.imwrite(folder / name, np.full((side, side), number, np.uint8))


def test_layers_are_preferred_to_the_picture_beside_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "seg" / "layers", ["00.tif", "01.tif", "02.tif"])
    write(tmp_path / "seg", ["20230504093154.tif", "7.tif"], side=99)
    assert s5.open_volume(tmp_path / "seg").shape == (3, 16, 16)
    assert "not 20230504093154.tif, 7.tif beside it" in capsys.readouterr().err
    assert s5.ingest(tmp_path / "seg", tmp_path / "v.zarr", progress=False).shape == (3, 16, 16)


def test_an_empty_folder_of_layers_does_not_hide_those_beside_it(tmp_path: Path) -> None:
    (tmp_path / "layers").mkdir()
    write(tmp_path, ["0.tif", "1.tif"])
    assert sorted(s5.list_layers(tmp_path)) == [0, 1]


def test_named_layers_need_no_others(tmp_path: Path) -> None:
    write(tmp_path / "seg", ["03.tif", "04.tif", "09.tif"])
    with pytest.raises(SourceError, match=r"05\.tif, 06\.tif, 07\.tif, 08\.tif"):
        s5.ingest(tmp_path / "seg", tmp_path / "v.zarr", progress=False)
    made = s5.ingest(tmp_path / "seg", tmp_path / "v.zarr", layers=[3, 9], progress=False)
    assert made.layer.values.tolist() == [3, 9]
    with pytest.raises(s5.S5Error, match=r"Layers \[5\]"):
        s5.ingest(tmp_path / "seg", tmp_path / "w.zarr", layers=[3, 5], progress=False)


def test_two_kinds_of_numbered_pictures_are_not_guessed_between(tmp_path: Path) -> None:
    write(tmp_path, ["surface_0.tif", "surface_1.tif", "label_0.tif", "label_1.tif"])
    with pytest.raises(SourceError, match="several kinds of numbered pictures: label_…, surface_…"):
        s5.list_layers(tmp_path)


# --- a file is one picture -----------------------------------------------------------------------


def pages(path: Path, kind: str) -> None:
    picture = noise((3, 64, 80))
    if kind == "pages":
        tifffile.imwrite(path, picture, photometric="minisblack")
    elif kind == "imagej":
        tifffile.imwrite(path, picture, imagej=True, metadata={"axes": "ZYX"})
    elif kind == "series":
        with tifffile.TiffWriter(path) as writer:
            writer.write(picture[0])
            writer.write(picture[1, :30])
    elif kind == "bigtiff":
        tifffile.imwrite(
            path, picture, photometric="minisblack", bigtiff=True, compression="deflate"
        )
    elif kind == "colour":
        tifffile.imwrite(path, picture.transpose(1, 2, 0), photometric="rgb")
    else:
        frames = [Image.fromarray(layer) for layer in picture]
        frames[0].save(path, format="PNG", save_all=True, append_images=frames[1:])


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("pages", "several pages|3 pictures"),
        ("imagej", "3 pictures in a row|several pages"),
        ("series", "several pages"),
        ("bigtiff", "several pages"),
        ("colour", "3 samples"),
        ("animation", "animation"),
    ],
)
def test_a_file_of_several_pictures_is_not_cut_to_its_first(
    tmp_path: Path, kind: str, said: str
) -> None:
    pages(tmp_path / f"00.{'png' if kind == 'animation' else 'tif'}", kind)
    with pytest.raises(SourceError, match=said):
        s5.open_volume(tmp_path)


@given(copies=st.integers(0, 3), big=st.booleans(), code=st.sampled_from(["lzw", "deflate", None]))
@settings(max_examples=50, deadline=None)
def test_smaller_copies_of_a_picture_are_none_of_their_own(
    copies: int, big: bool, code: str | None
) -> None:
    picture = noise((1, 64, 80))[0]
    with tempfile.TemporaryDirectory() as folder:
        with tifffile.TiffWriter(Path(folder) / "00.tif", bigtiff=big) as writer:
            writer.write(picture, compression=code)
            for step in range(copies):
                writer.write(picture[:: 2 << step, :: 2 << step], subfiletype=1)
        np.testing.assert_array_equal(s5.open_volume(folder)[0].values, picture)
