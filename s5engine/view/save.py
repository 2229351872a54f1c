"""What is seen, as a PNG at screen or full resolution, with its settings beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from s5engine.atomic import atomic_write
from s5engine.errors import InvalidArgumentError, StoreError
from s5engine.geometry import Box
from s5engine.paths import path_name
from s5engine.store.png import write_gray_png
from s5engine.view.colours import OVERLAY_OPACITY, OVERLAYS, colour_map, relight
from s5engine.view.composite import composite, to_gray, window_scales
from s5engine.view.picture_levels import Pixels
from s5engine.view.pictures import MAX, MEAN, Gray, InkPicture, Picture
from s5engine.view.pixels import Wanted, read_whole
from s5engine.view.region import Span
from s5engine.view.scene import Panel, Scene
from s5engine.view.url import ViewSettings

if TYPE_CHECKING:
    import xarray as xr

#: A colour picture is made in memory: at most so many pixels.
MOST_COLOUR = 64_000_000
#: Columns of a band of gray that are worked on at once, and rows of a band, px.
_COLUMNS, _ROWS = 4096, 1024


def save_view(
    scene: Scene, panel: Panel, settings: ViewSettings, box: Box, *, reduction: int = 1
) -> Path:
    """Save a rectangle of a panel.

    Ink alone in gray (no surface below, or opacity 1, and no overlays) is, at full resolution, the
    same as `composite` of that box with the same settings and ``reduce=1``.

    Parameters
    ----------
    scene : Scene
        Its ``saves`` folder gets ``<segment>_y<y0>_x<x0>.png`` and ``.json``, numbered.
    panel : Panel
    settings : ViewSettings
    box : Box
        Segment pixels; cut to what the panel has.
    reduction : int
        Segment pixels along a pixel of the picture; one of the levels'.

    Returns
    -------
    Path
        The PNG.

    Raises
    ------
    InvalidArgumentError
        If nothing of the panel lies in the box, or a colour picture would be too large.
    StoreError
        If it cannot be written.
    """
    whole = panel.box
    cut = Box(
        max(box.y0, whole.y0), min(box.y1, whole.y1), max(box.x0, whole.x0), min(box.x1, whole.x1)
    )
    if cut.height <= 0 or cut.width <= 0:
        raise InvalidArgumentError("Nothing of the picture is on the screen.", "Move back to it.")
    plain = _is_plain(scene, panel, settings)
    if not plain and cut.height * cut.width / reduction**2 > MOST_COLOUR:
        raise InvalidArgumentError(
            f"A colour picture of {cut.height} × {cut.width} px is too large to save whole.",
            "Zoom in, save at screen resolution, or show the ink alone in gray.",
        )
    try:
        scene.saves.mkdir(parents=True, exist_ok=True)
        target = _free_name(
            scene.saves, f"{path_name(scene.segment, 'segment')}_y{cut.y0}_x{cut.x0}"
        )
        if plain and panel.ink is not None and reduction == 1:
            _write_gray(panel, settings, cut, target)
        else:
            _write_colour(colours_of(scene, panel, settings, cut, reduction), target)
        told = _record(scene, panel, settings, cut, reduction)
        beside = target.with_suffix(".json")
        beside.write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", "utf-8")
    except OSError as error:
        raise StoreError(
            f"The picture cannot be saved in {scene.saves}: {error.strerror}.",
            "Make room, or choose another folder with --out.",
        ) from error
    return target


def _is_plain(scene: Scene, panel: Panel, settings: ViewSettings) -> bool:
    """Whether only ink in gray is seen."""
    overlaid = scene.labels is not None and any(getattr(settings, k) for k in OVERLAYS)
    alone = panel.surface is None or settings.opacity == 1
    return panel.ink is not None and settings.colour == "gray" and alone and not overlaid


def _free_name(folder: Path, stem: str) -> Path:
    number = 1
    while (folder / f"{stem}_{number}.png").exists():
        number += 1
    return folder / f"{stem}_{number}.png"


def _ink_of(picture: InkPicture, settings: ViewSettings, box: Box) -> xr.DataArray:
    """Return a box of the windows that are shown, at full resolution."""
    top, left = picture.origin
    return picture.ink.isel(
        window=picture.planes(settings.show),
        y=slice(box.y0 - top, box.y1 - top),
        x=slice(box.x0 - left, box.x1 - left),
    )


def _ink_block(
    picture: InkPicture, settings: ViewSettings, box: Box, scales: npt.NDArray[np.float32]
) -> Pixels:
    """Return a box of ink as `composite` shows it; ``scales`` are those of all that is saved."""
    ink = _ink_of(picture, settings, box) / scales[:, None, None]
    method: Any = MAX if settings.show == MAX else MEAN
    return composite(
        ink,
        method=method,
        boost=settings.boost,
        flip=settings.flip,
        invert=settings.invert,
        reduce=1,
    )


def _write_gray(panel: Panel, settings: ViewSettings, box: Box, target: Path) -> None:
    """Write ink in gray at full resolution, a band at a time."""
    whole = panel.ink
    if whole is None:
        return
    top, left = whole.origin
    inside = Box(
        max(box.y0, top),
        min(box.y1, top + whole.shape[0]),
        max(box.x0, left),
        min(box.x1, left + whole.shape[1]),
    )
    if inside.height <= 0 or inside.width <= 0:
        raise InvalidArgumentError("No ink is on the screen.", "Move back to it.")
    write_gray_png(target, inside.shape, _gray_bands(whole, settings, inside))


def _gray_bands(picture: InkPicture, settings: ViewSettings, box: Box) -> Iterator[Gray]:
    # Ink above 1 is divided by its maximum in all of the picture, not in each piece of it.
    scales = window_scales(_ink_of(picture, settings, box).data)
    for y in range(box.y0, box.y1, _ROWS):
        rows = min(_ROWS, box.y1 - y)
        band = np.empty((rows, box.width), np.uint8)
        for x in range(box.x0, box.x1, _COLUMNS):
            piece = Box(y, y + rows, x, min(x + _COLUMNS, box.x1))
            first, last = piece.x0 - box.x0, piece.x1 - box.x0
            place = (
                slice(box.width - last, box.width - first)
                if settings.flip
                else (slice(first, last))
            )
            band[:, place] = to_gray(_ink_block(picture, settings, piece, scales))
        yield band


def colours_of(
    scene: Scene, panel: Panel, settings: ViewSettings, box: Box, reduction: int
) -> npt.NDArray[np.uint8]:
    """Return a rectangle as the page shows it: (y, x, 3) red, green, blue."""
    shape = -(-box.height // reduction), -(-box.width // reduction)
    seen = np.zeros((*shape, 3), np.float32)
    if panel.surface is not None:
        layer = settings.layer if settings.layer is not None else middle(scene.layers)
        gray = _gray_of(panel.surface, box, reduction, shape, str(layer))
        seen += relight(gray, settings.brightness, settings.contrast)[..., None]
    if panel.ink is not None:
        gray = _gray_of(panel.ink, box, reduction, shape, settings.show)
        boosted = np.minimum(gray * np.float32(settings.boost), 255).astype(np.uint8)
        table = colour_map(settings.colour)
        colours = table[255 - boosted if settings.invert else boosted].astype(np.float32)
        opaque = 1.0 if panel.surface is None else settings.opacity
        _mix(seen, colours[..., :3], colours[..., 3:] / 255 * np.float32(opaque))
    if scene.labels is not None:
        for kind, colour in OVERLAYS.items():
            if getattr(settings, kind):
                mask = _gray_of(scene.labels.pictures[kind], box, reduction, shape, "") >= 128
                _mix(seen, np.array(colour, np.float32), mask[..., None] * OVERLAY_OPACITY)
    seen = seen[:, ::-1] if settings.flip else seen
    return np.clip(np.round(seen), 0, 255).astype(np.uint8)


def middle(layers: list[int]) -> int:
    """Return the middle one."""
    return layers[len(layers) // 2]


def _mix(below: Pixels, above: Pixels, share: Any) -> None:
    below *= 1 - share
    below += above * share


def _gray_of(
    picture: Picture, box: Box, reduction: int, shape: tuple[int, int], choice: str
) -> Gray:
    """Return a picture's pixels of a box at a level's resolution, 0 where it has none."""
    levels = picture.levels
    number = max(i for i, level in enumerate(levels) if level.reduction <= max(reduction, 1))
    level = levels[number]
    step = reduction / level.reduction
    top, left = (box.y0 - picture.origin[0]) // reduction, (box.x0 - picture.origin[1]) // reduction
    rows = [int(v * step) for v in (top, top + shape[0])]
    columns = [int(v * step) for v in (left, left + shape[1])]
    gray = np.zeros((rows[1] - rows[0], columns[1] - columns[0]), np.uint8)
    y0, x0 = max(0, rows[0]), max(0, columns[0])
    y1, x1 = min(level.shape[0], rows[1]), min(level.shape[1], columns[1])
    if y0 < y1 and x0 < x1:
        span = Span(number, y0, y1, x0, x1)
        place = np.s_[y0 - rows[0] : y1 - rows[0], x0 - columns[0] : x1 - columns[0]]
        gray[place] = read_whole(Wanted(picture, span, choice))
    return gray if step == 1 else gray[:: int(step), :: int(step)]


def _write_colour(pixels: npt.NDArray[np.uint8], target: Path) -> None:
    from PIL import Image

    with atomic_write(target) as partial:
        Image.fromarray(pixels).save(partial, format="PNG")


def _record(
    scene: Scene, panel: Panel, settings: ViewSettings, box: Box, reduction: int
) -> dict[str, Any]:
    """Return what a saved picture shows, as JSON values."""
    return {
        "segment": scene.segment,
        "box": list(box),
        "reduction": reduction,
        "settings": asdict(settings),
        "ink": None if panel.ink is None else panel.ink.name,
        "surface": None if panel.surface is None else panel.surface.name,
    }
