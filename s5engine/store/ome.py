"""OME-Zarr metadata: what our stores say about themselves and how others' are understood.

References
----------
OME-NGFF 0.4 (Zarr v2) and 0.5 (Zarr v3), https://ngff.openmicroscopy.org/.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from s5engine.errors import FETCH_AFRESH
from s5engine.foreign import LONGEST_SIDE, mapping, reading, text, whole, wholes
from s5engine.runtime.same_work import content_of

ZarrFormat = Literal[2, 3]

#: The key of our own attributes.
KEY = "s5engine"
#: The one multiscale level that a store of ours begins with.
LEVEL = "0"


@dataclass(frozen=True)
class VolumeRecord:
    """What a store of ours knows about its volume; kept in the group's attributes.

    Attributes
    ----------
    segment, source : str
        The segment's name and the address or folder that it was read from.
    fingerprint : dict
        What identifies the source's files: ETags, lengths, times.
    layers : tuple of int
        Layer numbers in the source.
    box : tuple of int
        ``(y0, y1, x0, x1)``, segment pixels.
    dtype : str
        Type of the pixels.
    zarr_format : int
        2 or 3.
    band_height : int
        Rows of one shard and of one unit of the journal, px.
    complete : bool
        Whether all of the volume has been written.
    """

    segment: str
    source: str
    fingerprint: dict[str, Any]
    layers: tuple[int, ...]
    box: tuple[int, int, int, int]
    dtype: str
    zarr_format: ZarrFormat
    band_height: int
    complete: bool = False

    def settings(self) -> dict[str, Any]:
        """Return what a resumed ingest must agree on, apart from the source's fingerprint."""
        whole = asdict(self)
        for key in ("fingerprint", "band_height", "complete"):
            del whole[key]
        return {**whole, "layers": list(self.layers), "box": list(self.box)}

    def content(self) -> dict[str, Any]:
        """Return what the pixels depend on, not where they come from or how they are stored."""
        return {
            "fingerprint": content_of(self.fingerprint),
            "layers": list(self.layers),
            "box": list(self.box),
            "dtype": self.dtype,
        }

    def attributes(self) -> dict[str, Any]:
        """Return the group's attributes: OME's and our own."""
        own = {
            **asdict(self),
            "layers": list(self.layers),
            "box": list(self.box),
            "contrast": None,
            "version": version(),
        }
        y0, _, x0, _ = self.box
        multiscales = {
            "name": self.segment,
            "axes": [{"name": name, "type": "space"} for name in "zyx"],
            "datasets": [dataset(LEVEL, (1, 1, 1), (self.layers[0], y0, x0))],
        }
        if self.zarr_format == 2:
            return {"multiscales": [{"version": "0.4", **multiscales}], KEY: own}
        return {"ome": {"version": "0.5", "multiscales": [multiscales]}, KEY: own}


def version() -> str:
    """Return the installed version of s5engine, or "unknown" in a bare working tree."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("s5engine")
    except PackageNotFoundError:
        return "unknown"


def read_record(attributes: Mapping[str, Any], where: str) -> VolumeRecord | None:
    """Return the record in a group's attributes, or None if the store is not one of ours.

    Raises
    ------
    StoreError
        If there is a record and it cannot be understood.
    """
    own = attributes.get(KEY)
    if not isinstance(own, Mapping) or "band_height" not in own:
        return None
    fix = FETCH_AFRESH
    with reading(f"The s5engine attributes of {where}", fix, "are damaged"):
        y0, y1, x0, x1 = wholes(own["box"], 4)
        layers = wholes(own["layers"])
        if not (y0 < y1 and x0 < x1 and len(set(layers)) == len(layers)):
            raise ValueError(f"a box {(y0, y1, x0, x1)} or layers that there cannot be")
        return VolumeRecord(
            segment=text(own["segment"]),
            source=text(own["source"]),
            fingerprint=mapping(own["fingerprint"]),
            layers=layers,
            box=(y0, y1, x0, x1),
            dtype=text(own["dtype"]),
            zarr_format=2 if whole(own["zarr_format"], 2, 3) == 2 else 3,
            band_height=whole(own["band_height"], 1),
            complete=own["complete"] is True,
        )


@dataclass(frozen=True)
class Level:
    """One level of an image: its path in the group, and its scale if it is told (else empty)."""

    path: str
    scale: tuple[float, ...]


def _multiscale(attributes: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return what is said of the first image, if anything is; its levels are those with a path."""
    ome = attributes.get("ome", attributes)
    scales = ome.get("multiscales") if isinstance(ome, Mapping) else None
    if not isinstance(scales, Sequence) or not scales or not isinstance(scales[0], Mapping):
        return None
    told = scales[0].get("datasets")
    datasets = told if isinstance(told, list | tuple) else ()
    sound = [d for d in datasets if isinstance(d, Mapping) and isinstance(d.get("path"), str)]
    return {**scales[0], "datasets": sound}


