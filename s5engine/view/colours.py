"""Colour maps of ink and the colours of overlays: the same on the page and in saved pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

#: Fill of each overlay, red, green, blue.
OVERLAYS = {"mask": (96, 140, 255), "label": (64, 224, 160), "ignore": (255, 96, 88)}
#: How much of an overlay is seen.
OVERLAY_OPACITY = 0.4
#: The warm tone of "amber", whose zero is clear: the surface is seen where there is no ink.
_AMBER = (255, 176, 48)


def colour_map(name: str) -> npt.NDArray[np.uint8]:
    """Return a map of 256 colours (256, 4): red, green, blue, and how opaque.

    Parameters
    ----------
    name : str
        One of `s5engine.view.url.COLOURS`.
    """
    ramp = np.arange(256, dtype=np.uint8)
    if name == "gray":
        return np.stack([ramp, ramp, ramp, np.full_like(ramp, 255)], axis=1)
    if name == "amber":
        colours = np.empty((256, 4), np.uint8)
        colours[:, :3], colours[:, 3] = _AMBER, ramp
        return colours
    import bokeh.palettes

    words = getattr(bokeh.palettes, f"{name.capitalize()}256")
    rgb = [[int(word[i : i + 2], 16) for i in (1, 3, 5)] for word in words]
    return np.concatenate([np.array(rgb, np.uint8), np.full((256, 1), 255, np.uint8)], axis=1)


def relight(gray: npt.NDArray[np.uint8], brightness: float, contrast: float) -> Any:
    """Return gray values as the page shows them.

    Parameters
    ----------
    gray : (y, x) ndarray of uint8
    brightness : float
        Added, as a share of half the range.
    contrast : float
        Multiplies first, around the middle of the range.
    """
    half = 128 / contrast
    low = 128 - half * (1 + brightness)
    steps = np.floor((np.arange(256) - low) * (128 / half))
    return np.clip(steps, 0, 255).astype(np.uint8)[gray]


def as_words(colours: npt.NDArray[np.uint8]) -> list[str]:
    """Return colours as a page writes them: ``#rrggbbaa``."""
    return ["#" + "".join(f"{value:02x}" for value in colour) for colour in colours.tolist()]


def overlay_word(kind: str) -> str:
    """Return an overlay's colour as a page writes it."""
    return "#" + "".join(f"{value:02x}" for value in OVERLAYS[kind])
