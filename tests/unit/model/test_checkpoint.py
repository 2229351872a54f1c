"""Reading and writing checkpoints: what is accepted, and what is refused with which words."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from parity.golden_weights import CONFIGS, golden_network, golden_state_dict
from s5engine.errors import CheckpointError, CheckpointNotFoundError, InvalidArgumentError
from s5engine.model import UnetrSegformer, read_checkpoint, save_checkpoint
from s5engine.model.checkpoint import file_sha256

TINY = CONFIGS["tiny"]


class MeanMetric:
    """Stands for a metric object that some runs pickled into their checkpoints."""


def write(path: Path, **changes: Any) -> Path:
    """Write a checkpoint as Lightning lays it out, with changes."""
    contents = {
        "epoch": 13,
        "global_step": 4000,
        "pytorch-lightning_version": "2.5.1",
        "state_dict": OrderedDict(
            (f"model.{name}", tensor) for name, tensor in golden_state_dict("tiny").items()
        ),
        "hyper_parameters": TINY.to_hyper_parameters() | {"lr": 2e-4, "save_path": "out"},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": []}],
        "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.71)}},
    } | changes
    torch.save({k: v for k, v in contents.items() if v is not None}, path)
    return path


def same(network: torch.nn.Module) -> bool:
    expected, got = golden_state_dict("tiny"), network.state_dict()
    return list(expected) == list(got) and all(torch.equal(got[k], v) for k, v in expected.items())


def test_a_lightning_checkpoint_gives_the_network_and_the_rest(tmp_path: Path) -> None:
    path = write(tmp_path / "best-checkpoint-epoch=13-val_iou=0.71.ckpt")
    checkpoint = read_checkpoint(path)
    network = checkpoint.network()
    assert same(network)
    assert not network.training
    assert all(p.requires_grad and p.device.type == "cpu" for p in network.parameters())
    assert checkpoint.config == TINY
    assert checkpoint.contents["epoch"] == 13
    assert checkpoint.sha256 == file_sha256(path)


def test_the_network_outlives_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ckpt")
    network = read_checkpoint(path).network()
    with path.open("r+b") as file:
        file.write(b"\0" * path.stat().st_size)
    assert same(network)


@pytest.mark.parametrize(
    "prefix", ["", "model.", "_orig_mod.", "model._orig_mod.", "_orig_mod.model."]
)
def test_every_prefix_is_understood(tmp_path: Path, prefix: str) -> None:
    state = {prefix + name: tensor for name, tensor in golden_state_dict("tiny").items()}
    assert same(read_checkpoint(write(tmp_path / "a.ckpt", state_dict=state)).network())


def test_states_of_metrics_and_losses_are_left_out(tmp_path: Path) -> None:
    state = {f"model.{name}": tensor for name, tensor in golden_state_dict("tiny").items()}
    state |= {"val_iou.confmat": torch.tensor([float("nan")]), "loss.weight": torch.ones(2)}
    assert same(read_checkpoint(write(tmp_path / "a.ckpt", state_dict=state)).network())


def test_segformer_names_of_transformers_5_are_understood(tmp_path: Path) -> None:
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    public = SegformerForSemanticSegmentation(
        SegformerConfig(
            num_channels=TINY.unetr_out_channels,
            hidden_sizes=list(TINY.segformer_widths),
            depths=list(TINY.segformer_depths),
            num_attention_heads=list(TINY.segformer_heads),
            decoder_hidden_size=TINY.segformer_decoder_dim,
            num_labels=1,
        )
    ).state_dict()
    assert "segformer.stages.0.blocks.0.attention.q_proj.weight" in public
    state = {k: v for k, v in golden_state_dict("tiny").items() if k.startswith("encoder.")}
    state |= {f"encoder_2d.{name}": tensor for name, tensor in public.items()}
    path = write(tmp_path / "a.ckpt", state_dict={f"model.{k}": v for k, v in state.items()})
    ours = read_checkpoint(path).network().encoder_2d.state_dict()
    pairs = {
        "stages.1.blocks.0.attention.k_proj.bias": "block.1.0.attention.self.key.bias",
        "stages.2.blocks.0.attention.sequence_reduction.layer_norm.weight": (
            "block.2.0.attention.self.layer_norm.weight"
        ),
        "stages.0.blocks.0.attention.sequence_reduction.sequence_reduction.weight": (
            "block.0.0.attention.self.sr.weight"
        ),
        "stages.3.blocks.0.mlp.fc2.weight": "block.3.0.mlp.dense2.weight",
        "stages.3.layer_norm.bias": "layer_norm.3.bias",
    }
    pairs = {f"segformer.{new}": f"segformer.encoder.{old}" for new, old in pairs.items()}
    pairs["decode_head.linear_projections.2.proj.weight"] = "decode_head.linear_c.2.proj.weight"
    assert len(ours) == len(public)
    for new, old in pairs.items():
        assert torch.equal(public[new], ours[old])


def test_a_namespace_of_hyper_parameters_is_read_on_trust(tmp_path: Path) -> None:
    namespace = SimpleNamespace(**TINY.to_hyper_parameters())
    path = write(tmp_path / "a.ckpt", hyper_parameters=namespace)
    with pytest.raises(CheckpointError, match=r"types\.SimpleNamespace"):
        read_checkpoint(path)
    assert read_checkpoint(path, trust=True).config == TINY


def test_foreign_objects_are_named_and_need_trust(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ckpt", metrics={"val": MeanMetric()})
    with pytest.raises(CheckpointError, match=r"MeanMetric.*trust=True") as info:
        read_checkpoint(path)
    assert "origin" not in info.value.what
    assert same(read_checkpoint(path, trust=True).network())


def test_nothing_runs_without_trust(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "ran"),)

    path = write(tmp_path / "a.ckpt", extra=Evil())
    with pytest.raises(CheckpointError, match="mkdir"):
        read_checkpoint(path)
    assert not (tmp_path / "ran").exists()


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFoundError, match=r"no checkpoint at .*absent\.ckpt"):
        read_checkpoint(tmp_path / "absent.ckpt")
    with pytest.raises(FileNotFoundError):
        read_checkpoint(tmp_path / "absent.ckpt")


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "text.ckpt"
    text.write_text("not a checkpoint")
    archive = tmp_path / "archive.ckpt"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("hello.txt", "hello")
    bare_pickle = tmp_path / "pickle.ckpt"
    bare_pickle.write_bytes(pickle.dumps({"state_dict": {}}))
    whole = write(tmp_path / "whole.ckpt").read_bytes()
    cut = tmp_path / "cut.ckpt"
    cut.write_bytes(whole[: len(whole) // 2])
    for path in (text, archive, bare_pickle, cut, tmp_path):
        with pytest.raises(CheckpointError, match="not a PyTorch checkpoint"):
            read_checkpoint(path)


def test_a_torch_file_of_something_else_says_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    torch.save(golden_state_dict("tiny"), path)
    with pytest.raises(CheckpointError, match="no 'state_dict'"):
        read_checkpoint(path)
    torch.save(torch.zeros(3), path)
    with pytest.raises(CheckpointError, match="no 'state_dict'"):
        read_checkpoint(path)
    with pytest.raises(CheckpointError, match="no 'hyper_parameters'"):
        read_checkpoint(write(path, hyper_parameters=None))
    with pytest.raises(CheckpointError, match=r"state_dict.*list"):
        read_checkpoint(write(path, state_dict=[1, 2]))


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    parameters = TINY.to_hyper_parameters() | {"architecture": "resnet3d"}
    with pytest.raises(CheckpointError, match=r"'resnet3d'.*wrap_model"):
        read_checkpoint(write(tmp_path / "a.ckpt", hyper_parameters=parameters))


def test_missing_unexpected_and_misshapen_tensors_are_named_and_counted(tmp_path: Path) -> None:
    state = {f"model.{name}": tensor for name, tensor in golden_state_dict("tiny").items()}
    for name in list(state)[:6]:
        del state[name]
    state["model.encoder.extra"] = torch.zeros(1)
    state["model.encoder_2d.decode_head.classifier.bias"] = torch.zeros(2)
    state["model.encoder_2d.decode_head.classifier.weight"] = "a text"
    with pytest.raises(CheckpointError) as info:
        read_checkpoint(write(tmp_path / "a.ckpt", state_dict=state))
    text = str(info.value)
    assert "6 missing: encoder.transformer.embeddings.position_embeddings" in text
    assert "and 2 more" in text
    assert "1 unexpected: encoder.extra" in text
    assert "classifier.bias (2,) instead of (1,)" in text
    assert "classifier.weight (a str)" in text


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    state = {f"model.{name}": tensor for name, tensor in golden_state_dict("tiny").items()}
    state["model.encoder.decoder0.1.block.0.block.weight"][3, 2, 1, 0, 0] = value
    with pytest.raises(CheckpointError, match=r"1 .*encoder.decoder0.1.block.0.block.weight"):
        read_checkpoint(write(tmp_path / "a.ckpt", state_dict=state))


def test_a_saved_network_comes_back_bit_for_bit(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    saved = save_checkpoint(
        path,
        golden_network("tiny"),
        TINY,
        epoch=7,
        optimizer_states=[{"state": {}}],
        hyper_parameters={"lr": 1e-3, "patch_size": 999},
    )
    assert saved == path
    checkpoint = read_checkpoint(path)
    assert same(checkpoint.network())
    assert checkpoint.config == TINY
    assert checkpoint.contents["epoch"] == 7
    assert checkpoint.contents["hyper_parameters"]["lr"] == 1e-3
    assert checkpoint.contents["hyper_parameters"]["patch_size"] == 64  # the sizes win
    assert checkpoint.contents["global_step"] == 0
    raw = torch.load(path, weights_only=True)
    assert all(name.startswith("model.") for name in raw["state_dict"])
    assert raw["pytorch-lightning_version"].startswith("2.")


def test_saving_replaces_at_once_or_not_at_all(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path / "a.ckpt", golden_network("tiny"), TINY)
    before = path.read_bytes()
    with pytest.raises(InvalidArgumentError, match="MeanMetric"):
        save_checkpoint(path, golden_network("tiny"), TINY, metric=MeanMetric())
    with pytest.raises(CheckpointError, match="do not fit"):
        save_checkpoint(path, torch.nn.Linear(2, 2), TINY)
    diverged = golden_network("tiny")
    diverged.encoder_2d.decode_head.classifier.bias.data.fill_(float("nan"))
    with pytest.raises(CheckpointError, match=r"classifier\.bias"):
        save_checkpoint(path, diverged, TINY)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.ckpt"]


def test_a_compiled_network_is_saved_under_its_plain_names(tmp_path: Path) -> None:
    compiled = torch.compile(golden_network("tiny"), backend="eager")
    path = save_checkpoint(tmp_path / "a.ckpt", compiled, TINY)
    assert same(read_checkpoint(path).network())


def test_half_precision_weights_are_widened(tmp_path: Path) -> None:
    state = {
        f"model.{k}": v.half() if v.is_floating_point() else v
        for k, v in golden_state_dict("tiny").items()
    }
    network = read_checkpoint(write(tmp_path / "a.ckpt", state_dict=state)).network()
    assert {p.dtype for p in network.parameters()} == {torch.float32}


def test_a_network_drawn_from_the_config_trains_after_loading(tmp_path: Path) -> None:
    config = replace(TINY, tile=32, unetr_stem=(4, 4))
    path = save_checkpoint(tmp_path / "a.ckpt", UnetrSegformer(config), config)
    network = read_checkpoint(path).network().train()
    network(torch.rand(2, 1, 16, 32, 32)).sum().backward()
    assert network.encoder.decoder0[0].block[0].block.weight.grad.abs().sum() > 0
