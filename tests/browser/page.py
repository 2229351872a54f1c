"""The page as a person uses it: controls by their words, pixels by screenshots."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

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
#: Left edge of the picture on the page, and its size, px.
LEFT, WIDTH, HEIGHT = 248, 952, 694


class Tab:
    """One tab."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on(
            "console",
            lambda told: self.errors.append(told.text) if told.type == "error" else None,
        )

    def open(self, url: str, query: str = "") -> np.ndarray:
        self.page.goto(url + query)
        self.page.wait_for_function("window.s5 && s5.models && s5.view.zoom != null")
        return self.settled()

    def shot(self) -> np.ndarray:
        clip = {"x": LEFT, "y": 0, "width": WIDTH, "height": HEIGHT}
        picture = Image.open(io.BytesIO(self.page.screenshot(clip=clip)))
        return np.asarray(picture.convert("RGB")).astype(int)

    def settled(self) -> np.ndarray:
        """Return the picture once there is one and it has not changed for half a second."""
        before, still = self.shot(), 0
        for _ in range(60):
            self.page.wait_for_timeout(100)
            now = self.shot()
            still = still + 1 if (now == before).all() else 0
            if still >= 5:
                return now
            before = now
        raise AssertionError("the picture never comes to rest")

    def widget(self, kind: str, words: str) -> Any:
        return self.page.locator(f".bk-{kind}").filter(has_text=words)

    def slide(self, words: str, key: str, times: int = 1) -> None:
        handle = self.widget("Slider", words).locator(".noUi-handle")
        handle.focus()
        for _ in range(times):
            handle.press(key)

    def choose(self, words: str, value: str) -> None:
        self.widget("Select", words).locator("select").select_option(label=value)

    def tick(self, words: str) -> None:
        self.widget("Checkbox", words).locator("input").click()

    def press(self, words: str) -> None:
        self.page.locator("button, .bk-btn").get_by_text(words, exact=True).first.click()

    def note(self) -> str:
        return str(self.page.evaluate(
            "Bokeh.documents[0].get_model_by_name('note').text"))  # fmt: skip

    def wait_note(self, words: str) -> str:
        self.page.wait_for_function(
            "words => Bokeh.documents[0].get_model_by_name('note').text.includes(words)", arg=words
        )
        return self.note()

    def screen(self, x: float, y: float, column: int = 0) -> tuple[float, float]:
        """Return where a segment pixel is on the screen."""
        view = self.page.evaluate("({...s5.view, size: s5.size, flip: s5.models.flip.active})")
        across = (x - view["x"]) * view["zoom"] * (-1 if view["flip"] else 1)
        down = (y - view["y"]) * view["zoom"]
        return LEFT + view["size"][0] / 2 + across, view["size"][1] / 2 + down
