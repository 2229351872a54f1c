"""Damaged chunks of any codec, anywhere: one error that names the file, and never other pixels."""

from __future__ import annotations

import shutil
import struct
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import numcodecs
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec

import s5engine as s5
from s5engine.errors import StoreError
from s5engine.phantom import Fault, LayerServer
from s5engine.source.retry import RetryPolicy
from s5engine.store import remote
from s5engine.store.read_shards import ShardFiles

SHAPE, CHUNK, SHARD = (4, 16, 24), (4, 8, 8), (4, 16, 16)
#: Compressors of both formats, by their names.
V2: dict[str, Any] = {
    "lz4 in blosc": numcodecs.Blosc("lz4", 5, 1),
    "zstd in blosc": numcodecs.Blosc("zstd", 1, 0),
    "zlib": numcodecs.Zlib(),
    "gzip": numcodecs.GZip(),
    "zstd": numcodecs.Zstd(),
    "lz4": numcodecs.LZ4(),
    "bz2": numcodecs.BZ2(),
    "none": None,
}
V3: dict[str, Any] = {
    "lz4 in blosc": BloscCodec(cname="lz4"),
    "zstd in blosc": BloscCodec(cname="zstd", clevel=1),
    "gzip": GzipCodec(),
    "zstd": ZstdCodec(),
    "none": None,
}
STORED = [(2, False, name) for name in V2] + [
    (3, sharded, name) for sharded in (False, True) for name in V3
]


@dataclass(frozen=True)
class Damage:
    """What is done to the bytes of a chunk's file, and to its index if it is a shard."""

    what: str
    share: float = 0.0

    def spoil(self, whole: bytes, sharded: bool) -> bytes:
        if self.what == "cut":
            return whole[: int(len(whole) * self.share)]
        if self.what == "html":
            return b"<!DOCTYPE html><html><body>Please log in</body></html>"
        if self.what == "longer" or not sharded:
            return whole + b"\0" * (1 + int(self.share * 300))
        index = bytearray(whole[-(16 * 4 + 4) : -4])
        offset = {"far": len(whole) + 5, "endless": 2**63, "back": 2**64 - 9}.get(self.what, 0)
        index[:8] = struct.pack("<Q", offset)
        return (
            whole[: -len(index) - 4] + index + struct.pack("<I", google_crc32c.value(bytes(index)))
        )


def published(store: Path, server: LayerServer) -> str:
    """Serve the files of a store; return its address."""
    root = f"{store.parent.name}/{store.name}"
    for file in store.rglob("*"):
        if file.is_file():
            server.replace(f"{root}/{file.relative_to(store)}", file.read_bytes())
    return server.url(root)


DAMAGES = st.one_of(
    st.floats(0, 0.999).map(lambda share: Damage("cut", share)),
    st.sampled_from([Damage(what) for what in ("html", "far", "endless", "back")]),
    st.floats(0, 1).map(lambda share: Damage("longer", share)),
)


def pixels(dtype: str) -> np.ndarray:
    """Noise without zeros: what reads as 0 was not read."""
    return np.random.default_rng(7).integers(1, 200, SHAPE).astype(dtype)


def write(folder: Path, kind: tuple[int, bool, str], dtype: str) -> Path:
    """Write an array as the kind says; return the folder of its chunks."""
    form, sharded, codec = kind
    told: dict[str, Any] = {"shape": SHAPE, "chunks": CHUNK, "dtype": dtype, "fill_value": 0}
    if form == 2:
        array = zarr.create_array(folder, zarr_format=2, compressors=V2[codec], **told)
    else:
        told |= {"shards": SHARD} if sharded else {}
        array = zarr.create_array(folder, compressors=V3[codec], **told)
    array[:] = pixels(dtype)
    return folder


@pytest.fixture(scope="module")
def server() -> Iterator[LayerServer]:
    with LayerServer({}) as opened:
        yield opened


@pytest.fixture(scope="module", autouse=True)
def impatient() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(remote, "POLICY", RetryPolicy(attempts=2, delay=0.001))
        yield