def level_zero(attributes: Mapping[str, Any]) -> tuple[str, tuple[str, ...]] | None:
    """Return the path of the full-resolution array and the names of its axes, if they are told.

    Understands OME-NGFF from 0.1 (no axes, or plain names) to 0.5; None without multiscales.
    """
    told, levels = _multiscale(attributes), read_levels(attributes)
    if told is None or not levels:
        return None
    axes = told.get("axes")
    axes = axes if isinstance(axes, list | tuple) else ()
    names = tuple(str(a.get("name", "")) if isinstance(a, Mapping) else str(a) for a in axes)
    return levels[0].path, names


def holds_images(attributes: Mapping[str, Any]) -> bool:
    """Whether a group is the root that bioformats2raw writes: its images are numbered from 0."""
    ome = attributes.get("ome", attributes)
    return "bioformats2raw.layout" in attributes or (
        isinstance(ome, Mapping) and "bioformats2raw.layout" in ome
    )


def read_levels(attributes: Mapping[str, Any]) -> list[Level]:
    """Return the levels of the first image, finest first; none without multiscales."""
    told = _multiscale(attributes) or {"datasets": []}
    return [Level(d["path"].strip("/"), _scale(d)) for d in told["datasets"]]


def _scale(dataset: Mapping[str, Any]) -> tuple[float, ...]:
    transforms = dataset.get("coordinateTransformations")
    for transform in transforms if isinstance(transforms, list) else ():
        if isinstance(transform, Mapping) and isinstance(transform.get("scale"), Sequence):
            scale = transform["scale"]
            if all(isinstance(v, int | float) and 0 < v < LONGEST_SIDE for v in scale):
                return tuple(map(float, scale))
    return ()


def list_level(
    attributes: Mapping[str, Any],
    zarr_format: int,
    name: str,
    axes: Sequence[tuple[str, str]],
    path: str,
    *,
    scale: Sequence[float],
    translation: Sequence[float],
) -> dict[str, Any]:
    """Return a group's attributes with one more level; the image begins with its first one."""
    told = dict(_multiscale(attributes) or {"name": name, "datasets": []})
    told["axes"] = [{"name": axis, "type": kind} for axis, kind in axes]
    # What the coarser levels are made by: y and x halved, layers never.
    told["type"] = "mean"
    kept = [d for d in told["datasets"] if d["path"] != path]
    told["datasets"] = [*kept, dataset(path, scale, translation)]
    return _with_multiscale(attributes, told, zarr_format)


def channel_names(names: Sequence[str]) -> dict[str, Any]:
    """Return what viewers are told of the windows of ink: their names, and that ink is 0…1."""
    window = {"min": 0, "max": 1, "start": 0, "end": 1}
    channels = [
        {"label": name, "color": "FFFFFF", "active": number == 0, "window": window}
        for number, name in enumerate(names)
    ]
    return {"channels": channels, "rdefs": {"model": "greyscale"}}


def unlist_levels(attributes: Mapping[str, Any], zarr_format: int) -> dict[str, Any]:
    """Return a group's attributes with the full resolution as its only level."""
    told = dict(_multiscale(attributes) or {})
    if told:
        told["datasets"] = told["datasets"][:1]
    return _with_multiscale(attributes, told, zarr_format)


def _with_multiscale(
    attributes: Mapping[str, Any], told: Mapping[str, Any], zarr_format: int
) -> dict[str, Any]:
    if zarr_format == 2:
        return {**attributes, "multiscales": [{"version": "0.4", **told}]}
    return {**attributes, "ome": {"version": "0.5", "multiscales": [told]}}


def dataset(path: str, scale: Sequence[float], translation: Sequence[float]) -> dict[str, Any]:
    """Return what multiscales metadata say of one level: pixel · scale + translation."""
    return {
        "path": path,
        "coordinateTransformations": [
            {"type": "scale", "scale": [float(v) for v in scale]},
            {"type": "translation", "translation": [float(v) for v in translation]},
        ],
    }
