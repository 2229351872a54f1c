"""Layers over HTTP → zarr → contrast → ink → the title as a picture.

    python -m pipelines.title CHECKPOINT [DIRECTORY]

or ``s5 title --checkpoint CHECKPOINT``. The settings are those of the 2025 submission, in
``title.toml``; only the rows and layers that the crop needs are fetched.
"""

import sys
from pathlib import Path
from typing import Any

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
    folder, how = Path(directory), _how(settings)
    s5.check_prediction(model, settings.box.shape, settings.layers, **how)
    layers = s5.list_layers(source or settings.source)
    volume = s5.ingest(
        layers, folder / "volume.zarr", layers=settings.layers, box=settings.box, resume=resume,
        budget=budget,
    )  # fmt: skip
    mask = s5.papyrus_mask(volume, settings.mask_layer)
    ink = s5.predict_ink(
        s5.to_uint8(s5.contrast(volume)), model, mask=mask, batch=batch, precision=precision,
        budget=budget, **how,
    )  # fmt: skip
    run = s5.write_run(ink, folder / "run", resume=resume)
    picture = s5.composite(
        run.ink, method=settings.method, boost=settings.boost, flip=settings.flip,
        invert=settings.invert, reduce=settings.reduce,
    )  # fmt: skip
    return s5.write_picture(picture, folder / f"{settings.segment}_title.png")


def plan_title(
    model: s5.InkModel,
    settings: s5.TitleSettings,
    *,
    source: str | Path | None = None,
    budget: int | str | None = None,
    batch: int | None = None,
    precision: str = "auto",
    measure: bool = False,
) -> dict[str, s5.IngestPlan | s5.Plan]:
    """Return what the two long steps of `read_title` will cost, from metadata alone."""
    how = _how(settings)
    s5.check_prediction(model, settings.box.shape, settings.layers, **how)
    layers = s5.list_layers(source or settings.source)
    ingest = s5.plan_ingest(
        layers, layers=settings.layers, box=settings.box, budget=budget, measure=measure
    )
    box = settings.box
    volume = s5.open_volume(layers.url).sel(layer=list(settings.layers))
    volume = volume.isel(y=slice(box.y0, box.y1), x=slice(box.x0, box.x1))
    infer = s5.plan(
        s5.to_uint8(s5.contrast(volume)), model, mask=s5.papyrus_mask(volume, settings.mask_layer),
        batch=batch, precision=precision, budget=budget, measure=measure, **how,
    )  # fmt: skip
    return {"fetch": ingest, "infer": infer}


def _how(settings: s5.TitleSettings) -> dict[str, Any]:
    """Return how ink is predicted."""
    return {"windows": settings.windows, "stride": settings.stride, "tta": settings.tta,
            "taper": settings.taper, "edge": settings.edge}  # fmt: skip


if __name__ == "__main__":
    checkpoint, *rest = sys.argv[1:]
    path = read_title(
        s5.load_checkpoint(checkpoint), s5.read_title_settings(SETTINGS), *(rest or ["out/title"])
    )
    print(path)
