"""A reduced picture of what relabelling changes, in colours over the dim ink, with a legend."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from s5engine.labels.relabel_rule import Mask, Proposal
from s5engine.ops.reduce import cell_sums

#: Longest side of the picture with its legend, px.
SIDE = 2000
#: Height of a line of the legend, and the least width in which its words fit, px.
_LINE, _WIDTH = 22, 340
#: How bright ink of 1 is where nothing is drawn.
_DIM = 110

COLOURS = {
    "kept label": (255, 255, 255),
    "added ink": (60, 220, 80),
    "label questioned": (235, 50, 50),
    "newly ignored": (230, 150, 30),
    "ignored before": (50, 70, 130),
}


class Changes:
    """The picture, filled block by block; cells of it are averages, so a thin change is faint.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the part.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self._shape = shape
        most = SIDE - _LINE * len(COLOURS)
        self._factor = max(1, -(-max(shape) // most))
        cells = [-(-side // self._factor) for side in shape]
        self._sums = np.zeros((*cells, 3), np.float32)

    def add(
        self, top: int, left: int, mean: npt.NDArray[np.float32], proposal: Proposal, ignore: Mask
    ) -> None:
        """Paint one block whose first pixel is (top, left); ``ignore`` is as drawn."""
        gray = np.clip(np.nan_to_num(mean), 0, 1) * np.float32(_DIM)
        pixels = np.repeat(gray[:, :, None], 3, axis=2)
        kinds = zip(
            COLOURS,
            (proposal.kept, proposal.added, proposal.questioned, proposal.doubted, ignore),
            strict=True,
        )
        for name, where in kinds:
            # Later ones win: questioned ink is red even where it is kept.
            pixels[where] = COLOURS[name]
        found = cell_sums(pixels, self._factor, first=(top, left), axes=(0, 1), dtype=np.float32)
        self._sums[found.rows, found.columns] += found.sums

    def save(self, path: Path, counts: dict[str, int]) -> None:
        """Write the picture with a legend that gives the number of pixels of each colour."""
        from PIL import Image, ImageDraw, ImageFont

        sizes = [
            np.minimum(self._factor, side - np.arange(cells) * self._factor)
            for side, cells in zip(self._shape, self._sums.shape[:2], strict=True)
        ]
        for row, height in enumerate(sizes[0]):
            self._sums[row] /= (height * sizes[1])[:, None]
        height, width = self._sums.shape[:2]
        sheet = Image.new("RGB", (max(width, _WIDTH), height + _LINE * len(COLOURS)), (24, 24, 24))
        sheet.paste(Image.fromarray(np.rint(self._sums).astype(np.uint8)), (0, 0))
        pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=_LINE * 0.65)
        for line, (name, colour) in enumerate(COLOURS.items()):
            y = height + line * _LINE
            pen.rectangle((6, y + 4, 20, y + 18), fill=colour)
            pen.text((28, y + 2), f"{name}: {counts[name]:,} px", fill=(230, 230, 230), font=font)
        sheet.save(path, format="PNG")
