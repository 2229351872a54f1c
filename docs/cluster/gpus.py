"""A volume on all GPUs of one machine: ``python docs/cluster/gpus.py VOLUME CHECKPOINT RUN``.

Each CUDA device gets a worker process that sees that device alone and runs the network in one
thread, while its other threads read, blend and write. Without a device it is one on the CPU.
"""

import sys

import s5engine as s5

#: Of all processes together.
BUDGET = "12 GB"


def predict(volume: str, checkpoint: str, run: str) -> None:
    """Predict the volume with a worker for each device."""
    with s5.cluster("processes", budget=BUDGET):
        papyrus = s5.open_volume(volume)
        model = s5.load_checkpoint(checkpoint)
        ink = s5.predict_ink(
            s5.contrast(papyrus),
            model,
            windows=[3, 4, 5],
            mask=s5.papyrus_mask(papyrus),
            budget=BUDGET,
        )
        s5.write_run(ink, run)


if __name__ == "__main__":  # worker processes read this file too
    predict(*sys.argv[1:4])
