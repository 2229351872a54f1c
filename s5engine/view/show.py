"""The view inside a notebook: the same page, in a frame."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from s5engine.view.app import page_of
from s5engine.view.scene import show_ink
from s5engine.view.serve import Viewer

if TYPE_CHECKING:
    import xarray as xr

#: Pages that may hold the view: notebooks on this machine.
_NOTEBOOKS = "http://localhost:* http://127.0.0.1:* vscode-webview:"


class Shown:
    """A view that a notebook displays; `stop` ends serving it.

    Attributes
    ----------
    url : str
        Opens the same view in a tab of its own.
    """

    def __init__(self, viewer: Viewer, height: int) -> None:
        self._viewer, self._height = viewer, height

    @property
    def url(self) -> str:
        """The view's address on this machine."""
        return self._viewer.url

    def stop(self) -> None:
        """End serving."""
        self._viewer.stop()

    def __repr__(self) -> str:
        return f"View at {self.url}"

    def _repr_html_(self) -> str:
        return (
            f'<iframe src="{escape(self.url)}" width="100%" height="{self._height}" '
            'style="border: 0; border-radius: 6px" title="s5 view"></iframe>'
        )


def show(
    ink: xr.DataArray,
    surface: xr.DataArray | None = None,
    *,
    height: int = 600,
    out: str | Path = "out/view",
) -> Shown:
    """Show ink in a notebook, as `s5 view` does in the browser.

    The kernel serves it on 127.0.0.1, so the notebook has to run on the machine of the browser.

    Parameters
    ----------
    ink : (window, y, x) DataArray
        Lazy or not, such as ``open_run("run").ink``; a volume (layer, y, x) works too.
    surface : (layer, y, x) DataArray, optional
        The volume below it.
    height : int
        Of the frame, screen pixels.
    out : str or Path
        Folder for saved pictures.

    Returns
    -------
    Shown
        Displays itself where it is the last line of a cell.

    Raises
    ------
    InvalidArgumentError
        If these are not ink and a volume.
    """
    viewer = Viewer(page_of(show_ink(ink, surface, out)), frames=_NOTEBOOKS)
    return Shown(viewer.start(), height)
