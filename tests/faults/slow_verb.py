"""The command line with two more verbs, slow ones: for a process to be stopped."""

import os
import signal
from pathlib import Path

import numpy as np
import torch

import s5engine as s5
from s5engine import cli
from s5engine.cli_options import Scheduler, Workers, where_dask_works
from s5engine.infer import memory
from s5engine.store import band_plan
from support import noise, texture, volume_of

#: Where the pause is kept: a network or pixels that wait longer are the same ones.
PAUSE = "S5_TEST_PAUSE"


class Slow:
    """Answer after a pause; pickled by its module's name, which workers find on their path."""

    def __call__(self, tiles: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        import time

        time.sleep(float(os.environ[PAUSE]))
        return texture(tiles)


@cli.app.command()
def run(folder: Path, scheduler: Scheduler = "threads", workers: Workers = None) -> None:
    """Predict noise and write the run."""
    memory.BLOCK_SIZES = (256,)
    with where_dask_works(scheduler, workers):
        model = s5.wrap_model(Slow(), tile=64)
        volume = volume_of(noise((16, 700, 700)))
        ink = s5.predict_ink(volume, model, windows=[0], stride=32, tta=0, batch=8)
        s5.write_run(ink, folder)


def slow_pixels(block: np.ndarray) -> np.ndarray:
    """Return the same pixels later."""
    import time

    time.sleep(float(os.environ[PAUSE]))
    return block


@cli.app.command()
def cut(folder: Path, scheduler: Scheduler = "threads", workers: Workers = None) -> None:
    """Cut noise into parts."""
    band_plan.BAND_HEIGHTS = (128,)
    with where_dask_works(scheduler, workers):
        volume = volume_of(noise((4, 1000, 300)), (4, 128, 300))
        slow = volume.data.map_blocks(slow_pixels, dtype=volume.dtype, meta=volume.data._meta)
        s5.split(volume.copy(data=slow), folder, width=100)


if __name__ == "__main__":
    # Whoever starts the tests in the background hands down a Ctrl-C that is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    cli.main()
