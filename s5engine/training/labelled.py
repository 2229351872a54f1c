"""Parts and their label files, brought together and checked before anything is decoded."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from s5engine.address import local_file
from s5engine.errors import InvalidArgumentError, SourceNotFoundError, WayOut
from s5engine.foreign import structured
from s5engine.source.mask_rows import read_header

if TYPE_CHECKING:
    import xarray as xr

#: What `s5engine.parts` returns, or pieces of several segments one after another.
Parts: TypeAlias = "Mapping[int, xr.DataArray] | Iterable[xr.DataArray]"
#: A folder of ``<segment>_<NN>`` folders, or a folder for each part's number or name.
Labels: TypeAlias = str | os.PathLike[str] | Mapping[Any, str | os.PathLike[str]]

LABEL, IGNORE, MASK = "label.png", "ignore.png", "mask.png"


@dataclass(frozen=True)
class LabelledPart:
    """A part and what says where its ink is.

    Attributes
    ----------
    name : str
        ``<segment>_<NN>``.
    volume : (layer, y, x) DataArray
        Its pixels, all layers, lazy.
    label : Path
        Ink.
    ignore, mask : Path or None
        What to leave out, and the papyrus; None if there is no such file.
    papyrus : (y, x) DataArray or None
        The papyrus where there is no file of it; lazy.
    """

    name: str
    volume: xr.DataArray
    label: Path
    ignore: Path | None
    mask: Path | None
    papyrus: xr.DataArray | None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.volume.shape[1], self.volume.shape[2]

    def describe(self) -> dict[str, Any]:
        """Return what tiles of this part depend on, as JSON values; hashes the label files."""
        files = {LABEL: self.label, IGNORE: self.ignore, MASK: self.mask}
        return {
            **describe_part(self.name, self.volume),
            "fingerprint": structured(self.volume.attrs.get("fingerprint")),
            "files": {name: file and _sha256(file) for name, file in files.items()},
        }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe_part(name: str, volume: xr.DataArray) -> dict[str, Any]:
    """Return the name, size and place (segment pixels) of a part, as JSON values."""
    return {
        "name": name,
        "shape": list(volume.shape[1:]),
        "origin": [int(volume.y[0]), int(volume.x[0])],
    }


def name_parts(parts: Parts) -> dict[str, xr.DataArray]:
    """Return each part by its name ``<segment>_<NN>``.

    Raises
    ------
    InvalidArgumentError
        If these are not parts of surface volumes, or two have the same name.
    """
    if hasattr(parts, "dims"):
        raise InvalidArgumentError(
            "parts is one array, not the parts of a volume.", "Cut it with s5engine.parts(volume)."
        )
    pairs: Iterable[tuple[Any, xr.DataArray]] = (
        parts.items() if isinstance(parts, Mapping) else ((p.attrs.get("part"), p) for p in parts)
    )
    named: dict[str, xr.DataArray] = {}
    for number, array in pairs:
        segment = array.attrs.get("segment")
        if segment is None or not isinstance(number, int | np.integer):
            raise InvalidArgumentError(
                f"An array is part {number!r} of the segment {segment!r}: parts have a number and "
                "the name of their segment.",
                "Cut them with s5engine.parts(volume).",
            )
        name = f"{segment}_{number:02d}"
        if name in named:
            raise InvalidArgumentError(f"The part {name} is given twice.", "Give each part once.")
        named[name] = array
    if not named:
        raise InvalidArgumentError("There are no parts.", "Cut some with s5engine.parts(volume).")
    return named


def find_labels(parts: Parts, labels: Labels, papyrus: Parts | None) -> list[LabelledPart]:
    """Return the parts that have labels, with their files; only the files' headers are read.

    Raises
    ------
    InvalidArgumentError
        If a size differs, a part named in ``labels`` is not among the parts, or no part has labels.
    SourceNotFoundError
        If a part's folder or label is missing.
    SourceError
        If a file is not a PNG.
    """
    volumes = name_parts(parts)
    masks = {} if papyrus is None else name_parts(papyrus)
    found = [
        _labelled(name, volumes[name], folder, masks.get(name))
        for name, folder in _folders(volumes, labels).items()
    ]
    for part in found:
        _check_sizes(part)
    return found


def _folders(volumes: Mapping[str, xr.DataArray], labels: Labels) -> dict[str, Path]:
    """Return the folder of each part that has labels, by the part's name."""
    if isinstance(labels, Mapping):
        folders = {
            _full_name(key, volumes): local_file(folder, "label") for key, folder in labels.items()
        }
        if not folders:
            raise InvalidArgumentError("There are no labels.", "Name a folder for each part.")
        return folders
    if not isinstance(labels, str | os.PathLike):
        raise InvalidArgumentError(
            f"labels is {labels!r}, not a folder.",
            "Give the folder of <segment>_<NN> folders, or a mapping from parts to folders.",
        )
    root = local_file(labels, "folder of labels")
    candidates = {name: root / name for name in volumes}
    folders = {
        name: folder
        for name, folder in candidates.items()
        if (folder / LABEL).exists() or (folder / IGNORE).exists()
    }
    if not folders:
        first = next(iter(candidates.values()), root / "<segment>_<NN>")
        raise SourceNotFoundError(
            f"There are no labels in {root} for the {len(candidates)} parts: "
            f"there is no {first / LABEL}, and none for any other part.",
            f"Put {LABEL} ({IGNORE}, {MASK}) into a folder for each part, or give a mapping from "
            "the parts' numbers to their folders.",
        )
    return folders


