"""The title's job on the phantom: a synthetic segment, served over HTTP on this machine.

    python -m pipelines.demo [DIRECTORY]

or ``s5 demo``. Its network, ``checkpoints/demo.ckpt``, was trained by ``pipelines/training.py`` on
other segments with other texts: nobody has shown it this one. No single layer shows the ink.
"""

import sys
from pathlib import Path

import numpy as np

import s5engine as s5
from s5engine.phantom import Phantom, layers_path, serve_phantom

from .title import read_title

SETTINGS = Path(__file__).with_name("demo.toml")
CHECKPOINT = Path(__file__).parents[1] / "checkpoints" / "demo.ckpt"
SEED, INK_CONTRAST = 2, 1.5  # other papyrus than in training


def demo(directory: str | Path = "out/demo", *, budget: int | str | None = None) -> Path:
    """Write ``demo.png`` into ``directory``, beside the volume and the run it comes from."""
    settings = s5.read_title_settings(SETTINGS)
    phantom = Phantom(*settings.box.shape, seed=SEED, ink_contrast=INK_CONTRAST)
    model = s5.load_checkpoint(CHECKPOINT)
    with serve_phantom(phantom, segment=settings.segment) as server:
        address = server.url(layers_path(settings.segment))
        read_title(model, settings, directory, source=address, resume=False, budget=budget)
    volume = s5.open_volume(Path(directory) / "volume.zarr")
    ink = s5.open_run(Path(directory) / "run").ink
    truth, papyrus = phantom.ink(), phantom.papyrus()
    alone = {int(one.layer): s5.best_threshold(one.values, truth, papyrus) for one in volume}
    best = max(alone, key=lambda n: alone[n].f1)
    mean = volume.mean("layer").values
    averaged = s5.best_threshold(mean, truth, papyrus)
    read = s5.score_ink(ink.mean("window"), truth, papyrus)
    as_read = (slice(None, None, 2), slice(None, None, -2))  # half the size, mirrored
    panels = [
        (
            f"The best single layer, {best}: F1 {alone[best].f1:.2f} with the best threshold",
            volume.sel(layer=best).values[as_read] / 255,
        ),
        (
            f"The mean of all layers: F1 {averaged.f1:.2f} with the best threshold",
            mean[as_read] / 255,
        ),
        (
            f"What the network reads there: F1 {read.f1:.2f}",
            s5.composite(ink, reduce=settings.reduce, flip=settings.flip),
        ),
        ("The ink that was put in", truth[as_read].astype(np.float32)),
    ]
    return s5.write_sheet(panels, Path(directory) / "demo.png")


if __name__ == "__main__":
    print(demo(*sys.argv[1:]))
