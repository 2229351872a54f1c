"""The settings of a view, and the address that holds them, so that a view can be sent on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any
from urllib.parse import urlencode

from s5engine.errors import InvalidArgumentError
from s5engine.view.region import FARTHEST

#: Colour maps by name; see `s5engine.view.colours`.
COLOURS = ("gray", "amber", "inferno", "viridis", "cividis")
#: What a kind of setting is called.
_WORDS = {"float": "number", "int": "whole number", "bool": "0 or 1", "str": "text"}
#: So much of what somebody wrote is said again, characters.
_LONGEST = 60


@dataclass(frozen=True)
class ViewSettings:
    """What a view depends on besides the data.

    Attributes
    ----------
    show : str
        ``"mean"``, ``"max"`` or the number of a window.
    boost : float
        1…10.
    opacity : float
        Of the ink over the surface, 0…1.
    colour : str
        One of `COLOURS`.
    flip, invert : bool
    brightness, contrast : float
        Of the surface as it is shown, -1…1 and 0.1…10.
    layer : int or None
        Of the surface; None is the middle one.
    mask, label, ignore : bool
        Overlays.
    x, y : float or None
        What is in the middle of the screen, segment pixels; None for the middle of everything.
    zoom : float or None
        Screen pixels along a segment pixel; None so that all is on the screen.
    """

    show: str = "mean"
    boost: float = 1.0
    opacity: float = 0.9
    colour: str = "amber"
    flip: bool = False
    invert: bool = False
    brightness: float = 0.0
    contrast: float = 1.0
    layer: int | None = None
    mask: bool = False
    label: bool = False
    ignore: bool = False
    x: float | None = None
    y: float | None = None
    zoom: float | None = None

    def __post_init__(self) -> None:
        for name, low, high in (
            ("boost", 1, 10),
            ("opacity", 0, 1),
            ("zoom", 1e-6, 1e3),
            ("brightness", -1, 1),
            ("contrast", 0.1, 10),
        ):
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise InvalidArgumentError(f"{name} is between {low:g} and {high:g}, not {value}.")
        for name in ("x", "y"):
            value = getattr(self, name)
            if value is not None and not abs(value) <= FARTHEST:
                raise InvalidArgumentError(f"{name} is a number of pixels, not {value}.")
        if self.colour not in COLOURS:
            raise InvalidArgumentError(
                f"colour is one of {', '.join(COLOURS)}, not {str(self.colour)[:_LONGEST]!r}."
            )


_KINDS = {field.name: str(field.type) for field in fields(ViewSettings)}
#: Names of the settings in an address.
SETTINGS = frozenset(_KINDS)


def to_query(settings: ViewSettings) -> str:
    """Return the settings as the query of an address; what is None is left out."""
    words = {}
    for name, kind in _KINDS.items():
        value = getattr(settings, name)
        if value is None:
            continue
        if kind == "bool":
            words[name] = str(int(value))
        else:
            words[name] = f"{value:.6g}" if "float" in kind and name == "zoom" else _short(value)
    return urlencode(words)


def _short(value: Any) -> str:
    return f"{round(value, 2):g}" if isinstance(value, float) and abs(value) < 1e5 else str(value)


def from_query(arguments: Mapping[str, Sequence[bytes | str]]) -> ViewSettings:
    """Return the settings that an address holds; what it does not name has its default.

    Parameters
    ----------
    arguments : mapping of str to sequence of bytes or str
        Parsed query; the last value of a name counts, unknown names are passed over.

    Raises
    ------
    InvalidArgumentError
        If a value cannot be understood or is out of its range.
    """
    found: dict[str, Any] = {}
    for name, kind in _KINDS.items():
        values = arguments.get(name)
        if not values:
            continue
        last = values[-1]
        text = last.decode("utf-8", "replace") if isinstance(last, bytes) else last
        try:
            found[name] = _value(text, kind)
        except ValueError:
            wanted = _WORDS[kind.split()[0]]
            raise InvalidArgumentError(
                f"The address says {name}={text[:_LONGEST]!r}, which is no {wanted}.",
                "Leave it out for the default.",
            ) from None
    return ViewSettings(**found)


def _value(text: str, kind: str) -> Any:
    """Return a value of the kind that a field has."""
    if kind.startswith("bool"):
        if text not in ("0", "1"):
            raise ValueError(text)
        return text == "1"
    if kind.startswith("int"):
        return int(text)
    return float(text) if kind.startswith("float") else text
