"""A phantom as something to train on: its volume and its label files, as people keep them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from s5engine.atomic import atomic_write
from s5engine.errors import InvalidArgumentError
from s5engine.phantom.layouts import encode_layers
from s5engine.phantom.papyrus import Phantom
from s5engine.store.ingest import ingest
from s5engine.store.png import write_gray_png

if TYPE_CHECKING:
    import xarray as xr


def write_labelled(
    phantom: Phantom,
    directory: str | Path,
    *,
    segment: str = "phantom",
    label: npt.NDArray[np.bool_] | None = None,
) -> xr.DataArray:
    """Write a phantom's volume, label and papyrus mask; return the volume.

    Parameters
    ----------
    phantom : Phantom
        Small enough to be one part.
    directory : str or Path
        Gets the layers as TIFF files in ``<segment>/layers``, ``<segment>.zarr`` made from them,
        and ``labels/<segment>_01/label.png`` and ``mask.png``. What is there already is kept.
    segment : str
        The segment's name.
    label : (h, w) bool ndarray, optional
        What the label says; by default the phantom's own ink.

    Returns
    -------
    (layer, y, x) DataArray
        Lazy, without contrast.

    Raises
    ------
    InvalidArgumentError
        If the label has another size.
    """
    ink = phantom.ink() if label is None else np.asarray(label, np.bool_)
    if ink.shape != phantom.shape[1:]:
        raise InvalidArgumentError(
            f"The label has {ink.shape} px and the phantom {phantom.shape[1:]} px."
        )
    folder = Path(directory)
    labels = folder / "labels" / f"{segment}_01"
    labels.mkdir(parents=True, exist_ok=True)
    for name, mask in (("label.png", ink), ("mask.png", phantom.papyrus())):
        write_gray_png(labels / name, mask.shape, [mask.astype(np.uint8) * np.uint8(255)])
    layers = folder / segment / "layers"
    layers.mkdir(parents=True, exist_ok=True)
    for name, content in encode_layers(phantom, "rows-lzw").items():
        if not (layers / name).exists():  # the same bytes: but a newer file is another source
            with atomic_write(layers / name) as partial:
                partial.write_bytes(content)
    return ingest(layers, folder / f"{segment}.zarr", progress=False)


def spoil_label(
    label: npt.NDArray[np.bool_],
    papyrus: npt.NDArray[np.bool_],
    *,
    share: float = 0.3,
    seed: int = 0,
) -> npt.NDArray[np.bool_]:
    """Return a label in which a share of the letters is missing or wrong, as a tired person's.

    Parameters
    ----------
    label : (h, w) bool ndarray
        The right one; what hangs together is a letter.
    papyrus : (h, w) bool ndarray
        Where a wrong letter may be.
    share : float
        Of the letters, in [0, 1]. The first of them is missing, the next is drawn where there is
        no ink instead of where it is, and so on by turns.
    seed : int
        Which letters, and where to.

    Returns
    -------
    (h, w) bool ndarray

    Raises
    ------
    InvalidArgumentError
        If the share is not in [0, 1].
    """
    from scipy import ndimage

    if not 0 <= share <= 1:
        raise InvalidArgumentError(f"share is in [0, 1], not {share}.")
    letters, count = ndimage.label(label, np.ones((3, 3)))
    rng = np.random.default_rng(seed)
    spoilt = np.array(label, np.bool_)
    chosen = rng.permutation(np.arange(1, count + 1))[: round(share * count)]
    for turn, letter in enumerate(chosen):
        shape = letters == letter
        spoilt[shape] = False
        if turn % 2:
            reach = [max(2, side // 2) for side in label.shape]
            moved = np.roll(shape, [rng.integers(side // 4, side) for side in reach], (0, 1))
            spoilt |= moved & papyrus & ~label
    return spoilt
