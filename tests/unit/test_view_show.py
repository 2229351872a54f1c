"""`s5.show`: ink as a page that a notebook displays, served until it is stopped."""

from __future__ import annotations

import urllib.error
import urllib.request

import numpy as np
import pytest
import xarray as xr

import s5engine as s5
from support import noise, volume_of


def test_ink_shows_itself_beside_its_volume_until_it_is_stopped() -> None:
    volume = volume_of(noise((16, 200, 300)))
    ink = xr.DataArray(
        np.full((1, 200, 300), 0.5, np.float32),
        dims=("window", "y", "x"),
        coords={"window": [0], "y": volume.y, "x": volume.x},
    )
    shown = s5.show(ink, volume)
    try:
        assert shown.url.startswith("http://127.0.0.1:")
        assert f'src="{shown.url}"' in shown._repr_html_()
        with urllib.request.urlopen(shown.url, timeout=60) as page:
            assert page.status == 200
            assert b"bokeh" in page.read().lower()
    finally:
        shown.stop()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(shown.url, timeout=60)
