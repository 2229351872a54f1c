"""Whatever is drawn, undone or found: drawn work is kept, and labels lie in the segment."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import s5engine as s5
from s5engine.errors import InvalidArgumentError, StoreError
from s5engine.geometry import Box
from s5engine.view.clip import cut
from s5engine.view.draft import FARTHEST, Content, Draft
from s5engine.view.labels import open_labels
from s5engine.view.shapes import Polygon, Shape, Stroke, paint
from s5engine.view.sketch import Sketch

BOX = Box(30, 90, 40, 120)
#: A border, a corner, far away, and points that come again.
_SIDES = st.sampled_from([39.5, 119.5, 29.5, 89.5, 0.0, 60.0, 80.0, -1e5, 1e9])
_NUMBERS = st.one_of(_SIDES, st.floats(0, 160, width=32), st.floats(-1e6, 1e6))
_POINTS = st.lists(st.tuples(_NUMBERS, _NUMBERS), min_size=1, max_size=9)
_ODD = st.sampled_from([float("nan"), float("inf"), -float("inf"), 1e300, -1e13, None, "x", []])
SHAPES = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["label", "ignore"]),
        "shape": st.sampled_from(["polygon", "stroke"]),
        "points": _POINTS | _POINTS.map(lambda points: points * 2),
        "erase": st.booleans(),
        "radius": st.floats(0.5, 40),
    }
)
BOW_TIE: dict[str, Any] = {
    "kind": "label",
    "shape": "polygon",
    "erase": False,
    "radius": 1.0,
    "points": [(20, 20), (140, 100), (140, 20), (20, 100)],
}
#: A brush that goes along outside of the segment, and reaches into it.
BEYOND = BOW_TIE | {"shape": "stroke", "radius": 5.0, "points": [(36, 40), (36, 80)]}
MANY = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def sketch_in(folder: Path) -> Sketch:
    """Return what a viewer that starts there draws on."""
    (folder / "labels").mkdir(exist_ok=True)
    return Sketch(open_labels(folder / "labels", "seg", BOX))


def add(sketch: Sketch, drawn: dict[str, Any]) -> bool:
    """Draw as a page does; return whether it was taken."""
    before = sketch.shapes
    try:
        sketch.add(
            drawn["kind"],
            drawn["shape"],
            drawn["points"],
            radius=drawn["radius"],
            erase=drawn["erase"],
        )
    except InvalidArgumentError:
        assert sketch.shapes == before
        return False
    return True


def is_shape(drawn: dict[str, Any]) -> bool:
    return drawn["shape"] == "stroke" or len(drawn["points"]) >= 3


def uncut(drawn: dict[str, Any], by: float) -> Shape:
    """Return a shape as it was drawn, moved and widened by next to nothing."""
    points = [(x + by, y - 1.3 * by) for x, y in drawn["points"]]
    if drawn["shape"] == "polygon":
        return Polygon(points, drawn["erase"])
    return Stroke(points, drawn["radius"] + by, drawn["erase"])


@given(st.lists(SHAPES, min_size=1, max_size=4))
@example([BOW_TIE])
@example([BOW_TIE | {"shape": "stroke", "radius": 5.0}])
@example([BOW_TIE | {"points": [(60, 60)] * 4}])
@example([BEYOND])
@example([BEYOND | {"points": [(0, 60), (300, 60)]}])
@MANY
def test_labels_are_what_was_drawn_inside_the_segment(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[dict[str, Any]]
) -> None:
    sketch = sketch_in(tmp_path_factory.mktemp("s"))
    for shape in drawn:
        add(sketch, shape)
    for _, shape in sketch.shapes:
        reach = shape.radius if isinstance(shape, Stroke) else 0
        xs, ys = zip(*shape.points, strict=True)
        assert BOX.x0 - 0.5 - reach <= min(xs) <= max(xs) <= BOX.x1 - 0.5 + reach
        assert BOX.y0 - 0.5 - reach <= min(ys) <= max(ys) <= BOX.y1 - 0.5 + reach
        assert cut(shape, BOX) == [shape]
    written = {p.stem: s5.read_mask(p) for p in sketch.save((0, 0))} if sketch.shapes else {}
    for kind in ("label", "ignore"):
        pictures = np.zeros((3, BOX.height, BOX.width), bool)
        for picture, by in zip(pictures, (-1e-3, 0, 1e-3), strict=True):
            whole = [uncut(d, by) for d in drawn if d["kind"] == kind and is_shape(d)]
            paint(picture, BOX.y0, BOX.x0, whole)
        sure = (pictures == pictures[0]).all(axis=0)
        label = written.get(kind, np.zeros(BOX.shape, bool))  # what was refused covers nothing
        assert label.shape == BOX.shape
        np.testing.assert_array_equal(label[sure], pictures[1][sure])


@given(SHAPES, st.integers(0, 8), _ODD)
@example(BOW_TIE, 2, float("nan"))
@example(BOW_TIE | {"shape": "stroke", "radius": float("nan")}, 0, 50.0)
@example(BOW_TIE | {"shape": "stroke", "radius": 0.0}, 0, 50.0)
@MANY
def test_what_is_no_point_is_refused(
    tmp_path_factory: pytest.TempPathFactory, drawn: dict[str, Any], place: int, odd: Any
) -> None:
    sketch = sketch_in(tmp_path_factory.mktemp("s"))
    add(sketch, BOW_TIE)
    points: list[Any] = list(drawn["points"])
    points[place % len(points)] = (odd, 50.0) if place % 2 else (50.0, odd)
    before = sketch.shapes
    assert not add(sketch, drawn | {"points": points})
    assert sketch.shapes == before


@given(st.lists(SHAPES, min_size=1, max_size=6), st.integers(1, 8), st.booleans())
@MANY
def test_undo_then_redo_is_identity(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[dict[str, Any]], count: int, discard: bool
) -> None:
    sketch = sketch_in(tmp_path_factory.mktemp("s"))
    add(sketch, BOW_TIE)
    states = [sketch.shapes]
    for shape in drawn:
        if add(sketch, shape):
            states.append(sketch.shapes)
    if discard:
        sketch.discard()
        states.append(())
    steps = min(count, len(states) - 1)
    for _ in range(2):
        for state in states[::-1][1 : steps + 1]:
            sketch.undo()
            assert sketch.shapes == state
        for state in states[len(states) - steps :]:
            sketch.redo()
            assert sketch.shapes == state
    sketch.redo()  # there is no more
    assert sketch.shapes == states[-1]


#: What becomes of a draft that lies there.
DAMAGES: dict[str, Any] = {
    "cut off": lambda found: found[: len(found) // 2],
    "empty": lambda found: b"",
    "noise": lambda found: b"\xff\x00" + found[::-1],
    "another segment": lambda found: found.replace(b'"seg"', b'"other"') or b"{",
    "another layout": lambda found: b'{"draft": 99, "segment": "seg"}',
    "a list": lambda found: b"[1, 2]",
    "deep": lambda found: b"[" * 100_000,
    "NaN": lambda found: (
        b'{"draft": 1, "segment": "seg", "corners": [], "shapes": [{"kind":'
        b'"label", "shape": "polygon", "erase": false, "points":'
        b"[[NaN, 1], [2, 3], [4, 5]]}]}"
    ),
    "outside": lambda found: (
        b'{"draft": 1, "segment": "seg", "corners": [], "shapes": [{"kind":'
        b'"label", "shape": "polygon", "erase": false, "points":'
        b"[[0, 1], [500, 3], [4, 500]]}]}"
    ),
}
STEPS = st.one_of(
    SHAPES,
    st.sampled_from(["undo", "redo", "discard", "reload", "save"]),
    st.sampled_from(sorted(DAMAGES)).map(lambda name: ("damage", name)),
)


class Person:
    """Somebody who draws, with an account of what must be there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sketch = sketch_in(folder)
        self.file = self.sketch.draft.file
        self.damaged: set[bytes] = set()

    def do(self, step: Any) -> None:
        """Take a step, and keep the draft as the page does after each."""
        sketch = self.sketch
        if isinstance(step, dict):
            add(sketch, step)
        elif isinstance(step, tuple):
            self.damage(DAMAGES[step[1]])
            return
        elif step == "reload":
            self.reload()
            return
        elif step == "save":
            if not sketch.shapes:
                return
            for path in sketch.save((0, 0)):
                assert s5.read_mask(path).shape == BOX.shape
        else:
            getattr(sketch, step)()
        sketch.keep()

    def damage(self, how: Any) -> None:
        found = self.file.read_bytes() if self.file.exists() else b""
        self.damaged.discard(found)  # it is gone by this hand, not by the viewer's
        self.file.write_bytes(how(found))
        self.damaged.add(self.file.read_bytes())

    def reload(self) -> None:
        """Start again from the files alone."""
        foreign = self.file.exists() and self.file.read_bytes() in self.damaged
        drawn = self.sketch.shapes
        self.sketch = sketch_in(self.folder)
        if foreign:
            assert str(self.file) in self.sketch.trouble
            assert "Traceback" not in self.sketch.trouble
            assert len(self.sketch.trouble.splitlines()) == 1
            assert self.sketch.shapes == ()
        else:
            assert self.sketch.shapes == drawn
            assert self.sketch.trouble == ""

    def check(self) -> None:
        """Nothing that somebody wrote is gone, and what is drawn is in the draft."""
        files = {path.read_bytes() for path in self.file.parent.glob("seg.draft*.json")}
        assert self.damaged <= files
        assert not list(self.file.parent.glob("*.partial"))
        if self.file.exists() and self.file.read_bytes() not in self.damaged:
            assert sketch_in(self.folder).shapes == self.sketch.shapes
        else:
            assert self.sketch.shapes == () or self.damaged


