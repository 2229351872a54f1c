"""What a view shows: one or two panels of ink and surface, and the label files of their parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s5engine.address import place_of, shown
from s5engine.errors import InvalidArgumentError, S5Error, StoreError
from s5engine.geometry import Box
from s5engine.infer.run import Run, open_run
from s5engine.store.axes import axis_places
from s5engine.store.files import open_zarr_node
from s5engine.store.nodes import find_member
from s5engine.store.ome import level_zero, read_levels
from s5engine.store.pyramid import open_pyramid
from s5engine.view.cache import TileCache
from s5engine.view.labels import Labels, open_labels
from s5engine.view.pictures import InkPicture, SurfacePicture
from s5engine.view.sketch import Sketch

if TYPE_CHECKING:
    import xarray as xr

#: At most so many panels side by side.
MOST_PANELS = 2


@dataclass
class Panel:
    """Ink, the surface below it, or both.

    Attributes
    ----------
    title : str
    ink : InkPicture or None
    surface : SurfacePicture or None
    run : Run or None
        Where the ink comes from; one that still goes is looked at again and again.
    """

    title: str
    ink: InkPicture | None = None
    surface: SurfacePicture | None = None
    run: Run | None = None

    @property
    def box(self) -> Box:
        """What it covers, segment pixels."""
        return _union([_box(p.origin, p.shape) for p in (self.ink, self.surface) if p is not None])


@dataclass
class Scene:
    """All that one server shows, opened once and shared by its pages.

    Attributes
    ----------
    panels : list of Panel
    segment : str
    saves : Path
        Where pictures are saved; made at the first one.
    labels : Labels or None
    sketch : Sketch or None
        What is drawn on them and not saved yet.
    cache : TileCache
    """

    panels: list[Panel]
    segment: str
    saves: Path
    labels: Labels | None = None
    sketch: Sketch | None = None
    cache: TileCache = field(default_factory=TileCache)

    @property
    def box(self) -> Box:
        """What all panels cover together, segment pixels."""
        return _union([panel.box for panel in self.panels])

    @property
    def layers(self) -> list[int]:
        """Layers that every surface has."""
        found = [panel.surface.layers for panel in self.panels if panel.surface is not None]
        return [n for n in found[0] if all(n in other for other in found)] if found else []

    @property
    def choices(self) -> list[str]:
        """What every panel's ink can show."""
        found = [panel.ink.choices for panel in self.panels if panel.ink is not None]
        return [c for c in found[0] if all(c in other for other in found)] if found else []


def open_scene(
    places: Sequence[str | Path],
    *,
    labels: str | Path | None = None,
    proposal: str | Path | None = None,
    saves: str | Path = "out/view",
) -> Scene:
    """Open what is to be shown; only metadata is read.

    Parameters
    ----------
    places : sequence of str or Path
        One or two runs (also unfinished ones) or stores of ink, and the surface volume below them;
        or volumes alone. The volume that a run was predicted from is found beside it.
    labels : str or Path, optional
        Folder of folders ``<segment>_<NN>`` with ``label.png``, ``ignore.png``, ``mask.png``.
    proposal : str or Path, optional
        The like, from `s5engine.relabel`, to start drawing from.
    saves : str or Path
        Folder for saved pictures.

    Raises
    ------
    StoreError
        If a place holds neither a run nor a volume.
    InvalidArgumentError
        If these do not go together.
    """
    if proposal is not None and labels is None:
        raise InvalidArgumentError(
            "A proposal needs a folder of labels, where what is drawn is saved.",
            "Name it with --labels.",
        )
    opened = [_open(str(place)) for place in places]
    panels = [panel for panel in opened if panel.ink is not None]
    volumes = [panel for panel in opened if panel.ink is None]
    panels, volumes = (panels, volumes) if panels else (volumes, [])
    if not 1 <= len(panels) <= MOST_PANELS or len(volumes) > len(panels):
        raise InvalidArgumentError(
            f"{len(panels)} places to show and {len(volumes)} volumes below them do not make a "
            "view.",
            "Name one or two runs, or one or two volumes; and for runs, the volume below them.",
        )
    for number, panel in enumerate(panels):
        if volumes:
            panel.surface = volumes[min(number, len(volumes) - 1)].surface
        elif panel.run is not None:
            panel.surface = _surface_of(panel.run)
    segment = _segment(panels)
    scene = Scene(panels, segment, Path(saves))
    if labels is not None:
        scene.labels = open_labels(labels, segment, _drawable(scene), proposal)
        scene.sketch = Sketch(scene.labels)
    return scene


def show_ink(ink: xr.DataArray, surface: xr.DataArray | None, saves: str | Path) -> Scene:
    """Return what shows ink that is already open, and the volume below it.

    Raises
    ------
    InvalidArgumentError
        If they have not the dims of ink and of a volume.
    """
    if getattr(ink, "dims", None) == ("layer", "y", "x") and surface is None:
        panel = Panel("volume", surface=SurfacePicture(f"volume {id(ink)}", [ink]))
    elif getattr(ink, "dims", None) == ("window", "y", "x"):
        panel = Panel("ink", ink=InkPicture(f"ink {id(ink)}", lambda: [ink]))
    else:
        raise InvalidArgumentError(
            f"Ink has the dims (window, y, x), not {getattr(ink, 'dims', type(ink).__name__)}.",
            "Show what predict_ink, open_run(…).ink or open_volume return.",
        )
    if surface is not None:
        if getattr(surface, "dims", None) != ("layer", "y", "x"):
            raise InvalidArgumentError("The surface has the dims (layer, y, x).")
        panel.surface = SurfacePicture(f"volume {id(surface)}", [surface])
    return Scene([panel], _segment([panel]), Path(saves))


