"""What `pipelines.title` will cost: bytes to fetch, memory, disk and the network's work."""

from pathlib import Path

import s5engine as s5


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
    how = settings.how
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
