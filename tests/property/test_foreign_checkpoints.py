"""Damaged, tampered and boastful checkpoints end in one error that names the file, and soon."""

from __future__ import annotations

import io
import json
import pickle
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from property.test_checkpoint_spellings import CONFIG, weights
from s5engine.errors import CheckpointError, S5Error
from s5engine.model import read_checkpoint

PLAIN = CONFIG.to_hyper_parameters()


def saved(state: Any = None, parameters: Any = None, *, zipped: bool = True, **more: Any) -> bytes:
    buffer = io.BytesIO()
    contents = {
        "state_dict": weights() if state is None else state,
        "hyper_parameters": PLAIN if parameters is None else parameters,
    }
    torch.save(contents | more, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


WHOLE = {zipped: saved(zipped=zipped) for zipped in (True, False)}


def read(data: bytes, *, trust: bool = False) -> str | None:
    """Return what is said of a file; None if it loads."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "odd.ckpt"
        path.write_bytes(data)
        try:
            read_checkpoint(path, trust=trust)
        except S5Error as error:
            if "odd.ckpt" not in str(error) or len(str(error)) > 1000:
                pytest.fail(str(error))
            return str(error)
    return None


@given(
    zipped=st.booleans(),
    place=st.floats(0, 1),
    bit=st.integers(0, 7),
    damage=st.sampled_from(["flip", "cut", "zeros", "twice", "shift"]),
)
@settings(max_examples=60, deadline=None)
def test_damaged_files_are_told(zipped: bool, place: float, bit: int, damage: str) -> None:
    whole = WHOLE[zipped]
    at = min(int(place * len(whole)), len(whole) - 1)
    data = bytearray(whole)
    if damage == "flip":
        data[at] ^= 1 << bit
    elif damage == "zeros":
        data[at : at + 64] = bytes(len(data[at : at + 64]))
    elif damage == "shift":
        del data[at : at + bit + 1]
    made = {"cut": bytes(data[:at]), "twice": bytes(data) + bytes(data[at:])}.get(
        damage, bytes(data)
    )
    said = read(made)
    # An archive has a checksum of each tensor; the older layout has none.
    assert said is not None or not zipped or made == whole or damage in ("flip", "twice", "zeros")


@given(st.integers(0, 10**6))
@settings(max_examples=50, deadline=None)
def test_a_flipped_bit_in_the_weights_of_an_archive_is_told(draw: int) -> None:
    with zipfile.ZipFile(io.BytesIO(WHOLE[True])) as archive:
        members = [m for m in archive.infolist() if "/data/" in m.filename]
    member = members[draw % len(members)]
    data = bytearray(WHOLE[True])
    head = data[member.header_offset : member.header_offset + 30]
    lengths = (int.from_bytes(head[n : n + 2], "little") for n in (26, 28))
    data[member.header_offset + 30 + sum(lengths) + draw % member.file_size] ^= 1
    said = read(bytes(data))
    assert said is not None
    assert "checksum" in said


STRANGE: dict[str, Any] = {
    "sparse": lambda t: t.reshape(-1).to_sparse(),
    "meta": lambda t: t.to("meta"),
    "complex": lambda t: t.to(torch.complex64),
    "bool": lambda t: t > 0,
    "float8": lambda t: t.to(torch.float8_e4m3fn),
    "text": lambda _: "weights",
    "none": lambda _: None,
    "list": lambda t: t.tolist(),
    "empty": lambda t: t[:0],
    "wider": lambda t: torch.stack([t, t]),
    "NaN": lambda t: t * torch.nan,
    "infinite": lambda t: t / 0,
    "numpy": lambda t: t.numpy(),
    "huge view": lambda _: torch.zeros(1).expand(2**40),
}


@given(which=st.integers(0, 10**6), kind=st.sampled_from(list(STRANGE)), zipped=st.booleans())
@settings(max_examples=50, deadline=None)
def test_strange_tensors_are_named(which: int, kind: str, zipped: bool) -> None:
    names = [name for name, value in weights().items() if value.is_floating_point()]
    name = names[which % len(names)]
    tensor = weights()[name]
    state = weights() | {name: STRANGE[kind](tensor)}
    said = read(saved(state, zipped=zipped))
    assert said is not None
    assert name[:60] in said or (kind == "float8" and not zipped)  # PyTorch refuses it unnamed


#: What only chooses the sizes that are not given.
CHOOSES = {"segformer_from_pretrained", "mini_unetr", "model_type"}
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.integers(-3, 10**9), max_size=5),
    st.just({}),
    st.just(b"\0"),
    st.sampled_from([10**7, 2**31, 2**63, np.int64(2**62)]),
)


@given(name=st.sampled_from(sorted(PLAIN.keys() - CHOOSES)), value=ODD)
@settings(max_examples=60, deadline=None)
def test_any_size_is_read_or_told(name: str, value: Any) -> None:
    said = read(saved(parameters=PLAIN | {name: value}))
    assert said is not None or PLAIN[name] == value or name == "epsilon" or value is None


@pytest.mark.parametrize(
    "contents",
    [
        None,
        [],
        "text",
        {},
        {"state_dict": 1},
        {"state_dict": {}, "hyper_parameters": 3},
        {"state_dict": [1], "hyper_parameters": PLAIN},
        {"state_dict": {1: 2, None: 3}, "hyper_parameters": PLAIN},
        {1: 2},
        {"state_dict": {}, "hyper_parameters": {1: 2}},
    ],
)
def test_files_of_something_else_are_told(contents: Any) -> None:
    buffer = io.BytesIO()
    torch.save(contents, buffer)
    assert read(buffer.getvalue()) is not None


class Bomb:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return eval, ("__import__('pathlib').Path('/tmp/s5-bomb').touch()",)


@pytest.mark.parametrize("zipped", [True, False])
def test_no_code_runs_without_trust(zipped: bool) -> None:
    said = read(saved(zipped=zipped, other=Bomb()))
    assert said is not None
    assert "trust=True" in said
    assert not Path("/tmp/s5-bomb").exists()


# --- claims ------------------------------------------------------------------------------------


def deflated(length: int) -> bytes:
    """Return an archive whose pickle is short and says that it is long."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("a/data.pkl", "w", force_zip64=True) as member:
            for _ in range(length // 2**20):
                member.write(bytes(2**20))
        archive.writestr("a/version", "3")
    return buffer.getvalue()


def nested(depth: int) -> list[Any]:
    """Return a list of 2 to the power of ``depth`` leaves that takes a few hundred bytes."""
    value: list[Any] = [1]
    for _ in range(depth):
        value = [value, value]
    return value


READ = """
import json, resource, sys
from s5engine.errors import S5Error
from s5engine.model import read_checkpoint
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
read_checkpoint(sys.argv[1])
before, told = peak(), []
for path in sys.argv[2:]:
    try:
        read_checkpoint(path)
        told.append("loaded")
    except S5Error as error:
        told.append(str(error))
print(json.dumps([told, peak() - before]))
"""


def test_small_files_take_little_memory_whatever_they_claim(tmp_path: Path) -> None:
    claims = {
        "layers": saved(parameters=PLAIN | {"unetr_layers": 10**7}),
        "mlp": saved(parameters=PLAIN | {"unetr_mlp_dim": 2**16, "unetr_layers": 1000}),
        "tile": saved(parameters=PLAIN | {"patch_size": 2**14, "label_size": 2**12}),
        "channels": saved(parameters=PLAIN | {"unetr_filters": [2**16] * 3}),
        "nested size": saved(parameters=PLAIN | {"unetr_filters": nested(60)}),
        "nested value": saved(parameters=PLAIN | {"note": nested(60)}),
        "nested name": saved(state=weights() | {"x": nested(60)}),
        "deflated": deflated(2**30),
        "view": saved(state=weights() | {"model.x": torch.zeros(1).expand(2**45)}),
    }
    paths = []
    for name, data in claims.items():
        paths.append(tmp_path / f"{name}.ckpt")
        paths[-1].write_bytes(data)
    fine = tmp_path / "fine.ckpt"
    fine.write_bytes(WHOLE[True])
    done = subprocess.run(
        [sys.executable, "-c", READ, str(fine), *map(str, paths)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told, grown = json.loads(done.stdout)
    said = dict(zip(claims, told, strict=True))
    assert grown < 200 * 2**20
    assert said.pop("nested value") == "loaded"  # a value that nobody reads
    for name, text in said.items():
        assert f"{name}.ckpt" in text
        assert len(text) < 1000


def test_a_pickle_alone_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "a.ckpt").write_bytes(pickle.dumps({"state_dict": {}}))
    with pytest.raises(CheckpointError, match="a pickle of something else"):
        read_checkpoint(tmp_path / "a.ckpt")
