"""Whole checkpoints load however they are spelled: layout, names, numbers, paths, precision."""

from __future__ import annotations

import functools
import pathlib
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from s5engine.errors import CheckpointError
from s5engine.model import NetworkConfig, UnetrSegformer, read_checkpoint

CONFIG = NetworkConfig(
    tile=32,
    unetr_embed_dim=8,
    unetr_heads=2,
    unetr_layers=4,
    unetr_mlp_dim=16,
    unetr_filters=(8, 8, 4),
    unetr_stem=(2, 4),
    unetr_out_channels=4,
    model_type="b0",
    segformer_widths=(4, 8, 8, 8),
    segformer_depths=(1, 1, 1, 1),
    segformer_heads=(1, 1, 1, 1),
    segformer_decoder_dim=8,
)
WRAPPERS = ("_orig_mod", "module", "_fsdp_wrapped_module", "model", "net", "network")


class Elsewhere:
    """Pickles as a path of one system, whichever this is."""

    def __init__(self, kind: str) -> None:
        self._kind = getattr(pathlib, kind)

    def __reduce__(self) -> tuple[Any, ...]:
        return self._kind, ("C:\\", "data", "03192025")


#: One number or text in the ways in which people's hyper-parameters hold it.
INTEGERS: list[Any] = [
    int,
    np.int64,
    np.int32,
    np.uint16,
    np.array,
    torch.tensor,
    lambda n: np.array([n])[0],
    lambda n: np.dtype(">i4").type(n),
]
FLOATS: list[Any] = [float, np.float64, np.array, lambda x: torch.tensor(x, dtype=torch.float64)]
TEXTS: list[Any] = [str, np.str_]
FLAGS: list[Any] = [bool, np.bool_, np.array]
LISTS: list[Any] = [list, tuple, np.array, torch.tensor, lambda v: [np.int64(n) for n in v]]
EXTRAS: list[Any] = [
    Elsewhere("WindowsPath"),
    Elsewhere("PosixPath"),
    Elsewhere("PureWindowsPath"),
    pathlib.PurePosixPath("out"),
    np.arange(6.0).reshape(2, 3),
    np.float32(2),
    1j,
    {1, 2},
    frozenset(("a",)),
    b"bytes",
    bytearray(b"bytes"),
    slice(1, 2),
    torch.Size([2]),
    torch.float16,
    torch.device("cpu"),
    torch.eye(3).to_sparse(),
    torch.empty(2, device="meta"),
    None,
    {(1, "a"): [np.bool_(True)]},
]


@functools.cache
def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return UnetrSegformer(CONFIG).state_dict()


SPELLINGS: dict[type, list[Any]] = {
    int: INTEGERS,
    float: FLOATS,
    str: TEXTS,
    bool: FLAGS,
    list: LISTS,
}


def hyper_parameters(ways: list[int]) -> dict[str, Any]:
    """The sizes, each spelled in the way of a number."""
    made: dict[str, Any] = {}
    for way, (name, value) in zip(ways * 5, CONFIG.to_hyper_parameters().items(), strict=False):
        kinds = SPELLINGS[type(value)]
        made[name] = kinds[way % len(kinds)](value)
    return made


@settings(max_examples=50, deadline=None)
@given(
    ways=st.lists(st.integers(0, 59), min_size=5, max_size=5),
    wrappers=st.lists(st.sampled_from(WRAPPERS), max_size=3),
    inner=st.sampled_from(["", "module.", "_orig_mod."]),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
    extra=st.integers(0, len(EXTRAS) - 1),
    zipped=st.booleans(),
    trust=st.booleans(),
)
def test_every_spelling_gives_the_network(
    ways: list[int],
    wrappers: list[str],
    inner: str,
    dtype: torch.dtype,
    extra: int,
    zipped: bool,
    trust: bool,
) -> None:
    prefix = "".join(f"{part}." for part in wrappers)
    state = {
        prefix + name.replace("encoder.", f"encoder.{inner}", 1): value.to(
            dtype if value.is_floating_point() else value.dtype
        )
        for name, value in weights().items()
    }
    if ways[0] % 2:
        state = {name: torch.nn.Parameter(v, v.is_floating_point()) for name, v in state.items()}
    contents = {
        "state_dict": state,
        "hyper_parameters": hyper_parameters(ways) | {"data": EXTRAS[extra]},
        "epoch": INTEGERS[ways[0] % len(INTEGERS)](3),
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.ckpt"
        torch.save(contents, path, _use_new_zipfile_serialization=zipped)
        found = read_checkpoint(path, trust=trust)
        network = found.network().state_dict()
    assert found.config == CONFIG
    assert type(found.config.tile) is int
    for name, value in weights().items():
        assert torch.equal(network[name], value.to(state_dtype(value, dtype)).to(value.dtype)), name


def state_dtype(value: torch.Tensor, dtype: torch.dtype) -> torch.dtype:
    return dtype if value.is_floating_point() else value.dtype


def save(path: Path, state: dict[str, torch.Tensor], **more: Any) -> Path:
    parameters = CONFIG.to_hyper_parameters()
    torch.save({"state_dict": state, "hyper_parameters": parameters} | more, path)
    return path


def test_values_of_numpy_and_paths_come_back_as_plain_ones(tmp_path: Path) -> None:
    path = save(
        tmp_path / "a.ckpt",
        weights(),
        number=np.int64(3),
        place=Elsewhere("WindowsPath"),
        picture=np.arange(6, dtype=">i2").reshape(2, 3),
    )
    contents = read_checkpoint(path).contents
    assert contents["number"] == 3
    assert contents["place"] == pathlib.PureWindowsPath("C:\\data\\03192025")
    assert contents["picture"].tolist() == [[0, 1, 2], [3, 4, 5]]


class Foreign:
    """An object that needs trust."""


def test_a_path_of_another_system_beside_a_foreign_object_is_read_on_trust(tmp_path: Path) -> None:
    path = save(
        tmp_path / "a.ckpt",
        weights(),
        place=Elsewhere("WindowsPath"),
        other=Foreign(),
    )
    contents = read_checkpoint(path, trust=True).contents
    assert isinstance(contents["other"], Foreign)
    assert contents["place"] == pathlib.PureWindowsPath("C:\\data\\03192025")


def test_two_names_of_one_tensor_and_two_networks_are_told(tmp_path: Path) -> None:
    state = {f"model.{name}": value for name, value in weights().items()}
    state["model.module.encoder_2d.decode_head.classifier.bias"] = torch.ones(1)
    with pytest.raises(CheckpointError, match=r"classifier\.bias' twice"):
        read_checkpoint(save(tmp_path / "a.ckpt", state))
    both = {f"{start}.{name}": v for start in ("ema", "net") for name, v in weights().items()}
    with pytest.raises(CheckpointError, match=r"a\.ckpt.*2 networks, under 'ema\.', 'net\.'"):
        read_checkpoint(save(tmp_path / "a.ckpt", both))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "it is empty"),
        (b"<!DOCTYPE html><html>404</html>", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a pointer of Git LFS"),
        (b"\x80\x04}.", "a pickle of something else"),
    ],
)
def test_what_a_file_is_instead_is_said(tmp_path: Path, text: bytes, words: str) -> None:
    path = tmp_path / "a.ckpt"
    path.write_bytes(text)
    with pytest.raises(CheckpointError, match=rf"a\.ckpt' is not a PyTorch checkpoint.*{words}"):
        read_checkpoint(path)
