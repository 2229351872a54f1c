"""The lines of a journal, as they are read: by who goes on with it, and by who only looks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from s5engine.errors import StoreError, afresh

#: What the first line says of the file.
FORMAT = "s5engine-journal"
VERSION = 2


def read_units(path: Path) -> tuple[str, ...]:
    """Return the finished units of a journal that another process may be writing; none if absent.

    Raises
    ------
    StoreError
        If the file cannot be read, or is not a journal.
    """
    return tuple(record["unit"] for record in _records(path) if "unit" in record)


def read_finished(path: Path) -> dict[str, Any] | None:
    """Return the settings of a journal whose work is complete, without opening it for writing.

    None if there is no journal, or its work is not complete.

    Raises
    ------
    StoreError
        If the file cannot be read, or is not a journal.
    """
    records = _records(path)
    done = any(record.get("complete") is True for record in records)
    return header(path, records[0]) if done else None


def read_settings(path: Path) -> dict[str, Any] | None:
    """Return the settings that a journal was begun with; None if there is no journal.

    Raises
    ------
    StoreError
        If the file cannot be read, or is not a journal.
    """
    records = _records(path)
    return header(path, records[0]) if records else None


def _records(path: Path) -> list[dict[str, Any]]:
    """Return what the whole lines say; nothing if there is no file."""
    try:
        lines = whole_lines(path, path.read_bytes())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(f"The journal {path} cannot be read: {error.strerror}.") from error
    return [parse(path, number, line) for number, line in enumerate(lines, start=1)]


def whole_lines(path: Path, raw: bytes) -> list[bytes]:
    """Return the lines that end in a newline; what follows was torn by a kill."""
    start = f'{{"format": "{FORMAT}"'.encode()
    if raw[: len(start)] != start[: len(raw)]:
        raise not_a_journal(path)
    return raw.split(b"\n")[:-1]


def header(path: Path, told: dict[str, Any]) -> dict[str, Any]:
    """Return the settings in a journal's first line."""
    settings = told.get("settings")
    if told.get("format") != FORMAT or not isinstance(settings, dict):
        raise not_a_journal(path)
    if told.get("version") != VERSION:
        raise StoreError(
            f"The journal {path} has version {told.get('version')}, not {VERSION}.",
            afresh("It was written by another version of s5engine: use that one, or start afresh"),
        )
    return settings


def parse(path: Path, number: int, line: bytes) -> dict[str, Any]:
    """Return what a line says."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict) or not _is_understood(record):
        if number == 1:
            raise not_a_journal(path)
        raise StoreError(
            f"Line {number} of the journal {path} is damaged.",
            afresh(),
        )
    return record


def _is_understood(record: dict[str, Any]) -> bool:
    files = record.get("files", {})
    return (
        isinstance(record.get("unit", ""), str)
        and isinstance(files, dict)
        and all(isinstance(mark, list) and len(mark) == 3 for mark in files.values())
    )


def not_a_journal(path: Path) -> StoreError:
    """Return the error of a file that is none."""
    return StoreError(
        f"{path} is not a journal of s5engine.", "Move it away or choose another place."
    )
