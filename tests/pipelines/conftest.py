"""A segment served as the data server does, and a checkpoint of a small network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from s5engine.model import NetworkConfig, UnetrSegformer, save_checkpoint
from s5engine.phantom import LayerServer, Phantom, serve_phantom
from support import HEIGHT, SEGMENT, WIDTH


@pytest.fixture(scope="session")
def phantom() -> Phantom:
    return Phantom(HEIGHT, WIDTH, layers=21, text="ΚΑΚΙΑ", text_box=(40, 260, 10_050, 10_350))


@pytest.fixture(scope="session")
def server(phantom: Phantom) -> Iterator[LayerServer]:
    with serve_phantom(phantom, segment=SEGMENT) as running:
        yield running


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch

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
    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("checkpoint") / "small.ckpt"
    save_checkpoint(path, UnetrSegformer(config).eval(), config)
    return path
