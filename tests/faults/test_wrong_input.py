"""Ten mistakes, each at the command line: one clear line, and no work begun that need not be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from s5engine import cli
from s5engine.model import NetworkConfig, UnetrSegformer, save_checkpoint
from s5engine.phantom import Fault, LayerServer, encode_layer, encode_layers
from support import noise

FOLDER = "seg/layers/"
SETTINGS = """
segment = "seg"
source = "unused"
crop = {crop}
windows = {windows}
stride = {stride}
tta = 0
mask_layer = 3
"""
Files = dict[str, bytes]


@pytest.fixture
def files() -> Files:
    return {f"{FOLDER}{n}": d for n, d in encode_layers(noise((18, 130, 140))).items()}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a good checkpoint, one with a NaN, and one of another architecture."""
    config = NetworkConfig(
        tile=64,
        unetr_embed_dim=24,
        unetr_heads=2,
        unetr_layers=4,
        unetr_mlp_dim=32,
        unetr_filters=(16, 8, 8),
        unetr_stem=(2, 4),
        unetr_out_channels=4,
        model_type="b0",
        segformer_widths=(8, 8, 8, 8),
        segformer_depths=(1, 1, 1, 1),
        segformer_heads=(1, 1, 2, 2),
        segformer_decoder_dim=16,
    )
    folder = tmp_path_factory.mktemp("checkpoints")
    good = save_checkpoint(folder / "good.ckpt", UnetrSegformer(config), config)
    content = torch.load(good, weights_only=True)
    other = {**content, "hyper_parameters": {**content["hyper_parameters"], "architecture": "unet"}}
    torch.save(other, folder / "other.ckpt")
    next(iter(content["state_dict"].values())).view(-1)[0] = np.nan
    torch.save(content, folder / "nan.ckpt")
    return {name: folder / f"{name}.ckpt" for name in ("good", "other", "nan")}


@pytest.fixture
def title(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Iterator[Callable[..., str]]:
    """Return a function that runs `s5 title` and gives the one line that it ends in."""

    def run(source: str, checkpoint: Path, **change: object) -> str:
        values = {"crop": [0, 130, 0, 140], "windows": [1, 2], "stride": 32} | change
        settings = tmp_path / "settings.toml"
        settings.write_text(SETTINGS.format(**values))
        arguments = [
            "--checkpoint",
            checkpoint,
            "--source",
            source,
            "--settings",
            settings,
            "-o",
            tmp_path / "out",
        ]
        monkeypatch.setattr("sys.argv", ["s5", "title", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert end.value.code == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        lines = [line for line in captured.err.splitlines() if line.startswith("s5: ")]
        assert len(lines) == 1
        assert "Traceback" not in captured.err
        return lines[0]

    yield run
    assert not (tmp_path / "out" / "run").exists()
    assert not list(tmp_path.rglob("*.png"))


def changed(files: Files, number: int, data: bytes) -> Files:
    return files | {f"{FOLDER}{number:02d}.tif": data}


def test_a_wrong_address(
    title: Callable[..., str], checkpoints: dict[str, Path], files: Files
) -> None:
    with LayerServer(files) as server:
        assert "seg/layer/" in title(server.url("seg/layer/"), checkpoints["good"])


def test_one_layer_is_not_there(
    title: Callable[..., str], checkpoints: dict[str, Path], files: Files
) -> None:
    with LayerServer(files, faults=[Fault("*/07.tif", "status", code=404)]) as server:
        assert "07.tif" in title(server.url(FOLDER), checkpoints["good"])
        assert server.bytes_sent() < 100_000


def test_one_number_is_missing(
    title: Callable[..., str], checkpoints: dict[str, Path], files: Files
) -> None:
    del files[f"{FOLDER}07.tif"]
    with LayerServer(files) as server:
        assert "7" in title(server.url(FOLDER), checkpoints["good"])


def test_a_web_page_instead_of_a_layer(
    title: Callable[..., str], checkpoints: dict[str, Path], files: Files
) -> None:
    with LayerServer(files, faults=[Fault("*/05.tif", "html")]) as server:
        line = title(server.url(FOLDER), checkpoints["good"])
        assert "05.tif" in line
        assert "HTML" in line


def test_a_truncated_layer(
    title: Callable[..., str], checkpoints: dict[str, Path], files: Files
) -> None:
    whole = encode_layer(noise((1, 130, 140))[0], "tiles-128")  # its directory is at the start
    with LayerServer(changed(files, 4, whole[: len(whole) // 2])) as server:
        assert "04.tif" in title(server.url(FOLDER), checkpoints["good"])


def test_layers_of_two_sizes(
    title: Callable[..., str], checkpoints: dict[str, Path], files: Files
) -> None:
    with LayerServer(changed(files, 9, encode_layer(noise((1, 120, 140))[0]))) as server:
        line = title(server.url(FOLDER), checkpoints["good"])
        assert "09.tif" in line
        assert "120" in line


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"windows": [1, 9]}, "9"),
        ({"crop": [0, 131, 0, 140]}, "y 0:130"),
        ({"stride": 24}, "does not divide"),
    ],
)
def test_settings_that_do_not_fit(
    title: Callable[..., str],
    checkpoints: dict[str, Path],
    files: Files,
    tmp_path: Path,
    change: dict[str, object],
    complaint: str,
) -> None:
    with LayerServer(files) as server:
        assert complaint in title(server.url(FOLDER), checkpoints["good"], **change)
        # Only the list of layers and their directories were read.
        assert server.bytes_sent() < 18 * 5000
    assert not (tmp_path / "out" / "volume.zarr").exists()


@pytest.mark.parametrize(("name", "complaint"), [("nan", "not finite|NaN"), ("other", "unet")])
def test_checkpoints_that_do_not_fit(
    title: Callable[..., str], checkpoints: dict[str, Path], files: Files, name: str, complaint: str
) -> None:
    with LayerServer(files) as server:
        line = title(server.url(FOLDER), checkpoints[name])
        assert any(word in line for word in complaint.split("|"))
        assert server.bytes_sent() == 0