@settings(max_examples=120, deadline=None)
@given(
    kind=st.sampled_from(STORED),
    dtype=st.sampled_from(["uint8", "uint16"]),
    damage=DAMAGES,
    which=st.integers(0, 100),
    over_http=st.booleans(),
)
def test_a_damaged_chunk_is_named(
    server: LayerServer,
    kind: tuple[int, bool, str],
    dtype: str,
    damage: Damage,
    which: int,
    over_http: bool,
) -> None:
    with tempfile.TemporaryDirectory() as made:
        path = write(Path(made) / "v.zarr", kind, dtype)
        files = sorted(
            f
            for f in path.rglob("*")
            if f.is_file() and f.name not in ("zarr.json", ".zarray", ".zattrs")
        )
        spoilt = files[which % len(files)]
        spoilt.write_bytes(damage.spoil(spoilt.read_bytes(), kind[1]))
        place: Any = published(path, server) if over_http else path
        told = ""
        try:
            read = s5.open_volume(place).values
        except StoreError as error:
            told = str(error)
    if told:
        assert str(spoilt.relative_to(path)) in told
        return
    # Some codecs take no notice of what follows a chunk; the pixels are the same.
    assert damage.what == "longer" or (damage.what not in ("cut", "html") and not kind[1])
    np.testing.assert_array_equal(read, pixels(dtype))


@settings(max_examples=50, deadline=None)
@given(
    stored=st.sampled_from([2, 3]),
    level=st.integers(0, 1),
    damage=DAMAGES,
    partial=st.booleans(),
    which=st.integers(0, 100),
)
def test_so_it_is_in_every_level_of_our_stores(
    ours: Path, stored: int, level: int, damage: Damage, partial: bool, which: int
) -> None:
    store = ours / f"v{stored}.zarr"
    folder = store / str(level)
    files = [f for f in sorted(folder.rglob("*")) if f.is_file() and f.name[0] in "0123456789"]
    spoilt = files[which % len(files)]
    whole = spoilt.read_bytes()
    if damage.what not in ("cut", "html"):
        damage = Damage("cut", 0.9 * damage.share)
    spoilt.write_bytes(damage.spoil(whole, sharded=False))
    try:
        with pytest.raises(StoreError, match=r"chunk .* is damaged") as told:
            s5.open_pyramid(store, partial=partial)[level].values  # noqa: B018
        assert str(spoilt) in str(told.value)
    finally:
        spoilt.write_bytes(whole)


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import tifffile

    folder = tmp_path_factory.mktemp("ours")
    data = np.random.default_rng(0).integers(1, 200, (2, 150, 1100)).astype(np.uint8)
    (folder / "layers").mkdir()
    for number, layer in enumerate(data):
        tifffile.imwrite(folder / "layers" / f"{number:02d}.tif", layer)
    for form in (2, 3):
        s5.ingest(folder / "layers", folder / f"v{form}.zarr", zarr_format=form, progress=False)
    assert ShardFiles.of(zarr.open_array(folder / "v3.zarr/0")) is not None
    return folder


def as_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def as_broken_link(file: Path) -> None:
    file.unlink()
    file.symlink_to(file.parent / "gone")


def as_loop(file: Path) -> None:
    file.unlink()
    file.symlink_to(file)


def below_a_file(file: Path) -> None:
    shutil.rmtree(file.parent)
    file.parent.write_bytes(b"no folder")


@pytest.mark.parametrize("change", [as_folder, as_broken_link, as_loop, below_a_file])
@pytest.mark.parametrize("stored", ["ours", "sharded", "2"])
def test_what_is_no_file_is_no_missing_chunk(
    tmp_path: Path, change: Callable[[Path], None], stored: str
) -> None:
    told: dict[str, Any] = {"shape": SHAPE, "chunks": CHUNK, "dtype": "uint8", "fill_value": 0}
    if stored == "2":
        encoding: Any = {"name": "v2", "separator": "/"}
        array = zarr.create_array(
            tmp_path / "v.zarr", zarr_format=2, chunk_key_encoding=encoding, **told
        )
        file = tmp_path / "v.zarr/0/1/0"
    else:
        codec = V3["zstd in blosc" if stored == "ours" else "zstd"]
        array = zarr.create_array(tmp_path / "v.zarr", shards=CHUNK, compressors=codec, **told)
        file = tmp_path / "v.zarr/c/0/1/0"
    array[:] = pixels("uint8")
    change(file)
    with pytest.raises(StoreError, match=r"chunk .* is damaged"):
        s5.open_volume(tmp_path / "v.zarr").values  # noqa: B018