def _open(place: str) -> Panel:
    """Open one place as a panel."""
    found = place_of(place)
    path = Path(shown(str(found)))
    if isinstance(found, Path) and not found.exists():
        raise StoreError(f"There is nothing at {place}.", "Name a run's folder or a zarr store.")
    if isinstance(found, Path) and (found / "run.json").exists():
        run = open_run(path, partial=True)
        return Panel(path.name, ink=InkPicture(place, lambda: _run_levels(run)), run=run)
    if open_zarr_node(place) is None:
        raise StoreError(
            f"{place} holds neither a run nor a zarr store.",
            "Layer files are made into a store with `s5 fetch`.",
        )
    pyramid = open_pyramid(place, partial=True)
    if pyramid[0].dims[0] == "window":
        return Panel(path.name, ink=InkPicture(place, lambda: open_pyramid(place, partial=True)))
    return Panel(path.name, surface=SurfacePicture(place, pyramid, _stored_chunks(place)))


def _run_levels(run: Run) -> list[xr.DataArray]:
    """Return the levels of a run's ink, also of one that has none stored yet."""
    if (run.directory / "ink.zarr").is_dir():
        return open_pyramid(run.directory, partial=True)
    return [run.ink]


def _stored_chunks(place: str) -> list[tuple[int, int, int]]:
    """Return what is decoded at once of each level: (layers, rows, columns)."""
    import zarr

    node = open_zarr_node(place)
    if not isinstance(node, zarr.Group):
        return []
    told = level_zero(dict(node.attrs))
    chunks = []
    for level in read_levels(dict(node.attrs)):
        array = find_member(node, level.path)
        if not isinstance(array, zarr.Array) or array.ndim != 3:
            return []
        order = axis_places(array, told[1] if told else (), place)
        depth, rows, columns = (array.chunks[axis] for axis in order)
        chunks.append((depth, rows, columns))
    return chunks


def _surface_of(run: Run) -> SurfacePicture | None:
    """Return the volume that a run was predicted from, if it lies beside the run's folder."""
    wanted = run.record.get("settings", {})
    for place in sorted(run.directory.absolute().parent.glob("*.zarr")):
        try:
            node = open_zarr_node(place)
        except S5Error:
            continue  # a store that is not ours to judge
        own: Any = dict(node.attrs).get("s5engine") if node is not None else None
        if isinstance(own, dict) and all(
            own.get(key) is not None and own.get(key) == wanted.get(key)
            for key in ("segment", "source", "fingerprint")
        ):
            pyramid = open_pyramid(place, partial=True)
            return SurfacePicture(str(place), pyramid, _stored_chunks(str(place)))
    return None


def _segment(panels: Sequence[Panel]) -> str:
    """Return the segment that all panels show.

    Raises
    ------
    InvalidArgumentError
        If they show different ones, or do not overlap.
    """
    inks = [p.ink for p in panels if p.ink is not None]
    surfaces = [p.surface for p in panels if p.surface is not None]
    names = {str(ink.ink.attrs["segment"]) for ink in inks if ink.ink.attrs.get("segment")}
    # A store of somebody else's is only called as its folder.
    ours = [s for s in surfaces if s.volume.attrs.get("fingerprint")]
    names |= {str(surface.volume.attrs["segment"]) for surface in ours}
    if len(names) > 1:
        raise InvalidArgumentError(
            f"These show different segments: {', '.join(sorted(names))}.",
            "Show what belongs to one segment.",
        )
    shown: list[InkPicture | SurfacePicture] = [*inks, *surfaces]
    boxes = [_box(picture.origin, picture.shape) for picture in shown]
    for box in boxes[1:]:
        if not _meet(boxes[0], box):
            raise InvalidArgumentError(
                f"What is shown does not overlap: {tuple(boxes[0])} and {tuple(box)} (y0, y1, x0, "
                "x1, segment pixels).",
                "Show what belongs to one segment.",
            )
    return names.pop() if names else panels[0].title.removesuffix(".zarr")


def _box(origin: tuple[int, int], shape: tuple[int, int]) -> Box:
    return Box(origin[0], origin[0] + shape[0], origin[1], origin[1] + shape[1])


def _meet(one: Box, other: Box) -> bool:
    rows = max(one.y0, other.y0) < min(one.y1, other.y1)
    return rows and max(one.x0, other.x0) < min(one.x1, other.x1)


def _union(boxes: Sequence[Box]) -> Box:
    y0, y1, x0, x1 = zip(*boxes, strict=True)
    return Box(min(y0), max(y1), min(x0), max(x1))


def _drawable(scene: Scene) -> Box:
    """Return what the parts are cut from: the volume's pixels, or the ink's where there is none."""
    surface = scene.panels[0].surface
    return scene.box if surface is None else _box(surface.origin, surface.shape)