def _full_name(key: Any, volumes: Mapping[str, xr.DataArray]) -> str:
    """Return the name of the part that a key of ``labels`` means: its number or its name."""
    ends = f"_{key:02d}" if isinstance(key, int | np.integer) else None
    fitting = [name for name in volumes if (name.endswith(ends) if ends else name == key)]
    if len(fitting) != 1:
        several = f"{fitting} all have that number" if fitting else "there is no such part"
        raise InvalidArgumentError(
            f"Labels are given for part {key!r}, and {several}.", f"The parts are {list(volumes)}."
        )
    return fitting[0]


def _labelled(
    name: str, volume: xr.DataArray, folder: Path, papyrus: xr.DataArray | None
) -> LabelledPart:
    """Find one part's files."""
    label, ignore, mask = (folder / n for n in (LABEL, IGNORE, MASK))
    if not label.exists():
        raise SourceNotFoundError(
            f"The part {name} has no label: {label} does not exist.",
            "Put it there (black where there is no ink), or leave the part out.",
        )
    if mask.exists():
        papyrus = None
    elif papyrus is None:
        papyrus = _own_papyrus(name, volume, mask)
    return LabelledPart(
        name=name,
        volume=volume,
        label=label,
        ignore=ignore if ignore.exists() else None,
        mask=mask if mask.exists() else None,
        papyrus=papyrus,
    )


def _own_papyrus(name: str, volume: xr.DataArray, mask: Path) -> xr.DataArray:
    """Return the papyrus of a part as its pixels show it, unless contrast made dark ones 0."""
    from s5engine.ops.mask import papyrus_mask

    if volume.attrs.get("contrast"):
        raise SourceNotFoundError(
            f"The part {name} has no papyrus mask: {mask} does not exist, and its pixels cannot "
            "tell, because contrast made the dark ones 0.",
            WayOut(
                "Put the file there, or give papyrus=s5engine.parts(s5engine.papyrus_mask(volume)) "
                "of the volume before contrast.",
                "Put the file there.",
            ),
        )
    return papyrus_mask(volume)


def _check_sizes(part: LabelledPart) -> None:
    """Refuse files that do not have the size of their part."""
    files = [file for file in (part.label, part.ignore, part.mask) if file]
    sizes: dict[str, tuple[int, ...]] = {str(file): read_header(file).shape for file in files}
    if part.papyrus is not None:
        sizes["its papyrus mask"] = part.papyrus.shape
    differing = {file: shape for file, shape in sizes.items() if tuple(shape) != part.shape}
    if differing:
        listed = ", ".join(
            f"{file} is {shape[0]} × {shape[1]} px" for file, shape in differing.items()
        )
        raise InvalidArgumentError(
            f"The part {part.name} is {part.shape[0]} × {part.shape[1]} px (y, x), but {listed}.",
            "Labels belong to a whole part: cut the part or draw them at its size.",
        )


def choose_layers(
    volumes: Mapping[str, xr.DataArray], layers: Sequence[int] | None
) -> tuple[int, ...]:
    """Return the layer numbers that tiles have; by default all, which all parts then have to have.

    Raises
    ------
    InvalidArgumentError
        If a part is not a uint8 surface volume, lacks a layer, or went through another contrast.
    """
    first_name, first = next(iter(volumes.items()))
    for name, volume in volumes.items():
        if volume.dims != ("layer", "y", "x") or volume.dtype != np.uint8:
            raise InvalidArgumentError(
                f"The part {name} has the dims {volume.dims} and {volume.dtype} pixels; tiles are "
                "cut from uint8 volumes (layer, y, x).",
                "Open it with open_volume, and make it uint8 with to_uint8.",
            )
        if contrast_of(volume) != contrast_of(first):
            raise InvalidArgumentError(
                f"The contrast of {name} is {contrast_of(volume)} and that of {first_name} "
                f"{contrast_of(first)}.",
                "Apply the same contrast to all parts.",
            )
    wanted = tuple(int(n) for n in (first.layer.values if layers is None else layers))
    if not wanted or len(set(wanted)) != len(wanted):
        raise InvalidArgumentError(f"The layers {list(wanted)} are none, or some come twice.")
    for name, volume in volumes.items():
        numbers = [int(n) for n in volume.layer.values]
        missing = sorted(set(wanted) - set(numbers))
        if missing:
            raise InvalidArgumentError(
                f"The part {name} has the layers {numbers}: {missing} are missing.",
                WayOut(
                    "Name layers=… that all parts have, or ingest those too.",
                    "Name --layers that all parts have, or fetch those too.",
                ),
            )
    return wanted


def contrast_of(volume: xr.DataArray) -> list[list[float]] | None:
    """Return the points of the contrast that a volume went through; None if it did not."""
    points = structured(volume.attrs.get("contrast"))
    return [[float(x), float(y)] for x, y in points] if points else None


def select_layers(volume: xr.DataArray, layers: Sequence[int]) -> xr.DataArray:
    """Return the volume with these layers alone, in this order."""
    numbers = [int(n) for n in volume.layer.values]
    places = [numbers.index(n) for n in layers]
    if places == list(range(places[0], places[0] + len(places))):
        return volume.isel(layer=slice(places[0], places[0] + len(places)))
    return volume.isel(layer=places)