NAMED = st.sampled_from(["0.0.0", "0/0/0", "c/0/0/0", "c.0.0.0"])


@settings(max_examples=60, deadline=None)
@given(
    form=st.sampled_from([2, 3]),
    said=st.sampled_from([".", "/"]),
    there=NAMED,
    over_http=st.booleans(),
    keep=st.integers(0, 6),
)
def test_chunks_with_other_names_are_not_zeros(
    server: LayerServer, form: int, said: str, there: str, over_http: bool, keep: int
) -> None:
    with tempfile.TemporaryDirectory() as made:
        path = Path(made) / "v.zarr"
        name = "v2" if form == 2 else "default"
        array = zarr.create_array(
            path,
            shape=SHAPE,
            chunks=CHUNK,
            dtype="uint8",
            zarr_format=form,
            fill_value=0,
            chunk_key_encoding={"name": name, "separator": said},
        )
        array[:] = data = pixels("uint8")
        metadata: Any = array.metadata
        right = metadata.encode_chunk_key((0, 0, 0)) == there
        for number, place in enumerate(np.ndindex(1, 2, 3)):
            old = path / metadata.encode_chunk_key(place)
            separator = "/" if "/" in there else "."
            key = ("c" + separator if there[0] == "c" else "") + separator.join(map(str, place))
            kept = old.read_bytes()
            old.unlink()
            if number < keep:
                (path / key).parent.mkdir(parents=True, exist_ok=True)
                (path / key).write_bytes(kept)
        place: Any = published(path, server) if over_http else path
        if right and keep:
            read = s5.open_volume(place).values
            assert ((read == data) | (read == 0)).all()
            assert read.any()
            return
        with pytest.raises(StoreError, match="none of its chunks") as told:
            s5.open_volume(place).values  # noqa: B018
        assert metadata.encode_chunk_key((0, 0, 0)) in str(told.value)
        assert not keep or there in str(told.value)
        assert not s5.open_volume(place, partial=True).values.any()


def test_folders_of_chunks_are_read_where_no_separator_is_told(tmp_path: Path) -> None:
    """Older programs wrote chunks into folders and did not say so."""
    array = zarr.create_array(
        tmp_path / "v.zarr",
        shape=SHAPE,
        chunks=CHUNK,
        dtype="uint8",
        zarr_format=2,
        chunk_key_encoding={"name": "v2", "separator": "/"},
    )
    array[:] = data = pixels("uint8")
    file = tmp_path / "v.zarr/.zarray"
    file.write_text(file.read_text().replace('"dimension_separator": "/",', ""))
    assert "dimension_separator" not in file.read_text()
    np.testing.assert_array_equal(s5.open_volume(tmp_path / "v.zarr").values, data)


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("stored", [2, 3])
def test_a_passing_404_is_not_a_missing_chunk(
    server: LayerServer, listed: bool, stored: int
) -> None:
    files: dict[str, Any] = {}
    array = zarr.create_array(
        files, shape=SHAPE, chunks=CHUNK, dtype="uint8", zarr_format=stored, fill_value=0
    )
    array[:] = data = pixels("uint8")
    root = f"passing{stored}{listed}"
    for key, value in files.items():
        server.replace(f"{root}/{key}", value.to_bytes())
    chunk = "*/0.1.1" if stored == 2 else "*/c/0/1/1"
    volume = s5.open_volume(server.url(root))
    server.faults.add(Fault(chunk, "status", code=404, times=1))
    if not listed:
        server.faults.add(Fault("*/", "status", code=404))
    try:
        np.testing.assert_array_equal(volume.values, data)
        if listed:  # and one that does not pass is no zero either
            server.faults.add(Fault(chunk, "status", code=404))
            with pytest.raises(StoreError, match=r"lists .*1.* not there"):
                volume.values  # noqa: B018
    finally:
        server.faults.clear()
