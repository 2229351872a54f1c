"""The 2025 way from layer files to contrasted parts, as behaviour, in code of our own.

Every layer is downloaded whole. Then, part by part and layer by layer, the whole layer is read into
memory, the part's columns are cut out, put through the contrast table and written. Nothing is
shared between parts. It is neither hindered nor helped: the reader is `tifffile.imread` as it is,
and the table is looked up by `cv2.LUT`, the fastest that it could have used, as the engine does.
"""

from __future__ import annotations

import re
import shutil
import urllib.request
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import tifffile
from scipy.interpolate import CubicSpline

PART_WIDTH = 10_000
MASK_LAYER = 10
#: How `tifffile.imwrite` writes a part's layer. "lzw": the kind of the source.
CODECS: dict[str, dict[str, Any]] = {
    "lzw": {"compression": "lzw", "predictor": 2, "rowsperstrip": 1},
    "none": {},
}


def run(
    url: str,
    folder: str,
    *,
    segment: str = "phantom",
    width: int = PART_WIDTH,
    codec: str = "lzw",
    parts: int | None = None,
    only: list[int] | None = None,
) -> int:
    """Download the layers of a folder and cut them into contrasted parts; return how many parts.

    Parameters
    ----------
    url : str
        A folder page with links to ``NN.tif``.
    folder : str
        Where ``layers/`` and ``parts_contrasted/`` go.
    segment : str
        The segment's name.
    width : int
        Of a part, px.
    codec : str
        A name in `CODECS`.
    parts : int, optional
        Only the first so many parts.
    only : list of int, optional
        Only these parts.
    """
    root = Path(folder)
    layers = download(url, root / "layers")
    wanted = only if parts is None else list(range(1, parts + 1))
    return cut(layers, root / "parts_contrasted", segment, width, codec, wanted)


def crop(
    url: str, folder: str, *, part: int, layers: list[int], box: list[int], width: int = PART_WIDTH
) -> list[int]:
    """Get at a crop of one part: download, cut the part, read its layers; return the crop's shape.

    Parameters
    ----------
    part : int
        Its number.
    layers : list of int
        Which of them inference reads.
    box : (y0, y1, x0, x1)
        The crop, px of the part.
    """
    run(url, folder, width=width, codec="none", only=[part])
    return list(read_crop(folder, part, layers, box).shape)


def read_crop(folder: str, part: int, layers: list[int], box: list[int]) -> npt.NDArray[np.uint8]:
    """Return a crop of a part that was cut, each layer read whole first and then let go."""
    path = Path(folder) / "parts_contrasted" / f"phantom_{part:02d}" / "layers"
    y0, y1, x0, x1 = box
    images = (tifffile.imread(path / f"{number:02d}.tif") for number in layers)
    return np.stack([image[y0:y1, x0:x1].copy() for image in images])


def download(url: str, folder: Path) -> list[Path]:
    """Fetch every layer that is not there, whole, to a ``.partial`` file that is then renamed."""
    folder.mkdir(parents=True, exist_ok=True)
    with urllib.request.urlopen(url) as answer:
        page = answer.read().decode()
    paths = []
    for name in sorted(set(re.findall(r'href="(\d+\.tif)"', page))):
        path = folder / name
        paths.append(path)
        if path.exists():
            continue
        partial = path.with_name(name + ".partial")
        with urllib.request.urlopen(url + name) as answer, partial.open("wb") as file:
            shutil.copyfileobj(answer, file, 2**20)
        partial.replace(path)
    return paths


def contrast_table() -> npt.NDArray[np.uint8]:
    """Return the table through (0, 0), (128, 64), (255, 255)."""
    curve = CubicSpline([0, 128, 255], [0, 64, 255])(np.arange(256))
    return np.clip(curve, 0, 255).astype(np.uint8)


def cut(
    layers: list[Path], tree: Path, segment: str, width: int, codec: str, only: list[int] | None
) -> int:
    """Write ``<segment>_<NN>/layers/<LL>.tif`` and ``mask.png`` for every part."""
    table = contrast_table()
    with tifffile.TiffFile(layers[0]) as first:
        columns = first.pages.first.shape[1]
    starts = dict(enumerate(range(0, columns, width), start=1))
    if only is not None:
        starts = {number: x0 for number, x0 in starts.items() if number in only}
    for number, x0 in starts.items():
        part = tree / f"{segment}_{number:02d}"
        (part / "layers").mkdir(parents=True, exist_ok=True)
        for path in layers:
            image = tifffile.imread(path)
            piece = cv2.LUT(image[:, x0 : x0 + width], table)
            target = part / "layers" / path.name
            temporary = target.with_name(target.name + ".partial")
            tifffile.imwrite(temporary, piece, photometric="minisblack", **CODECS[codec])
            temporary.replace(target)
            if int(path.stem) == MASK_LAYER:
                cv2.imwrite(str(part / "mask.png"), np.where(piece, 255, 0).astype(np.uint8))
    return len(starts)
