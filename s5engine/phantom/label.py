"""A picture that is shown as ink: a published label, or any drawing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from s5engine.errors import InvalidArgumentError, SourceError, SourceNotFoundError
from s5engine.geometry import Box


@lru_cache(maxsize=4)
def _read_png(path: str) -> npt.NDArray[np.bool_]:
    """Return where a picture of any mode is brighter than half."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as opened:
            return np.asarray(opened.convert("L")) > 127
    except FileNotFoundError:
        raise SourceNotFoundError(f"There is no label picture {path}.") from None
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise SourceError(f"{path} cannot be read as a picture: {error}.") from error


@dataclass(frozen=True)
class Label:
    """A picture of ink, scaled to fit the segment and centred.

    Parameters
    ----------
    picture : (h, w) ndarray of bool
        Where ink is.
    area : Box
        Where the picture goes, segment pixels.
    """

    picture: npt.NDArray[np.bool_]
    area: Box

    @classmethod
    def open(cls, label: str | Path | npt.NDArray[np.bool_], height: int, width: int) -> Label:
        """Return a label for a segment of ``height`` × ``width`` px.

        Raises
        ------
        InvalidArgumentError
            If an array is not 2-D.
        SourceError
            If a path cannot be read as a picture.
        """
        picture = _read_png(str(label)) if isinstance(label, str | Path) else np.asarray(label) > 0
        if picture.ndim != 2 or not picture.size:
            raise InvalidArgumentError(f"A label is a picture (h, w), not {picture.shape}.")
        # Whole numbers: the smaller of the two scales, without rounding it first.
        if height * picture.shape[1] <= width * picture.shape[0]:
            h, w = height, max(1, height * picture.shape[1] // picture.shape[0])
        else:
            h, w = max(1, width * picture.shape[0] // picture.shape[1]), width
        top, left = (height - h) // 2, (width - w) // 2
        return cls(picture, Box(top, top + h, left, left + w))

    def draw(self, box: Box) -> npt.NDArray[np.bool_]:
        """Return the ink in ``box`` ``(h, w)``, by the nearest pixel of the picture."""
        out = np.zeros(box.shape, bool)
        a = self.area
        y = np.arange(max(box.y0, a.y0), min(box.y1, a.y1))
        x = np.arange(max(box.x0, a.x0), min(box.x1, a.x1))
        if y.size and x.size:
            rows = (y - a.y0) * self.picture.shape[0] // a.height
            columns = (x - a.x0) * self.picture.shape[1] // a.width
            out[y[0] - box.y0 : y[-1] + 1 - box.y0, x[0] - box.x0 : x[-1] + 1 - box.x0] = (
                self.picture[np.ix_(rows, columns)]
            )
        return out
