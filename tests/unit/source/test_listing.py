"""Which files of a folder are layers."""

from __future__ import annotations

import pickle
import re
import sys
from importlib import import_module

import fsspec
import pytest

from s5engine.errors import MissingExtraError, SourceError, SourceNotFoundError
from s5engine.phantom.server import LayerServer
from s5engine.source import LayerIndex, list_layers
from s5engine.source.index_page import children


def folder_with(tmp_path, *names):
    folder = tmp_path / "03192025" / "layers"
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).touch()
    return folder


@pytest.mark.parametrize("listing", ["apache", "nginx"])
@pytest.mark.parametrize("start", ["s5/autogens/03192025/", "s5/autogens/03192025/layers"])
def test_index_pages_are_read(listing, start):
    names = ["00.tif", "01.tif", "02.tif", "composite.jpg", "mask.png", "meta.json"]
    files = {f"s5/autogens/03192025/layers/{n}": b"x" for n in names}
    files["s5/autogens/03192025/thumb.png"] = b"x"
    with LayerServer(files, listing=listing) as server:
        index = list_layers(server.url(start))
    assert list(index) == [0, 1, 2]
    assert index.segment == "03192025"
    assert index[1].name == "01.tif"
    assert index[1].url == server.url("s5/autogens/03192025/layers/01.tif")


def test_links_of_every_form_are_understood():
    page = "https://host.org/a%20b/layers/"
    links = [
        "?C=N;O=D",
        "../",
        "/a%20b/",
        "00.tif",
        "./01.tif",
        "/a%20b/layers/02.tif",
        "https://host.org/a%20b/layers/03.tif",
        "http://host.org/a%20b/layers/04.tif",
        "https://other.org/a%20b/layers/05.tif",
        "sub/06.tif",
        "%30%37.tif",
        "08.tif#top",
        "09.tif?C=M",
        "00.tif",
        "mailto:x@y",
        "sub/",
    ]
    assert list(children(page, links)) == [
        "00.tif",
        "01.tif",
        "02.tif",
        "03.tif",
        "04.tif",
        "07.tif",
        "08.tif",
        "sub/",
    ]


def test_local_folders_padded_or_not_and_every_suffix(tmp_path):
    folder = folder_with(tmp_path, "8.TIF", "9.jpeg", "10.png", "11.tiff", "12.jpg", "10.txt", "x")
    for address in (folder, str(folder), folder.parent, f"file://{folder}"):
        index = list_layers(address)
        assert list(index) == [8, 9, 10, 11, 12]
        assert index.segment == "03192025"


def test_an_index_is_a_frozen_mapping_and_survives_pickling(tmp_path):
    index = list_layers(folder_with(tmp_path, "0.tif", "1.tif"), storage_options={"a": 1})
    again = pickle.loads(pickle.dumps(index))
    assert isinstance(again, LayerIndex)
    assert dict(again) == dict(index)
    assert (again.url, again.segment, again.storage_options) == (index.url, "03192025", {"a": 1})
    with pytest.raises(TypeError):
        index[5] = index[0]


def test_any_fsspec_file_system_is_listed():
    memory = fsspec.filesystem("memory")
    for name in ("0.tif", "1.tif"):
        memory.pipe_file(f"/seg9/layers/{name}", b"x")
    try:
        for address in ("memory://seg9", "memory://seg9/layers"):
            index = list_layers(address)
            assert (list(index), index.segment) == ([0, 1], "seg9")
    finally:
        memory.rm("/seg9", recursive=True)


@pytest.mark.parametrize(
    ("names", "kind", "said"),
    [
        (["00.tif", "01.tif", "03.tif", "06.tif"], SourceError, "missing: 02.tif, 04.tif, 05.tif"),
        (["4.tif", "05.tif", "5.tif"], SourceError, "same layer: 05.tif, 5.tif"),
        (["05.png", "05.tif"], SourceError, "same layer: 05.png, 05.tif"),
        (["00.part1.tif", "00.part2.tif"], SourceError, r"in pieces \(00.part1.tif, 00.part2.tif"),
        (["mask.png"], SourceNotFoundError, "no layer files.*it has mask.png"),
        ([], SourceNotFoundError, "it has nothing"),
    ],
)
def test_what_is_wrong_with_a_folder_is_said(tmp_path, names, kind, said):
    with pytest.raises(kind, match=said):
        list_layers(folder_with(tmp_path, *names))


def test_a_folder_that_does_not_exist(tmp_path):
    with pytest.raises(SourceNotFoundError, match="does not exist"):
        list_layers(tmp_path / "nowhere")
    with LayerServer({"a/0.tif": b"x"}) as server:
        address = server.url("b/").replace("http://", "http://me:secret@") + "?token=hidden"
        with pytest.raises(SourceNotFoundError, match=re.escape("/b/ does not exist")) as caught:
            list_layers(address)
    assert "secret" not in str(caught.value)
    assert "hidden" not in str(caught.value)
    with pytest.raises(SourceNotFoundError, match="does not exist"):
        list_layers("memory://nowhere")


def test_unknown_and_uninstalled_file_systems(monkeypatch):
    with pytest.raises(SourceError, match="nonsense://"):
        list_layers("nonsense://bucket/x")
    monkeypatch.setitem(sys.modules, "s3fs", None)
    # An earlier test may have used S3: fsspec would remember the class.
    monkeypatch.delitem(import_module("fsspec.registry")._registry, "s3", raising=False)
    with pytest.raises(MissingExtraError, match=re.escape('pip install "s5engine[s3]"')):
        list_layers("s3://bucket/segment/layers")


def test_a_file_in_place_of_a_folder_is_not_read_into_memory(monkeypatch):
    monkeypatch.setattr("s5engine.source.http.PAGE_LIMIT", 1000)
    files = {f"s/layers/{i:03d}.tif": b"x" for i in range(100)}
    with LayerServer(files) as server, pytest.raises(SourceError, match="more than a page"):
        list_layers(server.url("s/layers/"))
