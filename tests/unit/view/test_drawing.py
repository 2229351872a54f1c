"""Drawn shapes: the pixels they cover, and the files of a part that they end in."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import s5engine as s5
from s5engine.errors import (
    InvalidArgumentError,
    SourceError,
    SourceNotFoundError,
    StoreError,
)
from s5engine.geometry import part_columns
from s5engine.view.drawing import Polygon, Shape, Stroke, write_drawing

#: A part that begins at neither 0, its rows more than one band.
BOX = (30, 330, 1000, 1200)
SQUARE = Polygon([(1010, 40), (1020, 40), (1020, 50), (1010, 50)])

coordinates = st.tuples(st.floats(960, 1240, width=32), st.floats(0, 360, width=32))
polygons = st.builds(Polygon, st.lists(coordinates, min_size=3, max_size=8), st.booleans())
strokes = st.builds(
    Stroke, st.lists(coordinates, min_size=1, max_size=4), st.floats(0.5, 40), st.booleans()
)


def in_polygon(points: Any, x: int, y: int) -> bool:
    """The winding number of one point, edge by edge."""
    turns = 0
    for (xa, ya), (xb, yb) in zip(points, [*points[1:], points[0]], strict=True):
        if min(ya, yb) <= y < max(ya, yb) and x >= xa + (y - ya) * ((xb - xa) / (yb - ya)):
            turns += 1 if ya < yb else -1
    return turns != 0


def near_way(points: Any, radius: float, x: int, y: int) -> bool:
    """The distance of one point to each piece of the way."""
    pieces = list(pairwise(points)) or [(points[0], points[0])]
    for (xa, ya), (xb, yb) in pieces:
        dx, dy = xb - xa, yb - ya
        length = dx * dx + dy * dy
        share = min(max(((x - xa) * dx + (y - ya) * dy) / length, 0), 1) if length else 0
        if (x - xa - share * dx) ** 2 + (y - ya - share * dy) ** 2 <= radius**2:
            return True
    return False


def plain(start: np.ndarray, shapes: list[Shape], box: tuple[int, int, int, int]) -> np.ndarray:
    """The same picture, pixel by pixel, of every 13th row and 7th column."""
    out = start.copy()
    y0, y1, x0, x1 = box
    for y in range(y0, y1, 13):
        for x in range(x0, x1, 7):
            for shape in shapes:
                if isinstance(shape, Polygon):
                    inside = in_polygon(list(shape.points), x, y)
                else:
                    inside = near_way(list(shape.points), shape.radius, x, y)
                if inside:
                    out[y - y0, x - x0] = not shape.erase
    return out


@given(st.lists(polygons | strokes, max_size=4))
def test_what_is_drawn_ends_at_the_right_pixels(
    tmp_path_factory: pytest.TempPathFactory, shapes: list[Shape]
) -> None:
    folder = tmp_path_factory.mktemp("part")
    start = np.zeros((300, 200), bool)
    start[100:200, 50:150] = True
    Image.fromarray(start.astype(np.uint8) * 255).save(folder / "label.png")
    path = write_drawing(folder, "label", shapes, BOX)
    drawn = s5.read_mask(path)
    assert drawn.shape == (300, 200)
    np.testing.assert_array_equal(drawn[::13, ::7], plain(start, shapes, BOX)[::13, ::7])


@given(st.lists(coordinates, min_size=3, max_size=3))
def test_a_triangle_is_what_its_three_sides_say(corners: Any) -> None:
    covered = Polygon(corners).covers(0, 100, 1000, 1100)
    y, x = np.mgrid[0:100, 1000:1100]
    gaps = []
    for (xa, ya), (xb, yb) in zip(corners, [*corners[1:], corners[0]], strict=True):
        length = np.hypot(xb - xa, yb - ya) or 1.0
        gaps.append(((xb - xa) * (y - ya) - (yb - ya) * (x - xa)) / length)
    # Farther than a hundredth of a pixel from every side; nearer ones may fall either way.
    inside = (np.min(gaps, axis=0) > 0.01) | (np.max(gaps, axis=0) < -0.01)
    outside = (np.min(gaps, axis=0) < -0.01) & (np.max(gaps, axis=0) > 0.01)
    assert covered[inside].all()
    assert not covered[outside].any()


def test_a_square_covers_its_side_squared_and_neighbours_share_nothing(tmp_path: Path) -> None:
    write_drawing(tmp_path / "a", "label", [SQUARE], BOX)
    mask = s5.read_mask(tmp_path / "a" / "label.png")
    assert mask[10:20, 10:20].all()
    assert mask.sum() == 100
    beside = Polygon([(1020, 40), (1030, 40), (1030, 50), (1020, 50)])
    write_drawing(tmp_path / "b", "label", [beside], BOX)
    other = s5.read_mask(tmp_path / "b" / "label.png")
    assert not (mask & other).any()
    assert (mask | other)[10:20, 10:30].all()


def test_a_loop_that_crosses_itself_leaves_no_hole() -> None:
    twice = Polygon([*SQUARE.points, *SQUARE.points])
    np.testing.assert_array_equal(
        twice.covers(30, 60, 1000, 1030), SQUARE.covers(30, 60, 1000, 1030)
    )


def test_a_dot_is_a_disc_and_the_eraser_takes_it_out_again(tmp_path: Path) -> None:
    dot = Stroke([(1100, 100)], 5)
    mask = s5.read_mask(write_drawing(tmp_path / "a", "ignore", [dot], BOX))
    y, x = np.mgrid[30:330, 1000:1200]
    np.testing.assert_array_equal(mask, np.hypot(x - 1100, y - 100) <= 5)
    write_drawing(tmp_path / "a", "ignore", [Stroke([(1100, 100)], 6, erase=True)], BOX)
    assert not s5.read_mask(tmp_path / "a" / "ignore.png").any()


def test_a_part_of_a_grid_with_a_first_offset(tmp_path: Path) -> None:
    x0, x1 = part_columns(900, 300, 120)[2]
    assert (x0, x1) == (180, 480)
    wide = Polygon([(170, 5), (190, 5), (190, 9), (170, 9)])
    mask = s5.read_mask(write_drawing(tmp_path / "s_02", "label", [wide], (0, 40, x0, x1)))
    assert mask.shape == (40, 300)
    assert mask[5:9, :10].all()
    assert mask.sum() == 40


def test_former_files_stay_as_numbered_backups(tmp_path: Path) -> None:
    folder = tmp_path / "part"
    for number in range(3):
        write_drawing(folder, "label", [Stroke([(1010 + 50 * number, 100)], 3)], BOX)
    write_drawing(folder, "ignore", [SQUARE], BOX)
    assert sorted(p.name for p in folder.iterdir()) == [
        "ignore.png",
        "label.1.png",
        "label.2.png",
        "label.png",
    ]
    counts = [s5.read_mask(folder / f"label{n}.png").sum() for n in (".1", ".2", "")]
    assert counts == [counts[0], 2 * counts[0], 3 * counts[0]]


def test_drawing_on_a_proposal_leaves_the_proposal_alone(tmp_path: Path) -> None:
    proposal = np.zeros((300, 200), np.uint8)
    proposal[:20] = 255
    proposal[20:40] = 128  # a soft edge, below the threshold
    Image.fromarray(proposal).convert("P").save(tmp_path / "proposal.png")
    before = (tmp_path / "proposal.png").read_bytes()
    write_drawing(tmp_path / "part", "label", [SQUARE], BOX)
    path = write_drawing(tmp_path / "part", "label", [], BOX, start=tmp_path / "proposal.png")
    assert (tmp_path / "proposal.png").read_bytes() == before
    np.testing.assert_array_equal(s5.read_mask(path), proposal == 255)
    soft = write_drawing(
        tmp_path / "part", "label", [], BOX, start=tmp_path / "proposal.png", threshold=100
    )
    np.testing.assert_array_equal(s5.read_mask(soft), proposal >= 100)


KILLED = """
import os, signal, sys
from s5engine.view import drawing
paint, calls = drawing.paint, []
def killed(*args):
    calls.append(1)
    if len(calls) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    paint(*args)