@given(st.lists(STEPS, min_size=1, max_size=12))
@example([BOW_TIE, ("damage", "cut off"), "reload", BOW_TIE, "reload", "undo", "redo", "save"])
@example([BOW_TIE, "discard", "undo", "reload", "save", "reload"])
@settings(MANY, max_examples=100)
def test_drawn_work_is_kept_whatever_happens_to_the_draft(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Any]
) -> None:
    person = Person(tmp_path_factory.mktemp("s"))
    for step in steps:
        person.do(step)
        person.check()


@pytest.mark.parametrize("name", sorted(DAMAGES))
@given(SHAPES, SHAPES)
@settings(MANY, max_examples=10)
def test_each_damage_is_named_and_kept(
    tmp_path_factory: pytest.TempPathFactory, name: str, before: dict[str, Any], after: Any
) -> None:
    person = Person(tmp_path_factory.mktemp("s"))
    for step in (BOW_TIE, before, ("damage", name), "reload", "reload", BOW_TIE, after, "reload"):
        person.do(step)
        person.check()
    assert len(person.sketch.shapes) >= 1


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["kind", "shape", "points", "radius", "erase", "x"]), inner, max_size=4
        )
    ),
    max_leaves=8,
)


def is_point(value: Any) -> bool:
    """Whether a value of JSON is two numbers that are no farther away than a segment reaches."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(type(n) in (int, float) and abs(n) <= FARTHEST for n in value)
    )


OWN = {"draft": 1, "segment": "seg", "shapes": [], "corners": []}
STROKE = {"kind": "label", "shape": "stroke", "points": [[60, 60]], "radius": 5, "erase": False}


@given(st.sampled_from(sorted(OWN)), _JSON)
@example("shapes", [])
@example("corners", [[False, False]])
@example("corners", [[0, 1.5]])
@example("corners", ["12"])
@example("shapes", [STROKE | {"points": []}])
@example("shapes", [STROKE | {"radius": 0}])
@example("shapes", [STROKE | {"radius": float("nan")}])
@example("shapes", [STROKE | {"radius": True}])
@example("shapes", [STROKE | {"radius": "5"}])
@example("shapes", [STROKE | {"points": [[60, float("nan")]]}])
@MANY
def test_a_draft_of_any_content_is_read_or_one_clear_error(
    tmp_path_factory: pytest.TempPathFactory, name: str, value: Any
) -> None:
    file = tmp_path_factory.mktemp("s") / "seg.draft.json"
    record = OWN | {name: value}
    file.write_text(json.dumps(record))
    points = name == "corners" and isinstance(value, list) and all(map(is_point, value))
    if record == OWN or points:
        read = Draft(file, "seg", BOX).read()
        assert read == Content(corners=tuple((float(x), float(y)) for x, y in record["corners"]))
    else:
        with pytest.raises(StoreError, match=re.escape(str(file))):
            Draft(file, "seg", BOX).read()
    assert file.read_text() == json.dumps(record)
