"""Train the demo's network: phantom segments → contrast → tiles with labels → a checkpoint.

    python -m pipelines.training [DIRECTORY]

This is how ``checkpoints/demo.ckpt`` was made; the settings are in ``training.toml``. Its segments
have other texts and other papyrus than the demo's. Real segments go the same way: ingest them, put
``label.png`` and ``ignore.png`` into a folder ``<segment>_<NN>`` for each part, build a tileset.
"""

import sys
from itertools import cycle
from pathlib import Path

import s5engine as s5
from s5engine.model import read_checkpoint, save_checkpoint
from s5engine.phantom import Phantom, write_labelled

SETTINGS = Path(__file__).with_name("training.toml")
TEXTS = (  # noqa: SIM905  # as a list they would fill half of the file
    "ΦΙΛΟΔΗΜΟΥ/ΜΟΥΣΙΚΗΣ Δ/ΑΡΕΤΗ ΒΙΟΥ/ΕΠΙΚΟΥΡΟΣ/ΨΥΧΗΣ ΝΟΜΟΙ/ΞΕΝΩΝ ΛΟΓΟΣ/ΘΕΩΝ ΖΩΗ/ΡΗΤΟΡΙΚΗ Γ/"
    "ΟΙΚΟΝΟΜΙΑ/ΚΥΝΙΚΟΙ ΦΩΣ/ΒΑΣΙΛΕΥΣ Η/ΓΝΩΜΗ ΤΥΧΗΣ/ΔΟΞΑΙ ΧΘΕΣ/ΛΥΠΗ ΨΕΥΔΗΣ/ΟΞΥΡΥΓΧΟΣ/"
    "ΤΕΧΝΩΝ ΑΡΧΗ/ΗΔΟΝΗΣ ΜΟΡΦΗ/ΦΥΣΙΣ ΚΟΣΜΟΥ/ΖΗΤΗΣΙΣ Β/ΣΟΦΙΑΣ ΩΡΑ/ΝΑΥΣ ΘΥΕΛΛΗ/ΥΔΩΡ ΑΝΕΜΟΣ/"
    "ΧΡΟΝΟΣ ΠΥΡ/ΜΝΗΜΗ ΞΥΛΟΥ"
).split("/")
#: Strong ink teaches the network what to look for in the faint; the demo's is 1.5.
CONTRASTS = (1.25, 1.5, 2.0, 2.5, 3.0, 4.0)
SIZE = (640, 2200)


def train_demo(directory: str | Path = "out/training") -> Path:
    """Write ``demo.ckpt`` into ``directory``, beside the segments, tiles and curves behind it."""
    folder = Path(directory)
    phantoms = [
        Phantom(*SIZE, seed=100 + i, text=text, ink_contrast=contrast)
        for i, (text, contrast) in enumerate(zip(TEXTS, cycle(CONTRASTS), strict=False))
    ]
    volumes = [write_labelled(p, folder, segment=f"phantom{i:02d}") for i, p in enumerate(phantoms)]
    parts = [s5.parts(s5.contrast(volume))[1] for volume in volumes]
    settings = s5.read_train_settings(SETTINGS)
    tiles = s5.build_tileset(parts, folder / "labels", folder / "tiles.zarr", tile=64, packed=True)
    best = read_checkpoint(s5.train(tiles, folder / "fit", settings=settings))
    return save_checkpoint(  # half as large: it is read back as float32
        folder / "demo.ckpt",
        best.network().half(),
        best.config,
        hyper_parameters=best.contents["hyper_parameters"],
    )


if __name__ == "__main__":
    print(train_demo(*sys.argv[1:]))
