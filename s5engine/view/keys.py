"""The keys of a page, as its list says them; `keys.js` answers them."""

from __future__ import annotations

from html import escape

#: Keys and what they do.
KEYS = (
    ("← → ↑ ↓", "move over the segment"),
    ("+ −", "zoom in, zoom out"),
    ("[ ]", "layer below, layer above"),
    ("f", "flip: mirror the view"),
    ("Enter", "close the polygon, as a double click does"),
    ("Backspace", "take the polygon's last corner back"),
    ("Esc", "drop the polygon that is not closed"),
    ("Ctrl+Z", "undo the last shape; while a polygon is open, its last corner"),
    ("Ctrl+Shift+Z, Ctrl+Y", "redo"),
    ("?", "show this list, hide it"),
)


def keys_list() -> str:
    """Return the list as a dialog of the page, closed at first."""
    rows = "".join(f"<tr><th>{escape(k)}</th><td>{escape(w)}</td></tr>" for k, w in KEYS)
    return (
        '<dialog id="keys" aria-labelledby="keys-title"><h2 id="keys-title">Keys</h2>'
        f"<table>{rows}</table><button>Close</button></dialog>"
    )
