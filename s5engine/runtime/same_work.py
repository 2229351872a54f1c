"""Whether work is still the same as it was begun: its settings, and its source by content."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from s5engine.errors import ResumeError, SourceChangedError, WayOut, afresh

#: Entries of a fingerprint that say where something lies, not what it is.
_PLACES = ("url", "volume")
#: Settings that say what people call a thing and where it lies. What it is, others say.
_SPELLINGS = ("checkpoint", "segment", "source")


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


def as_json(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``settings`` as they will read back from a JSON file (tuples become lists)."""
    result: dict[str, Any] = json.loads(json.dumps(dict(settings)))
    return result


def differing_settings(
    found: Mapping[str, Any], wanted: Mapping[str, Any]
) -> dict[str, tuple[Any, Any]]:
    """Return each key whose values differ, as ``key: (found, wanted)``; a missing one is None."""
    keys = sorted({*found, *wanted})
    return {k: (found.get(k), wanted.get(k)) for k in keys if found.get(k) != wanted.get(k)}


def check_settings(found: Mapping[str, Any], wanted: Mapping[str, Any], what: str) -> None:
    """Compare the settings that ``what`` was begun with and those that are asked for now.

    Raises
    ------
    ResumeError
        If they differ; the message names each key with both values.
    """
    differing = differing_settings(found, wanted)
    for name in _SPELLINGS:
        differing.pop(name, None)
    if "fingerprint" in differing:
        check_source(
            found.get("fingerprint") or {},
            wanted.get("fingerprint") or {},
            wanted.get("source", ""),
            what[:1].lower() + what[1:],
            afresh(other=", or choose another place"),
        )
        del differing["fingerprint"]
    if differing:
        listed = "; ".join(_difference(key, *values) for key, values in differing.items())
        raise ResumeError(
            f"{what} was begun with other settings: {listed}.",
            afresh("Use the same settings to go on, choose another place, or start afresh"),
        )


def _difference(key: str, old: Any, new: Any) -> str:
    """Return what differs as text; of two mappings only the entries that do."""
    if isinstance(old, dict) and isinstance(new, dict):
        inner = differing_settings(old, new)
        return "; ".join(_difference(f"{key} {name}", *values) for name, values in inner.items())
    return f"{key} was {_short(old)} and is now {_short(new)}"


def _short(value: Any, length: int = 200) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= length else text[: length - 1] + "…"
