"""The title's job on the phantom: a synthetic segment, served over HTTP on this machine.

    python -m pipelines.demo [DIRECTORY]

or ``s5 demo``. Its network is not trained yet: the picture shows the layers, the ink that was put
in, and an untrained prediction beside them, and says so.
"""

import sys
from pathlib import Path

import numpy as np

import s5engine as s5
from s5engine.model import NetworkConfig, build_model
from s5engine.phantom import Phantom, layers_path, serve_phantom

from .title import read_title

SETTINGS = Path(__file__).with_name("demo.toml")
NETWORK = NetworkConfig(
    tile=64, unetr_embed_dim=48, unetr_heads=3, unetr_layers=4, unetr_mlp_dim=64,
    unetr_filters=(32, 16, 8), unetr_stem=(4, 8), unetr_out_channels=8, model_type="b0",
    segformer_widths=(8, 16, 24, 32), segformer_depths=(1, 1, 1, 1), segformer_heads=(1, 2, 3, 4),
    segformer_decoder_dim=32,
)  # fmt: skip


def demo(directory: str | Path = "out/demo", *, budget: int | str | None = None) -> Path:
    """Write ``demo.png`` into ``directory``, beside the volume and the run it comes from."""
    settings = s5.read_title_settings(SETTINGS)
    phantom = Phantom(settings.box.height, settings.box.width, seed=2)
    model = build_model(NETWORK, seed=0)
    with serve_phantom(phantom, segment=settings.segment) as server:
        address = server.url(layers_path(settings.segment))
        read_title(model, settings, directory, source=address, resume=False, budget=budget)
    volume = s5.open_volume(Path(directory) / "volume.zarr").isel(
        y=slice(None, None, 2),
        x=slice(None, None, -2),  # mirrored: as one reads it
    )
    layer = volume.sel(layer=[10])
    ink = s5.open_run(Path(directory) / "run").ink
    answer = s5.composite(ink, reduce=settings.reduce, flip=settings.flip)
    low, high = np.percentile(answer[answer > 0], [2, 98])
    brightened = (answer - low) / max(high - low, 1e-6)
    panels = [
        ("One layer of the phantom, a synthetic segment", layer.values[0] / 255),
        ("The same layer with contrast", s5.contrast(layer).values[0] / 255),
        ("The ink that was put in", phantom.ink()[::2, ::-2].astype(np.float32)),
        ("An UNTRAINED network's answer, brightened: it cannot read", brightened),
    ]
    return s5.write_sheet(panels, Path(directory) / "demo.png")


if __name__ == "__main__":
    print(demo(*sys.argv[1:]))
