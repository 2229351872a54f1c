"""Training: the curve does not depend on interruptions, and its checkpoints are those of 2025."""

from __future__ import annotations

import importlib.util
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import s5engine as s5
from s5engine.errors import (
    CheckpointError,
    InvalidArgumentError,
    MissingExtraError,
    ResumeError,
    StoreError,
)
from s5engine.model import NetworkConfig, UnetrSegformer, read_checkpoint, save_checkpoint
from s5engine.training import callbacks
from s5engine.training.callbacks import COLUMNS, read_figures
from s5engine.training.module import InkModule, TrainingError
from s5engine.training.sampling import balance, split_tiles
from support import volume_of

NETWORK = NetworkConfig(
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
PLAIN = s5.AugmentSettings.flips_only()


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> s5.Tileset:
    """Bright squares on noise, labelled; 17 layers, so that there are two windows."""
    folder = tmp_path_factory.mktemp("tiles")
    rng = np.random.default_rng(0)
    layers = rng.integers(20, 60, (17, 160, 192), dtype=np.uint8)
    label = np.zeros((160, 192), bool)
    for y, x in ((10, 20), (60, 100), (100, 40), (20, 140)):
        label[y : y + 40, x : x + 36] = True
    layers[5:9] += (label * 150).astype(np.uint8)
    volume = volume_of(layers, (8, 64, 64), contrast=[[0, 0], [255, 255]])
    part = s5.parts(volume)[1]
    labels = folder / "labels" / "test_01"
    s5.write_picture(label.astype(float), labels / "label.png")
    s5.write_picture(np.ones(label.shape), labels / "mask.png")
    return s5.build_tileset(
        [part],
        folder / "labels",
        folder / "t.zarr",
        tile=32,
        stride=16,
        packed=True,
        progress=False,
    )


def fit(tiles: s5.Tileset, folder: Path, **options: Any) -> Path:
    """Train a tiny network for a few steps."""
    chosen: dict[str, Any] = {
        "epochs": 3,
        "batch": 8,
        "windows": (0, 1),
        "lr": 3e-3,
        "seed": 1,
        "augment": PLAIN,
        "loggers": ("csv",),
        "network": NETWORK,
        "progress": False,
        "device": "cpu",
        "validation": 0.2,
        "blank_ratio": 0.3,
    } | options
    return s5.train(tiles, folder, **chosen)


class PowerCutError(Exception):
    """Stands for a power cut."""


def stop_after(monkeypatch: pytest.MonkeyPatch, epochs: int) -> None:
    """Let the next training die in the middle of the epoch after ``epochs`` finished ones."""
    original = callbacks.Progress.on_train_batch_end

    def stopping(self: Any, trainer: Any, *rest: Any) -> None:
        if trainer.current_epoch == epochs and trainer.global_step % 3 == 2:
            raise PowerCutError
        original(self, trainer, *rest)

    monkeypatch.setattr(callbacks.Progress, "on_train_batch_end", stopping)


@pytest.mark.parametrize("finished", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_an_interrupted_training_has_the_same_curve(
    tiles: s5.Tileset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finished: int
) -> None:
    best = fit(tiles, tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_after(patch, finished)
        with pytest.raises(PowerCutError):
            fit(tiles, tmp_path / "cut")
    again = fit(tiles, tmp_path / "cut")
    rows = [read_figures(tmp_path / name / "metrics.csv") for name in ("whole", "cut")]
    assert [row["epoch"] for row in rows[1]] == [0, 1, 2]
    assert rows[0] == rows[1]
    assert again.name == best.name
    for name in (f"checkpoints/{best.name}", "checkpoints/last.ckpt"):
        whole, cut = (read_checkpoint(tmp_path / n / name).tensors for n in ("whole", "cut"))
        assert all(torch.equal(whole[key], cut[key]) for key in whole)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["moved", "copied"])
def test_a_training_goes_on_in_another_folder_with_its_own_best(
    tiles: s5.Tileset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    whole = fit(tiles, tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_after(patch, 2)
        with pytest.raises(PowerCutError):
            fit(tiles, tmp_path / "first")
    if how == "moved":
        (tmp_path / "first").rename(tmp_path / "second")
    else:
        shutil.copytree(tmp_path / "first", tmp_path / "second")
        before = {p: p.read_bytes() for p in (tmp_path / "first").rglob("*") if p.is_file()}
    best = fit(tiles, tmp_path / "second")
    assert best == tmp_path / "second" / "checkpoints" / whole.name
    record, wanted = (
        json.loads((tmp_path / name / "train.json").read_text()) for name in ("second", "whole")
    )
    assert (record["best"], record["val_iou"]) == (wanted["best"], wanted["val_iou"])
    if how == "copied":
        assert {p: p.read_bytes() for p in before} == before


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "missing", "page"])
def test_a_last_checkpoint_that_cannot_be_read_is_named(
    tiles: s5.Tileset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    with monkeypatch.context() as patch:
        stop_after(patch, 1)
        with pytest.raises(PowerCutError):
            fit(tiles, tmp_path)
    last = tmp_path / "checkpoints" / "last.ckpt"
    data = last.read_bytes()
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 1
    last.write_bytes(
        {
            "empty": b"",
            "cut": data[: len(data) // 2],
            "flipped": bytes(flipped),
            "page": b"<html>",
        }.get(damage, b"")
    )
    if damage == "missing":
        last.unlink()
    with pytest.raises(CheckpointError, match=r"last\.ckpt"):
        fit(tiles, tmp_path)


@pytest.mark.slow
def test_checkpoints_are_those_of_2025(tiles: s5.Tileset, tmp_path: Path) -> None:
    best = fit(tiles, tmp_path)
    kept = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    assert kept[-1] == "last.ckpt"
    assert len(kept) == 4
    for name in kept:
        found = read_checkpoint(tmp_path / "checkpoints" / name)
        assert found.config == NETWORK
        raw = torch.load(found.path, weights_only=True)
        assert {k.split(".")[0] for k in raw["state_dict"]} == {"model"}
        assert all(k.startswith(("model.encoder.", "model.encoder_2d.")) for k in raw["state_dict"])
        flat = raw["hyper_parameters"]
        assert flat["architecture"] == "unetr-sf"
        assert flat["batch"] == 8
        assert flat["patch_size"] == 32
        assert s5.load_checkpoint(found.path, device="cpu").tile == 32
    ious = [row["val_iou"] for row in read_figures(tmp_path / "metrics.csv")]
    record = json.loads((tmp_path / "train.json").read_text())
    assert record["best"] == best.name
    assert record["val_iou"] == pytest.approx(max(ious))
    assert tuple(read_figures(tmp_path / "metrics.csv")[0]) == COLUMNS
    picture = np.asarray(Image.open(tmp_path / "pictures" / "epoch_02.png"))
    assert picture.shape == (8 * 40, 3 * 40)


@pytest.mark.slow
def test_only_the_best_are_kept(tiles: s5.Tileset, tmp_path: Path) -> None:
    best = fit(tiles, tmp_path, keep_best=1, pictures=0, loggers=("csv", "tensorboard"))
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == [best.name, "last.ckpt"]
    assert not (tmp_path / "pictures").exists()
    assert list((tmp_path / "tensorboard").glob("events*"))


def test_a_finished_training_is_returned_and_another_refused(
    tiles: s5.Tileset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    best = fit(tiles, tmp_path, epochs=1)
    with monkeypatch.context() as patch:
        patch.setattr(InkModule, "training_step", None)  # it would fail
        assert fit(tiles, tmp_path, epochs=1) == best
    with pytest.raises(ResumeError, match=r"lr"):
        fit(tiles, tmp_path, epochs=1, lr=1e-3)
    fit(tiles, tmp_path, epochs=1, lr=1e-3, resume=False)
    assert len(read_figures(tmp_path / "metrics.csv")) == 1


def test_fine_tuning_starts_from_the_weights(tiles: s5.Tileset, tmp_path: Path) -> None:
    first = fit(tiles, tmp_path / "a", epochs=1)
    tuned = fit(tiles, tmp_path / "b", epochs=1, lr=0.0, min_lr=0.0, network=None, checkpoint=first)
    before, after = read_checkpoint(first).tensors, read_checkpoint(tuned).tensors
    for name in before:
        if "running" not in name and "batches" not in name:
            assert torch.equal(before[name], after[name]), name


@pytest.mark.slow
def test_workers_read_the_same_tiles(tiles: s5.Tileset, tmp_path: Path) -> None:
    fit(tiles, tmp_path / "none", epochs=1)
    fit(tiles, tmp_path / "one", epochs=1, workers=1)
    rows = [read_figures(tmp_path / name / "metrics.csv") for name in ("none", "one")]
    assert rows[0] == rows[1]


@pytest.mark.slow
def test_it_learns(tiles: s5.Tileset, tmp_path: Path) -> None:
    fit(tiles, tmp_path, epochs=25, lr=1e-2, smoothing=0.0, dropout=0.0)
    figures = read_figures(tmp_path / "metrics.csv")
    assert max(row["val_f1"] for row in figures) > 0.9
    assert figures[-1]["train_loss"] < 0.5 * figures[0]["train_loss"]


def test_a_loss_that_diverges_ends_with_the_step(
    tiles: s5.Tileset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(InkModule, "_loss", lambda self, prob, batch: prob.sum() * float("nan"))
    with pytest.raises(TrainingError, match="epoch 0, step 0"):
        fit(tiles, tmp_path)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"windows": ()}, InvalidArgumentError, "17 layers"),
        ({"windows": (2,)}, InvalidArgumentError, "layer window 2"),
        ({"learning_rate": 1}, InvalidArgumentError, "learning_rate"),
        ({"min_ink": 100}, InvalidArgumentError, "the most is"),
        ({"validation_parts": ("no_01",)}, InvalidArgumentError, "no_01"),
        ({"validation_parts": ("test_01",)}, InvalidArgumentError, "0 are left for training"),
        ({"network": replace(NETWORK, tile=64)}, InvalidArgumentError, "64 px"),
        ({"batch": 4096}, InvalidArgumentError, "one batch"),
        ({"lr": -1}, InvalidArgumentError, "lr is a number"),
        ({"device": "cuda:7"}, InvalidArgumentError, "not available"),
    ],
)
def test_wrong_input_is_told_before_anything_is_written(
    tiles: s5.Tileset, tmp_path: Path, options: dict[str, Any], error: type, words: str
) -> None:
    with pytest.raises(error, match=words):
        fit(tiles, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_other_peoples_files_and_checkpoints_that_do_not_fit(
    tiles: s5.Tileset, tmp_path: Path
) -> None:
    (tmp_path / "metrics.csv").write_text("mine")
    with pytest.raises(StoreError, match=r"metrics\.csv"):
        fit(tiles, tmp_path)
    big = replace(NETWORK, tile=64)
    path = save_checkpoint(tmp_path / "big.ckpt", UnetrSegformer(big), big)
    with pytest.raises(CheckpointError, match="64 px"):
        fit(tiles, tmp_path / "out", network=None, checkpoint=path)


def test_a_missing_package_is_told(
    tiles: s5.Tileset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "lightning" else found(name)
    )
    with pytest.raises(MissingExtraError, match=r"s5engine\[train\]"):
        fit(tiles, tmp_path)


def test_settings_from_toml(tmp_path: Path) -> None:
    path = tmp_path / "t.toml"
    path.write_text("epochs = 2\nwindows = [3]\n[augment]\nblur = 0.0\n[network]\ntile = 64\n")
    read = s5.read_train_settings(path)
    assert (read.epochs, read.windows, read.augment.blur) == (2, (3,), 0.0)
    assert read.network is not None
    assert read.network.tile == 64
    for text, words in [
        ("epoch = 2", "epoch"),
        ("[augment]\nwarp = 1", "warp"),
        ("epochs = 'x'", "epochs"),
        ("epochs = ", "TOML"),
    ]:
        path.write_text(text)
        with pytest.raises(InvalidArgumentError, match=words):
            s5.read_train_settings(path)
    with pytest.raises(InvalidArgumentError, match="no settings file"):
        s5.read_train_settings(tmp_path / "none.toml")


def test_the_verb_is_no_room(tiles: s5.Tileset) -> None:
    from s5engine.training.fit import train

    assert s5.train is train
    chosen = balance(tiles, min_ink=5)
    assert len(split_tiles(tiles, chosen).validation) == max(1, round(0.05 * len(chosen)))


def test_figures_count_kept_pixels_only() -> None:
    """The figures of a validation equal a plain count, batch by batch, ignored pixels left out."""
    rng = np.random.default_rng(5)
    module = InkModule(UnetrSegformer(NETWORK), s5.TrainSettings(augment=PLAIN), steps=1)
    answers = torch.from_numpy(rng.normal(size=(2, 6, 8, 8)).astype(np.float32))
    label, keep = (torch.from_numpy(rng.random((2, 6, 8, 8)) < share) for share in (0.3, 0.6))
    for k in range(2):
        module.model.forward = lambda _, k=k: answers[k]  # type: ignore[method-assign]
        module.log = lambda *_, **__: None  # type: ignore[method-assign,assignment]
        module.validation_step((torch.zeros(6, 1, 16, 32, 32), label[k], keep[k]), k)
    found = {name: float(value) for name, value in module.figures.compute().items()}
    flat = [t.numpy().reshape(-1, 8) for t in (torch.sigmoid(answers), label, keep)]
    plain = s5.score_ink(*flat)
    wanted = {
        "val_iou": plain.iou,
        "val_precision": plain.precision,
        "val_recall": plain.recall,
        "val_f1": plain.f1,
    }
    assert found == pytest.approx(wanted)
    assert plain != s5.score_ink(*flat[:2])  # what is ignored would have counted
