"""Settings from TOML: frozen dataclasses, every key checked, nothing guessed."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, fields
from pathlib import Path
from typing import Any

from s5engine.address import local_file
from s5engine.errors import InvalidArgumentError
from s5engine.geometry import PART_WIDTH, Box, part_columns, window_layers


@dataclass(frozen=True)
class TitleSettings:
    """What to read of a segment, and how: one crop of one part, as a picture.

    Parameters
    ----------
    segment : str
        Name of the segment.
    source : str
        Address of its layers.
    part : int
        Part number, counted from 1.
    crop : tuple of int
        ``(y0, y1, x0, x1)`` in pixels of that part, half-open.
    windows : tuple of int
        First layer of each layer window.
    stride : int
        Step between tiles, px.
    tta : int
        Test-time augmentation level.
    taper, edge : str
        As `predict_ink` takes them.
    method : str
        How the picture combines windows.
    boost : float
        Brightness of the picture.
    flip, invert : bool
        Mirror the picture; ink dark on light.
    reduce : int
        Reduction of the picture.
    mask_layer : int
        The layer whose zeros are no papyrus.
    """

    segment: str
    source: str
    crop: tuple[int, ...]
    windows: tuple[int, ...]
    part: int = 1
    stride: int = 16
    tta: int = 3
    taper: str = "gaussian"
    edge: str = "cover"
    method: str = "mean"
    boost: float = 2.9
    flip: bool = True
    invert: bool = False
    reduce: int = 4
    mask_layer: int = 10

    def __post_init__(self) -> None:
        if len(self.crop) != 4 or self.part < 1 or not self.windows:
            raise InvalidArgumentError(
                f"A crop is (y0, y1, x0, x1), a part is numbered from 1 and there is a window; "
                f"these are {self.crop}, {self.part} and {self.windows}."
            )
        y0, y1, x0, x1 = self.crop
        if not (0 <= y0 < y1 and 0 <= x0 < x1):
            raise InvalidArgumentError(f"The crop {self.crop} is empty or begins below 0.")
        shorter = min(y1 - y0, x1 - x0)
        picture = (self.method, self.boost, self.reduce)
        # As `composite` would say, but before hours of inference.
        if (
            self.method not in ("mean", "max")
            or not 1 <= self.boost <= 10
            or not 1 <= self.reduce <= shorter
        ):
            raise InvalidArgumentError(
                f'A picture has the method "mean" or "max", a boost in 1…10 and a reduction in '
                f"1…{shorter}, the crop's shorter side; these are {picture}."
            )

    @property
    def how(self) -> dict[str, Any]:
        """How ink is predicted, as arguments of `predict_ink`."""
        return {
            "windows": self.windows,
            "stride": self.stride,
            "tta": self.tta,
            "taper": self.taper,
            "edge": self.edge,
        }

    @property
    def picture(self) -> dict[str, Any]:
        """How windows become a picture, as arguments of `composite`."""
        return {
            "method": self.method,
            "boost": self.boost,
            "flip": self.flip,
            "invert": self.invert,
            "reduce": self.reduce,
        }

    @property
    def box(self) -> Box:
        """The crop in segment pixels."""
        y0, y1, x0, x1 = self.crop
        left = part_columns(self.part * PART_WIDTH)[self.part][0]
        return Box(y0, y1, left + x0, left + x1)

    @property
    def layers(self) -> list[int]:
        """The layers that the windows and the papyrus mask need, ascending."""
        needed = {n for first in self.windows for n in window_layers(first)}
        return sorted(needed | {self.mask_layer})


def read_title_settings(path: str | Path) -> TitleSettings:
    """Read the settings of a title from a TOML file.

    Raises
    ------
    InvalidArgumentError
        If the file is not TOML, or a key is missing, unknown or of another type.
    """
    where, values = read_toml(path)
    known = {f.name: f for f in fields(TitleSettings)}
    unknown = sorted(set(values) - set(known))
    missing = [n for n, f in known.items() if n not in values and f.default is MISSING]
    if unknown or missing:
        raise InvalidArgumentError(
            f"{where}: unknown keys {unknown}, missing keys {missing}.",
            f"The keys are {sorted(known)}.",
        )
    return TitleSettings(**{n: _checked(known[n], value, where) for n, value in values.items()})


def read_toml(path: str | Path) -> tuple[Path, dict[str, Any]]:
    """Return where a TOML file is, and what it holds.

    Raises
    ------
    InvalidArgumentError
        If it is not there, cannot be read, or is not TOML.
    """
    where = local_file(path, "settings")
    try:
        return where, tomllib.loads(where.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InvalidArgumentError(f"There is no settings file {where}.") from None
    except OSError as error:
        raise InvalidArgumentError(f"{where} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidArgumentError(f"{where} is not TOML: {error}.") from error


def _checked(known: Field[Any], value: Any, where: Path) -> Any:
    """Return a value of the type that its key wants."""
    kind = str(known.type)
    checks: dict[str, Callable[[], bool]] = {
        "str": lambda: isinstance(value, str),
        "bool": lambda: isinstance(value, bool),
        "int": lambda: isinstance(value, int) and not isinstance(value, bool),
        "float": lambda: isinstance(value, int | float) and not isinstance(value, bool),
        "tuple[int, ...]": lambda: (
            isinstance(value, list) and all(isinstance(v, int) for v in value)
        ),
    }
    if not checks[kind]():
        raise InvalidArgumentError(f"{where}: {known.name} = {value!r} is not {kind}.")
    return tuple(value) if isinstance(value, list) else value
