"""Folder pages as Apache and nginx write them, from a flat list of paths."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Literal
from urllib.parse import quote

Listing = Literal["apache", "nginx"]


@dataclass(frozen=True)
class Entry:
    """One line of a folder page; ``size`` in bytes (None: folder), ``mtime`` in Unix seconds."""

    name: str
    size: int | None
    mtime: float


def folder_entries(folder: str, files: Mapping[str, tuple[int, float]]) -> list[Entry] | None:
    """Return what lies directly in ``folder``, folders first, or None if there is no such folder.

    Parameters
    ----------
    folder : str
        ``""`` for the root, otherwise a path that ends in a slash.
    files : mapping of str to (int, float)
        Size and modification time of every file, by its path.
    """
    below = {path[len(folder) :]: what for path, what in files.items() if path.startswith(folder)}
    if not below and folder:
        return None
    found: dict[str, Entry] = {}
    for path, (size, mtime) in below.items():
        name, slash, _ = path.partition("/")
        if slash:
            newest = max(mtime, found[name + "/"].mtime) if name + "/" in found else mtime
            found[name + "/"] = Entry(name + "/", None, newest)
        else:
            found[name] = Entry(name, size, mtime)
    return sorted(found.values(), key=lambda entry: (entry.size is not None, entry.name))


def folder_page(folder: str, entries: Iterable[Entry], style: Listing) -> bytes:
    """Return the HTML page of a folder in the server's style."""
    text = _nginx(folder, entries) if style == "nginx" else _apache(folder, entries)
    return text.encode()


def _apache(folder: str, entries: Iterable[Entry]) -> str:
    title = escape(f"Index of /{folder}".rstrip("/"))
    sort = "".join(
        f'<th><a href="?C={column};O={"D" if column == "N" else "A"}">{name}</a></th>'
        for column, name in (("N", "Name"), ("M", "Last modified"), ("S", "Size"))
    )
    parent = (
        '   <tr><td><img src="/icons/back.gif" alt="[PARENTDIR]"></td>'
        '<td><a href="../">Parent Directory</a></td><td>&nbsp;</td><td>  - </td></tr>\n'
    )
    rows = "".join(
        f'   <tr><td><img src="/icons/unknown.gif" alt="[{"DIR" if e.size is None else "IMG"}]">'
        f'</td><td><a href="{quote(e.name)}">{escape(e.name)}</a></td>'
        f'<td align="right">{time.strftime("%Y-%m-%d %H:%M", time.gmtime(e.mtime))}  </td>'
        f'<td align="right">{_short_size(e.size)}</td></tr>\n'
        for e in entries
    )
    return (
        '<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3.2 Final//EN">\n'
        f"<html>\n <head>\n  <title>{title}</title>\n </head>\n <body>\n<h1>{title}</h1>\n"
        f'  <table>\n   <tr><th><img src="/icons/blank.gif" alt="[ICO]"></th>{sort}</tr>\n'
        f"{parent if folder else ''}{rows}</table>\n</body></html>\n"
    )


def _nginx(folder: str, entries: Iterable[Entry]) -> str:
    title = escape(f"Index of /{folder}")
    lines = ['<a href="../">../</a>\n'] if folder else []
    for e in entries:
        # nginx cuts what it shows, never the link.
        shown = e.name if len(e.name) <= 50 else e.name[:47] + "..>"
        date = time.strftime("%d-%b-%Y %H:%M", time.gmtime(e.mtime))
        size = "-" if e.size is None else str(e.size)
        pad = " " * (51 - len(shown))
        lines.append(f'<a href="{quote(e.name)}">{escape(shown)}</a>{pad}{date} {size:>19}\n')
    return (
        f"<html>\n<head><title>{title}</title></head>\n<body>\n<h1>{title}</h1><hr><pre>"
        f"{''.join(lines)}</pre><hr></body>\n</html>\n"
    )


def _short_size(size: int | None) -> str:
    """Return a size as Apache shows it: three digits and a unit letter."""
    if size is None:
        return "  - "
    value = float(size)
    for unit in ("", "K", "M", "G"):
        if value < 1000:
            return f"{value:.0f}{unit}" if value >= 10 or not unit else f"{value:.1f}{unit}"
        value /= 1024
    return f"{value:.1f}T"
