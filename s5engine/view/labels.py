"""The label files of a segment's parts: where each lies, what may be drawn on, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from s5engine.address import local_file
from s5engine.errors import InvalidArgumentError, SourceNotFoundError
from s5engine.geometry import Box, part_columns
from s5engine.labels.part_folder import find_part
from s5engine.training.labelled import IGNORE, LABEL, MASK
from s5engine.view.drawing import Kind
from s5engine.view.masks import MaskPicture

#: Kinds of masks and their files.
FILES = {"mask": MASK, "label": LABEL, "ignore": IGNORE}
#: Kinds that can be drawn.
DRAWN: tuple[Kind, ...] = ("label", "ignore")


@dataclass(frozen=True)
class Part:
    """A part of what is shown.

    Attributes
    ----------
    number : int
        From 1.
    folder : Path
        ``<labels>/<segment>_<NN>``; it need not exist yet.
    box : Box
        Of its files, in segment pixels.
    """

    number: int
    folder: Path
    box: Box


@dataclass
class Labels:
    """A folder of parts' folders, and a folder of proposals for them.

    Attributes
    ----------
    parts : dict of int to Part
    proposals : dict of int to Path
        Folders of `s5 relabel`'s files that nobody has taken over yet.
    pictures : dict of str to MaskPicture
        ``mask``, ``label`` and ``ignore``; proposals are shown in place of former files.
    """

    parts: dict[int, Part]
    proposals: dict[int, Path]
    box: Box
    pictures: dict[str, MaskPicture] = field(init=False)

    def __post_init__(self) -> None:
        self.pictures = {
            kind: MaskPicture(f"{kind} {id(self)}", self.box, self._files(kind)) for kind in FILES
        }

    @property
    def segment(self) -> str:
        """The segment's name, as its parts' folders begin."""
        return next(iter(self.parts.values())).folder.name.rpartition("_")[0]

    @property
    def draft_file(self) -> Path:
        """Where what is not saved yet is kept: beside the parts' folders."""
        root = next(iter(self.parts.values())).folder.parent
        return inside(root, f"{self.segment}.draft.json")

    @property
    def bounds(self) -> Box:
        """What the parts cover together, segment pixels: what can be drawn on."""
        y0, y1, x0, x1 = zip(*(part.box for part in self.parts.values()), strict=True)
        return Box(min(y0), max(y1), min(x0), max(x1))

    def file(self, number: int, kind: str) -> Path | None:
        """Return the file that is shown of a part: the proposal's, its own, or None."""
        folders = [self.parts[number].folder]
        if kind in DRAWN and number in self.proposals:
            folders.insert(0, self.proposals[number])
        found = (folder / FILES[kind] for folder in folders)
        return next((file for file in found if file.exists()), None)

    def _files(self, kind: str) -> dict[Path, Box]:
        files = {self.file(number, kind): part.box for number, part in self.parts.items()}
        return {file: box for file, box in files.items() if file is not None}

    def reload(self) -> None:
        """Show the files as they are now."""
        for kind, picture in self.pictures.items():
            picture.replace(self._files(kind))

    def part_at(self, y: float, x: float) -> Part | None:
        """Return the part in which a segment pixel lies."""
        for part in self.parts.values():
            box = part.box
            if box.y0 - 0.5 <= y < box.y1 - 0.5 and box.x0 - 0.5 <= x < box.x1 - 0.5:
                return part
        return None


def part_boxes(box: Box) -> dict[int, Box]:
    """Return the box of each part that ``box`` touches, cut to it; numbered from 1."""
    columns = part_columns(box.x1)
    return {
        number: Box(box.y0, box.y1, max(x0, box.x0), x1)
        for number, (x0, x1) in columns.items()
        if x1 > box.x0
    }


def open_labels(
    folder: str | Path, segment: str, box: Box, proposal: str | Path | None = None
) -> Labels:
    """Find the label files of a segment; only their headers are read.

    Parameters
    ----------
    folder : str or Path
        Folder of folders ``<segment>_<NN>``.
    segment : str
    box : Box
        What is shown of it, segment pixels.
    proposal : str or Path, optional
        The like, written by `s5engine.relabel`.

    Raises
    ------
    SourceNotFoundError
        If a folder does not exist.
    InvalidArgumentError
        If a file has another size than its part, or the segment's name would lead out of the
        folder.
    """
    root = _existing(folder, "labels")
    parts = {}
    for number, part_box in part_boxes(box).items():
        place = inside(root, f"{segment}_{number:02d}")
        if place.is_dir():
            found = find_part(place, part_box, number)
            y0, x0 = part_box.y0 - found.place.y0, part_box.x0 - found.place.x0
            part_box = Box(y0, y0 + found.shape[0], x0, x0 + found.shape[1])
        parts[number] = Part(number, place, part_box)
    proposals = {}
    if proposal is not None:
        proposed = _existing(proposal, "proposals")
        for number, part in parts.items():
            place = inside(proposed, part.folder.name)
            if place.is_dir():
                _check_size(place, part)
                proposals[number] = place
        if not proposals:
            raise InvalidArgumentError(
                f"{proposed} holds no proposal for {segment}: there is none of "
                f"{', '.join(part.folder.name for part in parts.values())}.",
                "Name the folder that holds the folders that `s5 relabel` wrote.",
            )
    return Labels(parts, proposals, box)


def _check_size(folder: Path, part: Part) -> None:
    """Refuse a proposal of another size than the part's files."""
    found = find_part(folder, part.box, part.number)
    if found.shape != part.box.shape:
        raise InvalidArgumentError(
            f"The proposal in {folder} is {found.shape[0]} × {found.shape[1]} px, and the part "
            f"{part.box.height} × {part.box.width} px.",
            "Propose labels for the same part.",
        )


def inside(root: Path, name: str) -> Path:
    """Return ``root / name`` if that is directly inside ``root``, links followed.

    Raises
    ------
    InvalidArgumentError
        If it is not.
    """
    place = root / name
    if Path(name).name != name or place.resolve().parent != root.resolve():
        raise InvalidArgumentError(
            f"{name!r} does not name a folder inside {root}.",
            "Links that lead elsewhere are not followed.",
        )
    return place


def _existing(folder: str | Path, what: str) -> Path:
    path = local_file(folder, "folder of labels")
    if not path.is_dir():
        raise SourceNotFoundError(f"The folder of {what} {path} does not exist.")
    return path
