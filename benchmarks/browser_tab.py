"""A tab of headless Chromium that moves about in the viewer as a person does, and a clock in it."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
]
SIZE = {"width": 1600, "height": 1000}
#: The middle of the picture on the page: to its left are the controls.
MIDDLE = (248 + (1600 - 248) / 2, 487)
#: Between two moves, s.
PAUSE = 0.5

_READY = "window.s5 && s5.models && s5.asked > 0 && s5.asked === s5.sharp"
#: Notes when something was last touched.
_CLOCK = """() => {
  window.touched = 0;
  const note = () => { window.touched = performance.now(); };
  for (const name of ["wheel", "pointermove", "mousemove"])
    addEventListener(name, note, { capture: true, passive: true });
}"""
#: Seconds from the last touch until the whole screen shows the place, and until it is sharp.
_DRAWN = """(before) => new Promise((done) => {
  const frames = { answered: 0, sharp: 0 }, seconds = {};
  const look = () => {
    for (const stage of ["answered", "sharp"]) {
      const all = s5.asked > before && s5.timer == null && s5.asked === s5[stage];
      frames[stage] = all ? frames[stage] + 1 : 0;
      if (frames[stage] === 3) seconds[stage] = (performance.now() - window.touched) / 1000;
    }
    if (frames.sharp >= 3) done([seconds.answered, seconds.sharp]);
    else requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
})"""


def find_chromium() -> str | None:
    """Return where a Chromium is, or None."""
    named = os.environ.get("S5_CHROMIUM")
    found = map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))
    return named or next((path for path in found if path), None)


@contextmanager
def open_browser() -> Iterator[Any]:
    """Run Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=find_chromium(), args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


class Answer(NamedTuple):
    """Seconds until the whole screen shows the place, perhaps at a coarser level; until sharp."""

    answered: float
    sharp: float


class Tab:
    """One page of the viewer."""

    def __init__(self, browser: Any) -> None:
        self._context = browser.new_context(viewport=SIZE)
        self.page = self._context.new_page()

    def close(self) -> None:
        """Close it."""
        self._context.close()

    def open(self, url: str) -> float:
        """Return the seconds until everything is drawn."""
        started = time.perf_counter()
        self.page.goto(url)
        self.page.wait_for_function(_READY, polling="raf")
        self.page.evaluate(
            "new Promise((d) => requestAnimationFrame(() => requestAnimationFrame(d)))"
        )
        seconds = time.perf_counter() - started
        self.page.evaluate(_CLOCK)
        return seconds

    def reach(self, zoom: float) -> tuple[float, float]:
        """Return how many rows and columns of the segment fit on the screen."""
        width, height = self.page.evaluate("s5.size")
        return height / zoom, width / zoom

    def jump(self, x: float, y: float, zoom: float) -> Answer:
        """Go elsewhere."""
        before = self._asked()
        self.page.evaluate(f"window.touched = performance.now(); s5.show({x}, {y}, {zoom})")
        return self._drawn(before)

    def pan(self, share: float) -> Answer:
        """Drag the picture to the left by a share of its width."""
        mouse, before = self.page.mouse, self._asked()
        half = self.page.evaluate("s5.size")[0] * share / 2
        mouse.move(MIDDLE[0] + half, MIDDLE[1])
        mouse.down()
        mouse.move(MIDDLE[0] - half, MIDDLE[1], steps=6)
        answer = self._drawn(before)
        mouse.up()
        return answer

    def wheel(self, by: float) -> Answer:
        """Turn the wheel by a notch."""
        before = self._asked()
        self.page.mouse.move(*MIDDLE)
        self.page.mouse.wheel(0, by)
        return self._drawn(before)

    def share_drawn(self) -> float:
        """Return the share of the picture's pixels that are not as dark as the empty page."""
        import io

        from PIL import Image

        clip = {"x": 260, "y": 20, "width": 1320, "height": 900}
        picture = np.asarray(Image.open(io.BytesIO(self.page.screenshot(clip=clip))))
        return float((picture.max(axis=-1) > 24).mean())

    def _asked(self) -> int:
        return int(self.page.evaluate("s5.asked"))

    def _drawn(self, before: int) -> Answer:
        answered, sharp = self.page.evaluate(_DRAWN, before)
        self.page.wait_for_timeout(PAUSE * 1000)
        return Answer(float(answered), float(sharp))
