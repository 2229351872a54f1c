"""Augmentation: a tile, its label and its keep, turned, bent and made noisy together."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from s5engine.errors import InvalidArgumentError, MissingExtraError
from s5engine.training.tile_table import REDUCTION
from s5engine.training.tileset import Example


@dataclass(frozen=True, kw_only=True)
class AugmentSettings:
    """How likely each augmentation is, and how strong.

    The kinds are those of 2025; their strengths then are not known, these are moderate ones.

    Parameters
    ----------
    flip_x, flip_y, turn : float
        Probabilities of a flip along x, along y, and of one to three quarter turns. Lossless.
    shift_scale_rotate, perspective, grid_distortion, crop : float
        Probabilities of what moves pixels; ``crop`` is the random resized crop.
    blur, noise, gamma, brightness_contrast : float
        Probabilities of what changes grey values.
    shift, scale : float
        Largest shift and change of size, as shares of the tile.
    rotate : float
        Largest rotation, degrees.
    perspective_scale, distortion : float
        Largest displacement of a corner and of a grid line, as shares of the tile and the cell.
    crop_area : float
        Smallest area of a random crop, as a share of the tile's.
    blur_size : int
        Largest width of the blur, px, odd.
    noise_spread : float
        Largest standard deviation of the noise, as a share of 255.
    gamma_percent : float
        Largest change of gamma, percent.
    brightness, contrast : float
        Largest changes, as shares.

    Raises
    ------
    InvalidArgumentError
        If a value is out of its range.
    """

    flip_x: float = 0.5
    flip_y: float = 0.5
    turn: float = 0.5
    shift_scale_rotate: float = 0.5
    perspective: float = 0.2
    grid_distortion: float = 0.2
    crop: float = 0.2
    blur: float = 0.2
    noise: float = 0.2
    gamma: float = 0.3
    brightness_contrast: float = 0.5
    shift: float = 0.1
    scale: float = 0.15
    rotate: float = 45.0
    perspective_scale: float = 0.08
    distortion: float = 0.2
    crop_area: float = 0.7
    blur_size: int = 5
    noise_spread: float = 0.04
    gamma_percent: float = 20.0
    brightness: float = 0.15
    contrast: float = 0.15

    def __post_init__(self) -> None:
        for name in (f.name for f in fields(self)):
            value, top = getattr(self, name), _TOPS.get(name, 1.0)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not 0 <= value <= top:
                raise InvalidArgumentError(f"{name} is a number in [0, {top:g}], not {value!r}.")
        if self.blur_size % 2 != 1 or self.blur_size < 3:
            raise InvalidArgumentError(f"blur_size is odd, at least 3, not {self.blur_size!r}.")
        if not self.crop_area:
            raise InvalidArgumentError("crop_area is above 0.")

    @classmethod
    def none(cls) -> AugmentSettings:
        """Return settings that leave every tile as it is."""
        return replace(cls.flips_only(), flip_x=0.0, flip_y=0.0, turn=0.0)

    @classmethod
    def flips_only(cls) -> AugmentSettings:
        """Return settings with flips and quarter turns alone: cheap and lossless."""
        off: dict[str, Any] = dict.fromkeys(_LIBRARY, 0.0)
        return cls(**off)


#: What albumentations does.
_LIBRARY = (
    "shift_scale_rotate",
    "perspective",
    "grid_distortion",
    "crop",
    "blur",
    "noise",
    "gamma",
    "brightness_contrast",
)
#: Limits that are not shares.
_TOPS = {"rotate": 180.0, "blur_size": 31, "gamma_percent": 90.0, "perspective_scale": 0.4}


class Augmentation:
    """Augments tiles: a pure function of the tile and a seed, in any process.

    Parameters
    ----------
    settings : AugmentSettings
    tile : int
        Side of the tiles, px.

    Raises
    ------
    MissingExtraError
        If something else than flips and turns is wanted and albumentations is not installed.
    """

    def __init__(self, settings: AugmentSettings, tile: int) -> None:
        self.settings, self.tile = settings, tile
        _ = self._pipeline  # a missing package is told now

    def __getstate__(self) -> dict[str, Any]:
        return {"settings": self.settings, "tile": self.tile}

    def __call__(self, example: Example, seed: int) -> Example:
        """Return the augmented tile.

        Parameters
        ----------
        example : Example
            ``layers`` (L, P, P) uint8, ``label`` and ``keep`` (P/4, P/4) bool.
        seed : int
            Which augmentation.

        Returns
        -------
        Example
            Of the same shapes and types. What comes from outside the tile is 0 and not kept, and
            the label is False where nothing is kept.
        """
        rng = np.random.default_rng(seed)
        example = self._turned(example, rng)
        if self._pipeline is None:
            return example
        self._pipeline.set_random_seed(int(rng.integers(2**31)))
        # Labels as large as the pixels, so that one library moves both alike.
        masks = np.stack(example[1:], axis=-1).astype(np.uint8)
        masks = masks.repeat(REDUCTION, axis=0).repeat(REDUCTION, axis=1)
        image = np.ascontiguousarray(example.layers.transpose(1, 2, 0))
        done = self._pipeline(image=image, mask=masks)
        centre = slice(REDUCTION // 2, None, REDUCTION)
        label, keep = done["mask"][centre, centre].astype(np.bool_).transpose(2, 0, 1)
        layers = np.ascontiguousarray(done["image"].transpose(2, 0, 1))
        return Example(layers, label & keep, np.ascontiguousarray(keep))

    def _turned(self, example: Example, rng: np.random.Generator) -> Example:
        """Flip and turn, without loss."""
        s = self.settings
        # Always the same number of draws: one setting does not change what another does.
        flip_x, flip_y, turn = rng.random(3) < (s.flip_x, s.flip_y, s.turn)
        quarters = int(rng.integers(1, 4)) * int(turn)

        def turned(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
            seen = array[..., ::-1] if flip_x else array
            seen = seen[..., ::-1, :] if flip_y else seen
            return np.ascontiguousarray(np.rot90(seen, quarters, (-2, -1)))

        return Example(turned(example.layers), turned(example.label), turned(example.keep))

    @cached_property
    def _pipeline(self) -> Any:
        """The library's augmentations; None if none of them is wanted."""
        s = self.settings
        if not any(getattr(s, name) for name in _LIBRARY):
            return None
        # It would ask its makers for a newer version whenever it is imported.
        os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
        try:
            import albumentations as A
        except ImportError as error:
            raise MissingExtraError(
                "Augmentation needs albumentations, which is not installed.",
                'Run pip install "s5engine[train]", or use flips only.',
            ) from error

        # Outside the tile nothing is known: pixels 0, label 0, keep 0.
        outside: dict[str, Any] = {"border_mode": 0, "fill": 0, "fill_mask": 0}
        steps: list[Any] = [
            A.Affine(
                translate_percent=(-s.shift, s.shift),
                scale=(1 - s.scale, 1 + s.scale),
                rotate=(-s.rotate, s.rotate),
                p=s.shift_scale_rotate,
                **outside,
            ),
            A.Perspective(scale=(0, s.perspective_scale), p=s.perspective, **outside),
            A.GridDistortion(
                distort_limit=(-s.distortion, s.distortion), p=s.grid_distortion, **outside
            ),
            A.RandomResizedCrop(size=(self.tile, self.tile), scale=(s.crop_area, 1.0), p=s.crop),
            A.GaussianBlur(blur_limit=(3, s.blur_size), p=s.blur),
            A.GaussNoise(std_range=(0, s.noise_spread), p=s.noise),
            A.RandomGamma((100 - s.gamma_percent, 100 + s.gamma_percent), p=s.gamma),
            A.RandomBrightnessContrast(s.brightness, s.contrast, p=s.brightness_contrast),
        ]
        return A.Compose([step for step in steps if step.p])
