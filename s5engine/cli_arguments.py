"""What words on the command line mean: addresses, numbers, crops, masks, a whole prediction."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from s5engine.address import local_path
from s5engine.console import say
from s5engine.errors import InvalidArgumentError

if TYPE_CHECKING:
    import xarray as xr

    from s5engine import IngestPlan, InkModel, Plan, TitleSettings


def address_of(text: str) -> str:
    """Return an address; a bare segment name that the catalogue knows is looked up there."""
    from s5engine.source.catalog import SEGMENTS

    path = local_path(text)
    return SEGMENTS.get(text, text) if path is not None and not path.exists() else text


def numbers(text: str | None) -> list[int] | None:
    """Return the numbers in a text such as ``3-5,9``."""
    if text is None:
        return None
    try:
        spans = [[int(n) for n in piece.split("-")] for piece in text.split(",")]
    except ValueError:
        spans = []
    if not spans or any(len(s) > 2 or s[0] > s[-1] for s in spans):
        raise InvalidArgumentError(f"{text!r} is not a list of numbers.", "Write 3-5 or 3,4,5.")
    return [n for s in spans for n in range(s[0], s[-1] + 1)]


def box_of(text: str | None) -> tuple[int, ...] | None:
    """Return a crop given as ``y0,y1,x0,x1``."""
    if text is None:
        return None
    try:
        box = tuple(int(n) for n in text.split(","))
    except ValueError:
        box = ()
    if len(box) != 4:
        raise InvalidArgumentError(
            f"{text!r} is not a crop.", "Write y0,y1,x0,x1, for example 0,3100,0,6100."
        )
    return box


def cut(volume: xr.DataArray, part: int | None, box: tuple[int, ...] | None) -> xr.DataArray:
    """Return one part of the volume, or a crop in segment pixels, or both."""
    import s5engine as s5

    if part is not None:
        pieces = s5.parts(volume)
        if part not in pieces:
            raise InvalidArgumentError(f"There is no part {part}: the volume has {list(pieces)}.")
        volume = pieces[part]
    if box is None:
        return volume
    y0, y1, x0, x1 = box
    top, left = int(volume.y[0]), int(volume.x[0])
    bottom, right = top + volume.sizes["y"], left + volume.sizes["x"]
    if not (top <= y0 < y1 <= bottom and left <= x0 < x1 <= right):
        raise InvalidArgumentError(
            f"The crop y {y0}:{y1}, x {x0}:{x1} is empty or not inside the volume, which has "
            f"y {top}:{bottom}, x {left}:{right}."
        )
    return volume.isel(y=slice(y0 - top, y1 - top), x=slice(x0 - left, x1 - left))


def mask_of(choice: str, volume: xr.DataArray) -> Any:
    """Return the papyrus mask that was chosen."""
    import s5engine as s5

    if choice == "none":
        return None
    return s5.papyrus_mask(volume) if choice == "auto" else s5.read_mask(choice)


def layer_files(address: str) -> str | None:
    """Return the address if it is one of layer files, which would be fetched; else None."""
    from s5engine.errors import SourceError

    where = address_of(address)
    place = local_path(where)
    if where.rstrip("/").endswith(".zarr") or (place is not None and place.exists()):
        return None
    import s5engine as s5

    try:
        s5.list_layers(where)
    except SourceError:
        return None
    return where


def prediction(
    volume: str,
    checkpoint: Path,
    windows: str,
    *,
    part: int | None,
    crop: str | None,
    mask: str,
    device: str | None,
    trust: bool,
    **asked: Any,
) -> tuple[xr.DataArray, Any, dict[str, Any]]:
    """Return what `predict_ink` is to be called with: volume, model and the rest."""
    import s5engine as s5

    model = s5.load_checkpoint(checkpoint, device=device, trust=trust)
    plain = cut(s5.open_volume(address_of(volume)), part, box_of(crop))
    contrasted = plain if plain.attrs.get("contrast") else s5.contrast(plain)
    if contrasted.dtype != "uint8":
        say(f"infer: {contrasted.dtype} pixels are scaled to 8 bits, each layer from its own range")
    asked |= {"windows": numbers(windows) or [], "mask": mask_of(mask, plain)}
    return s5.to_uint8(contrasted), model, asked


def cutting(
    source: str,
    parts: str | None,
    layers: str | None,
    width: int,
    first_offset: int,
    no_contrast: bool,
    budget: str | None,
) -> tuple[Any, dict[str, Any]]:
    """Return what `split` is to be called with: source and the rest."""
    import s5engine as s5
    from s5engine.ops.contrast import DEFAULT_POINTS

    address = address_of(source)
    opened = s5.open_volume(address)
    points = None if no_contrast else DEFAULT_POINTS
    asked = {
        "width": width,
        "first_offset": first_offset,
        "parts": numbers(parts),
        "layers": numbers(layers),
        "contrast": points,
        "budget": budget,
        "lookup": None if points is None else s5.lookup_table(points, opened.dtype),
    }
    return opened if address.rstrip("/").endswith(".zarr") else address, asked


def plan_title(
    model: InkModel,
    settings: TitleSettings,
    *,
    source: str | Path | None,
    budget: str | None,
    batch: int | None,
    precision: str,
    measure: bool,
) -> dict[str, IngestPlan | Plan]:
    """Return what the two long steps of the title will cost, from metadata alone."""
    import s5engine as s5

    how, box = settings.how, settings.box
    s5.check_prediction(model, box.shape, settings.layers, **how)
    layers = s5.list_layers(source or settings.source)
    fetch = s5.plan_ingest(layers, layers=settings.layers, box=box, budget=budget, measure=measure)
    volume = s5.open_volume(layers.url).sel(layer=list(settings.layers))
    volume = volume.isel(y=slice(box.y0, box.y1), x=slice(box.x0, box.x1))
    infer = s5.plan(
        s5.to_uint8(s5.contrast(volume)),
        model,
        mask=s5.papyrus_mask(volume, settings.mask_layer),
        batch=batch,
        precision=precision,
        budget=budget,
        measure=measure,
        **how,
    )
    return {"fetch": fetch, "infer": infer}
