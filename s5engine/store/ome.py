"""OME-Zarr metadata: what our stores say about themselves and how others' are understood.

References
----------
OME-NGFF 0.4 (Zarr v2) and 0.5 (Zarr v3), https://ngff.openmicroscopy.org/.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from s5engine.errors import StoreError

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
            "datasets": [
                {
                    "path": LEVEL,
                    "coordinateTransformations": [
                        {"type": "scale", "scale": [1.0, 1.0, 1.0]},
                        {
                            "type": "translation",
                            "translation": [float(self.layers[0]), float(y0), float(x0)],
                        },
                    ],
                }
            ],
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
    try:
        y0, y1, x0, x1 = (int(v) for v in own["box"])
        return VolumeRecord(
            segment=str(own["segment"]),
            source=str(own["source"]),
            fingerprint=dict(own["fingerprint"]),
            layers=tuple(int(v) for v in own["layers"]),
            box=(y0, y1, x0, x1),
            dtype=str(own["dtype"]),
            zarr_format=2 if own["zarr_format"] == 2 else 3,
            band_height=int(own["band_height"]),
            complete=bool(own["complete"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(
            f"The s5engine attributes of {where} are damaged ({error!r}).",
            "Ingest it again with resume=False.",
        ) from error


def level_zero(attributes: Mapping[str, Any]) -> tuple[str, tuple[str, ...]] | None:
    """Return the path of the full-resolution array and the names of its axes, if they are told.

    Understands OME-NGFF from 0.1 (no axes, or plain names) to 0.5; None without multiscales.
    """
    ome = attributes.get("ome", attributes)
    scales = ome.get("multiscales") if isinstance(ome, Mapping) else None
    if not isinstance(scales, Sequence) or not scales or not isinstance(scales[0], Mapping):
        return None
    datasets = scales[0].get("datasets")
    if not isinstance(datasets, Sequence) or not datasets or "path" not in datasets[0]:
        return None
    axes = scales[0].get("axes", ())
    names = tuple(str(a.get("name", "")) if isinstance(a, Mapping) else str(a) for a in axes)
    return str(datasets[0]["path"]).strip("/"), names


def axis_order(shape: Sequence[int], names: Sequence[str]) -> tuple[int, int, int]:
    """Return which of an array's three axes are layer, y and x.

    Named axes z, y and x say it; otherwise the smallest axis is the depth (the first among equals)
    and the other two keep their order.
    """
    lowered = [name.lower() for name in names]
    if sorted(lowered) == ["x", "y", "z"]:
        return lowered.index("z"), lowered.index("y"), lowered.index("x")
    depth = min(range(3), key=lambda axis: shape[axis])
    first, second = (axis for axis in range(3) if axis != depth)
    return depth, first, second