drawing.paint = killed
stroke = drawing.Stroke([(1100, 100)], 50)
drawing.write_drawing(sys.argv[1], "label", [stroke], (30, 330, 1000, 1200))
"""


def test_killed_in_the_middle_the_old_file_stays(tmp_path: Path) -> None:
    folder = tmp_path / "part"
    path = write_drawing(folder, "label", [SQUARE], BOX)
    before = path.read_bytes()
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder)], check=False)
    assert done.returncode == -9
    assert path.read_bytes() == before
    assert list(folder.glob("label.*.png")) == []
    write_drawing(folder, "label", [Stroke([(1100, 100)], 5)], BOX)
    assert sorted(p.name for p in folder.iterdir()) == ["label.1.png", "label.png"]
    assert (folder / "label.1.png").read_bytes() == before


def test_what_does_not_fit_is_refused_and_nothing_changes(tmp_path: Path) -> None:
    folder = tmp_path / "part"
    write_drawing(folder, "label", [SQUARE], BOX)
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    with pytest.raises(InvalidArgumentError, match=r"300 × 200 px .* the part 299 × 200"):
        write_drawing(folder, "ignore", [], (31, 330, 1000, 1200))
    with pytest.raises(InvalidArgumentError, match='kind is "label" or "ignore"'):
        write_drawing(folder, "mask", [], BOX)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="is empty"):
        write_drawing(folder, "label", [], (30, 30, 0, 10))
    with pytest.raises(SourceNotFoundError, match="to draw on"):
        write_drawing(folder, "label", [], BOX, start=tmp_path / "none.png")
    (tmp_path / "torn.png").write_bytes(before["label.png"][:60])
    with pytest.raises(SourceError, match="damaged"):
        write_drawing(folder, "label", [], BOX, start=tmp_path / "torn.png")
    with pytest.raises(StoreError, match="cannot be written"):
        write_drawing(tmp_path / "no" / "folder", "label", [], BOX)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


@pytest.mark.parametrize(
    "shape",
    [
        lambda: Polygon([(0, 0), (1, 1)]),
        lambda: Polygon([(0, 0), (1, 1), (float("nan"), 2)]),
        lambda: Stroke([], 3),
        lambda: Stroke([(0, 0)], 0),
        lambda: Stroke([(0, 0)], float("inf")),
        lambda: Stroke([(0, 0, 0)], 3),  # type: ignore[list-item]
    ],
)
def test_a_shape_that_is_none_is_refused(shape: Any) -> None:
    with pytest.raises(InvalidArgumentError):
        shape()
