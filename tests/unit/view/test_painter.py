"""The painter sends a page no more than it has drawn, and reads ahead what may be seen next."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from s5engine.view import painter as module
from s5engine.view.cache import TileCache
from s5engine.view.painter import Painter
from s5engine.view.pictures import SurfacePicture
from s5engine.view.pixels import Wanted, missing
from s5engine.view.region import Seen, Span

SIDE = 512


def picture() -> SurfacePicture:
    values = da.full((1, SIDE, 8 * SIDE), 7, np.uint8, chunks=(1, SIDE, SIDE))
    coords = {"layer": [0], "y": np.arange(SIDE), "x": np.arange(8 * SIDE)}
    attrs = {"segment": "s", "contrast": [[0, 0]]}
    return SurfacePicture("s", [xr.DataArray(values, coords, ("layer", "y", "x"), attrs=attrs)])


class Page:
    """Notes what is sent, and draws it when it is told to."""

    def __init__(self) -> None:
        self.sent: list[int] = []
        self.marks: list[int] = []
        self.finished: list[int] = []
        self._changed = threading.Condition()
        self.cache = TileCache()
        self.painter = Painter(
            self.cache,
            lambda place, wanted, pixels: self._note(self.sent, wanted.span.x0 // SIDE),
            finished=lambda number, sharp: self._note(self.finished, number),
            mark=lambda mark: self._note(self.marks, mark),
        )

    def _note(self, where: list[int], what: int) -> None:
        with self._changed:
            where.append(what)
            self._changed.notify_all()

    def wait(self, true: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(true, 120), (self.sent, self.marks, self.finished)


@pytest.fixture
def page(monkeypatch):
    monkeypatch.setattr(module, "LONGEST", 60)
    opened = Page()
    yield opened
    opened.painter.stop()


def until(true: Callable[[], bool]) -> None:
    for _ in range(400):
        if true():
            return
        time.sleep(0.05)
    raise AssertionError("it never is")


def wanted(shown: SurfacePicture, column: int) -> Wanted:
    return Wanted(shown, Span(0, 0, SIDE, column * SIDE, (column + 1) * SIDE), "0")


def test_nothing_is_sent_before_the_page_has_drawn_and_then_the_latest(page: Page) -> None:
    shown = picture()
    page.painter.ask({"a": [wanted(shown, 0)]}, 1)
    page.wait(lambda: page.marks == [1])
    for column in (1, 2, 3):
        page.painter.ask({"a": [wanted(shown, column)]}, column + 1)
        until(lambda column=column: not missing(wanted(shown, column), page.cache))
    page.painter.drawn(1)
    page.wait(lambda: page.marks == [1, 2])
    assert page.sent == [0, 3]
    assert page.finished == [1, 4]


def test_what_is_there_already_is_answered_without_waiting_for_the_page(page: Page) -> None:
    shown = picture()
    page.painter.ask({"a": [wanted(shown, 0)]}, 1)
    page.wait(lambda: page.marks == [1])
    page.painter.ask({"a": [wanted(shown, 0)]}, 2)
    page.wait(lambda: page.finished == [1, 2])
    assert page.sent == [0]


def test_a_page_that_says_nothing_is_sent_more_after_a_while(page: Page, monkeypatch) -> None:
    monkeypatch.setattr(module, "LONGEST", 0.05)
    shown = picture()
    for column in (0, 1):
        page.painter.ask({"a": [wanted(shown, column)]}, column)
        page.wait(lambda column=column: page.finished[-1:] == [column])
    assert page.sent == [0, 1]


def test_what_comes_next_is_read_but_not_sent(page: Page) -> None:
    shown = picture()
    ahead = wanted(shown, 1)
    page.painter.ask({"a": [wanted(shown, 0)]}, 1, [ahead])
    until(lambda: not missing(ahead, page.cache))
    assert page.sent == [0]


def test_beyond_is_half_a_screen_further_on_the_way() -> None:
    before, now = Seen(0, 100, 0, 200), Seen(0, 100, 30, 230)
    assert now.beyond(before) == Seen(0, 100, 130, 330)
    assert before.beyond(now) == Seen(0, 100, -100, 100)
    assert Seen(-40, 60, 1, 201).beyond(before) == Seen(-90, 10, 1, 201)
    assert before.beyond(before) is None
