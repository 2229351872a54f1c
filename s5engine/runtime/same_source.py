"""Whether a source is still the one that work was begun from: by content, never by its place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from s5engine.errors import SourceChangedError, WayOut

#: Entries of a fingerprint that say where something lies, not what it is.
_PLACES = ("url", "volume")


def content_of(fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    """Return a fingerprint without the places in it."""
    return {
        key: content_of(value) if isinstance(value, Mapping) else value
        for key, value in fingerprint.items()
        if key not in _PLACES
    }


def check_source(
    found: Mapping[str, Any], wanted: Mapping[str, Any], source: str, work: str, fix: str | WayOut
) -> None:
    """Refuse to go on from a source whose files are not those that the work was begun from.

    What only one of the two knows is not compared: earlier versions noted less.

    Parameters
    ----------
    found, wanted : mapping
        The fingerprints of the beginning and of now.
    source, work, fix : str, the last one or WayOut
        For the error: where the files are, what was made from them, and the way out.

    Raises
    ------
    SourceChangedError
        The message names the first file that differs, and how.
    """
    change = _first_change(content_of(found), content_of(wanted))
    if change is not None:
        raise SourceChangedError(
            f"The source {source} has changed since {work} was begun: {change}.", fix
        )


def _first_change(found: Any, wanted: Any, name: str = "") -> str | None:
    if not isinstance(found, dict) or not isinstance(wanted, dict):
        return None if found == wanted else f"{name} was {found!r:.80} and is now {wanted!r:.80}"
    shared = found.keys() & wanted.keys()
    if found and wanted and not shared:
        return f"it held {_some(found)} and holds {_some(wanted)}"
    changes = (_first_change(found[k], wanted[k], f"{name} {k}".strip()) for k in sorted(shared))
    return next((change for change in changes if change is not None), None)


def _some(entries: Mapping[str, Any]) -> str:
    return ", ".join(sorted(entries)[:4])
