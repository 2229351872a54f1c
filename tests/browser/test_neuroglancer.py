"""neuroglancer itself opens our pyramids, with the script that the README names."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from browser.conftest import find_chromium
from s5engine.store.pyramid import write_pyramid

SCRIPT = Path(__file__).parents[2] / "docs" / "view_in_neuroglancer.py"
#: WebGL without a graphics card.
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("place", ["phantom.zarr", "run1/ink.zarr"])
def test_neuroglancer_draws_a_volume_and_a_run(data: Path, driver, place: str) -> None:
    pytest.importorskip("neuroglancer", reason="neuroglancer is not installed")
    write_pyramid(data / place, progress=False)
    spec = importlib.util.spec_from_file_location("view_in_neuroglancer", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    viewer = script.show(str(data / place))
    browser = driver.chromium.launch(executable_path=find_chromium(), args=FLAGS)
    page = browser.new_page(viewport={"width": 800, "height": 500})
    errors: list[str] = []
    page.on("console", lambda told: errors.append(told.text) if "chunk" in told.text else None)
    page.goto(viewer.get_viewer_url())
    for _ in range(240):
        page.wait_for_timeout(500)
        shot = Image.open(io.BytesIO(page.screenshot())).convert("L")
        middle = np.asarray(shot)[200:350, 300:500]
        if middle.std() > 8:
            break
    browser.close()
    assert errors == []
    assert middle.std() > 8  # an empty panel is one gray, with a line across
