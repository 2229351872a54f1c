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
#: Everything that was asked for is on the page, as sharp as it is wanted.
ALL_HERE = "s5.timer == null && s5.asked > 0 && s5.asked === s5.sharp"
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

    def move(self, x: float, y: float, zoom: float) -> None:
        """Go where an address with these would begin."""
        self.page.evaluate(f"s5.show({x}, {y}, {zoom})")

    def shot(self) -> np.ndarray:
        clip = {"x": LEFT, "y": 0, "width": WIDTH, "height": HEIGHT}
        picture = Image.open(io.BytesIO(self.page.screenshot(clip=clip)))
        return np.asarray(picture.convert("RGB")).astype(int)

    def settled(self, *, sharp: bool = True) -> np.ndarray:
        """Return the picture once all that was touched is drawn, and has come to rest.

        A move to where the page is already is answered after all that was asked for before it.
        """
        if sharp:
            self.page.evaluate("s5.moved()")
            self.page.wait_for_function(ALL_HERE, polling="raf")
        before, still = self.shot(), 0
        for _ in range(100):
            self.page.wait_for_timeout(60)
            now = self.shot()
            still = still + 1 if (now == before).all() else 0
            if still >= (2 if sharp else 5):
                return now
            before = now
        raise AssertionError("the picture never comes to rest")

    def widget(self, kind: str, words: str) -> Any:
        return self.page.locator(f".bk-{kind}").filter(has_text=words)

    def slide(self, words: str, key: str, times: int = 1) -> None:
        self.widget("Slider", words).locator(".noUi-handle").focus()
        for _ in range(times):
            self.page.keyboard.press(key)

    def choose(self, words: str, value: str) -> None:
        self.widget("Select", words).locator("select").select_option(label=value)

    def tick(self, words: str) -> None:
        self.widget("Checkbox", words).locator("input").click()

    def press(self, words: str) -> None:
        self.page.locator("button, .bk-btn").get_by_text(words, exact=True).first.click()

    def note(self) -> str:
        return str(self.page.evaluate("Bokeh.documents[0].get_model_by_name('note').text"))

    def wait_note(self, words: str) -> str:
        self.page.wait_for_function(
            "words => Bokeh.documents[0].get_model_by_name('note').text.includes(words)", arg=words
        )
        return self.note()

    def shapes(self) -> int:
        """Return how many strokes are drawn and not saved yet."""
        return int(self.page.evaluate("s5.models.strokes.data.xs.length"))

    def wait_drawn(self, count: int) -> None:
        """Wait until so many strokes came back from the server."""
        self.page.wait_for_function("n => s5.models.strokes.data.xs.length === n", arg=count)

    def screen(self, x: float, y: float, column: int = 0) -> tuple[float, float]:
        """Return where a segment pixel is on the screen."""
        view = self.page.evaluate("({...s5.view, size: s5.size, flip: s5.models.flip.active})")
        across = (x - view["x"]) * view["zoom"] * (-1 if view["flip"] else 1)
        down = (y - view["y"]) * view["zoom"]
        return LEFT + view["size"][0] / 2 + across, view["size"][1] / 2 + down
