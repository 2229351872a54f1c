"""Layers over HTTP → zarr → contrast → ink → the title as a picture.

    python -m pipelines.title CHECKPOINT [DIRECTORY]

or ``s5 title --checkpoint CHECKPOINT``. The settings are those of the 2025 submission, in
``title.toml``; only the rows and layers that the crop needs are fetched.
"""

import sys
from pathlib import Path

import s5engine as s5

SETTINGS = Path(__file__).with_name("title.toml")


def read_title(
    model: s5.InkModel,
    settings: s5.TitleSettings,
    directory: str | Path,
    *,
    source: str | Path | None = None,
    resume: bool = True,
    budget: int | str | None = None,
    batch: int | None = None,
    precision: str = "auto",
) -> Path:
    """Write the title's picture into ``directory``, beside the volume and the run it comes from."""
    folder, how = Path(directory), settings.how
    s5.check_prediction(model, settings.box.shape, settings.layers, **how)
    layers = s5.list_layers(source or settings.source, layers=settings.layers)
    volume = s5.ingest(
        layers,
        folder / "volume.zarr",
        layers=settings.layers,
        box=settings.box,
        resume=resume,
        budget=budget,
    )
    ink = s5.predict_ink(
        s5.to_uint8(s5.contrast(volume)),
        model,
        mask=s5.papyrus_mask(volume, settings.mask_layer),
        batch=batch,
        precision=precision,
        budget=budget,
        **how,
    )
    run = s5.write_run(ink, folder / "run", resume=resume)
    picture = s5.composite(run.ink, **settings.picture)
    return s5.write_picture(picture, folder / f"{settings.segment}_title.png")


if __name__ == "__main__":
    checkpoint, *rest = sys.argv[1:]
    path = read_title(
        s5.load_checkpoint(checkpoint), s5.read_title_settings(SETTINGS), *(rest or ["out/title"])
    )
    print(path)
