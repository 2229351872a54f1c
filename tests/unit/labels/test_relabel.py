"""Relabelling from a run on disk: files, places, backups, bands and the picture."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import torch
import xarray as xr
from typer.testing import CliRunner

import s5engine as s5
from s5engine.cli import app
from s5engine.infer import memory
from s5engine.labels import evidence as evidence_module
from s5engine.labels.changes import COLOURS
from support import TILE, counting_model, volume_of

HEIGHT, WIDTH = 200, 300
FILES = ("label.png", "ignore.png", "changes.png", "relabel.json")


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "BLOCK_SIZES", (64,))


def brightness(tiles: torch.Tensor) -> torch.Tensor:
    """Answer with the brightness as ink."""
    ink = torch.nn.functional.avg_pool2d(tiles.mean(1), 4).clamp(0.001, 0.999)
    return torch.logit(ink)


def one_sided(tiles: torch.Tensor) -> torch.Tensor:
    """Answer with 0.95 on the left of a tile and 0.02 on the right: turned views disagree."""
    side = tiles.shape[-1] // 4
    line = torch.where(torch.arange(side) < side // 2, 0.95, 0.02)
    return torch.logit(line.expand(len(tiles), side, side).clone())


def scene() -> np.ndarray:
    """Return pixels (y, x): ink on the left, doubt in the middle, blank on the right."""
    pixels = np.full((HEIGHT, WIDTH), 10, np.uint8)
    pixels[:, :100] = 230
    pixels[:, 100:200] = 115
    return pixels


def run_of(
    folder: Path,
    answer: object = brightness,
    *,
    crop: tuple[slice, slice] | None = None,
    y0: int = 0,
    x0: int = 0,
    **asked: object,
) -> s5.Run:
    model, _ = counting_model(answer)  # type: ignore[arg-type]
    volume = volume_of(np.repeat(scene()[None], 18, 0), y0=y0, x0=x0, contrast=[[0, 0], [255, 255]])
    if crop is not None:
        volume = volume.isel(y=crop[0], x=crop[1])
    settings = {"windows": [0, 2], "stride": 32, "tta": 1, "spread": True} | asked
    return s5.write_run(s5.predict_ink(volume, model, **settings), folder, progress=False)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> s5.Run:
    """One run that nobody changes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "BLOCK_SIZES", (64,))
        return run_of(tmp_path_factory.mktemp("runs") / "run")


def write(path: Path, mask: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(imagecodecs.png_encode(mask.astype(np.uint8) * 255))


def read(path: Path) -> np.ndarray:
    picture = imagecodecs.png_decode(path.read_bytes())
    assert set(np.unique(picture)) <= {0, 255}
    return picture == 255


def drawn() -> tuple[np.ndarray, np.ndarray]:
    """Return a label in ink, doubt and blank, and an ignore mask across all three."""
    label, ignore = np.zeros((2, HEIGHT, WIDTH), bool)
    label[20:40, 10:290] = True
    ignore[60:70, :] = True
    return label, ignore


def part_of(folder: Path) -> Path:
    label, ignore = drawn()
    write(folder / "label.png", label)
    write(folder / "ignore.png", ignore)
    return folder


def test_files_say_what_the_rule_says(tmp_path: Path, run: s5.Run) -> None:
    part = part_of(tmp_path / "part")
    before = {f: f.read_bytes() for f in part.iterdir()}
    report = s5.relabel(run, part, tmp_path / "out", drawn="question", progress=False)
    assert sorted(f.name for f in (tmp_path / "out").iterdir()) == sorted(FILES)
    assert {f: f.read_bytes() for f in part.iterdir()} == before
    label, ignore = drawn()
    ink = run.ink.values
    spread = s5.blend(run.spread).values.max(0)
    calm = np.maximum((ink.max(0) - ink.min(0)) / 2, spread) <= 0.2
    sure, blank = calm & (ink.min(0) >= 0.6), calm & (ink.max(0) <= 0.3)
    wanted = (label & ~blank) | (sure & ~ignore)
    np.testing.assert_array_equal(read(report.label), wanted)
    np.testing.assert_array_equal(
        read(report.ignore),
        ignore | (label & blank) | (~label & ~sure & ~blank),
    )
    assert report.backups == ()
    assert report.counts["kept"] == (label & ~blank).sum()
    assert report.counts["added"] == (sure & ~label & ~ignore).sum() > 0
    assert report.counts["questioned"] == (label & blank).sum() > 0
    assert report.counts["doubted"] == (~label & ~ignore & ~sure & ~blank).sum() > 0
    assert report.counts["predicted"] == HEIGHT * WIDTH
    record = json.loads(report.record.read_text())
    assert record["pixels"] == report.counts
    assert record["rule"]["drawn"] == "question"
    assert record["run"]["spread"] is True
    assert record["run"]["checkpoint"] == run.record["settings"]["checkpoint"]


def test_views_that_disagree_are_ignored(tmp_path: Path) -> None:
    (tmp_path / "part").mkdir()
    counts = {}
    for name, spread in (("with", True), ("without", False)):
        run = run_of(tmp_path / name, one_sided, stride=TILE, taper="uniform", spread=spread, tta=3)
        counts[name] = s5.relabel(
            run,
            tmp_path / "part",
            tmp_path / f"{name}-out",
            ink_above=0.45,
            blank_below=0.4,
            progress=False,
        ).counts
    assert counts["with"]["added"] == 0
    assert counts["without"]["added"] > 1000


def test_no_label_begins_a_new_one_and_a_run_without_spread_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "part").mkdir()
    run_of(tmp_path / "run", spread=False)
    report = s5.relabel(tmp_path / "run", tmp_path / "part", tmp_path / "out")
    assert "holds no spread" in capsys.readouterr().err
    label = read(report.label)
    assert label[:, :90].all()
    assert not label[:, 110:].any()
    assert read(report.ignore)[:, 110:190].all()
    assert report.counts["kept"] == 0


@pytest.mark.parametrize(("y0", "x0"), [(0, 0), (0, 20_000), (37, 30_011)])
def test_a_crop_changes_its_place_alone(tmp_path: Path, y0: int, x0: int) -> None:
    """The part is larger than the run's ink: a crop of a part that begins at a grid column."""
    shape = (HEIGHT + 60, WIDTH + 50)
    label, ignore = np.zeros((2, *shape), bool)
    label[::9] = True
    ignore[:, ::11] = True
    for name, mask in (("label", label), ("ignore", ignore)):
        write(tmp_path / "part" / f"{name}.png", mask)
    crop = (slice(13, 190), slice(30, 260))
    run = run_of(tmp_path / "run", crop=crop, y0=y0, x0=x0, stride=TILE)
    report = s5.relabel(run, tmp_path / "part", tmp_path / "out", progress=False)
    top, left = y0 + 13, x0 % 10_000 + 30
    place = np.s_[top : top + 177, left : left + 230]
    outside = np.ones(shape, bool)
    outside[place] = False
    new = read(report.label)
    np.testing.assert_array_equal(new[outside], (label & ~ignore)[outside])
    np.testing.assert_array_equal(read(report.ignore)[outside], ignore[outside])
    untouched = ~ignore[place]
    assert new[place][:, :60][untouched[:, :60]].all()
    assert not new[place][:, 80:][~label[place][:, 80:]].any()
    assert report.counts["predicted"] == 177 * 230
    same = s5.relabel(run.directory, tmp_path / "part", tmp_path / "again", progress=False)
    assert same.counts == report.counts


def test_what_was_not_predicted_stays(tmp_path: Path) -> None:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[:30, :] = True
    part = part_of(tmp_path / "part")
    run = run_of(tmp_path / "run", mask=mask)
    covered = ~np.isnan(run.tiles.values[0, :, :, 0, 0])
    rows = max(int(y) for y in run.tiles.tile_y.values[covered.any(1)]) + TILE
    assert covered.any(1).sum() < len(covered)
    report = s5.relabel(run, part, tmp_path / "out", progress=False)
    label, ignore = drawn()
    np.testing.assert_array_equal(read(report.label)[rows:], (label & ~ignore)[rows:])
    np.testing.assert_array_equal(read(report.ignore)[rows:], ignore[rows:])
    assert report.counts["predicted"] == rows * WIDTH
    # The part's own papyrus mask narrows it further, to the pixel.
    write(part / "mask.png", mask)
    narrow = s5.relabel(run, part, tmp_path / "narrow", progress=False)
    assert narrow.counts["predicted"] == 30 * WIDTH
    np.testing.assert_array_equal(read(narrow.ignore)[30:], ignore[30:])


def test_former_files_stay_as_numbered_backups(tmp_path: Path, run: s5.Run) -> None:
    part = part_of(tmp_path / "part")
    first = (part / "label.png").read_bytes()
    report = s5.relabel(run, part, part, drawn="question", progress=False)
    assert sorted(p.name for p in report.backups) == ["ignore.1.png", "label.1.png"]
    assert (part / "label.1.png").read_bytes() == first
    second = (part / "label.png").read_bytes()
    assert second != first
    again = s5.relabel(run, part, part, drawn="question", progress=False)
    assert {p.name for p in again.backups} == {
        "label.2.png",
        "ignore.2.png",
        "changes.2.png",
        "relabel.2.json",
    }
    assert (part / "label.1.png").read_bytes() == first
    assert (part / "label.2.png").read_bytes() == second
    assert again.counts["added"] == again.counts["doubted"] == 0
    assert not [p for p in part.iterdir() if p.name.startswith(".")]


def test_a_damaged_file_leaves_nothing_and_backs_up_nothing(tmp_path: Path, run: s5.Run) -> None:
    part = part_of(tmp_path / "part")
    whole = (part / "ignore.png").read_bytes()
    (part / "ignore.png").write_bytes(whole[:-40])
    before = {f.name: f.read_bytes() for f in part.iterdir()}
    for out in (part, tmp_path / "out"):
        with pytest.raises(s5.S5Error, match=r"ignore\.png"):
            s5.relabel(run, part, out, progress=False)
    assert {f.name: f.read_bytes() for f in part.iterdir()} == before
    assert not (tmp_path / "out").exists()


def test_the_picture_has_the_colours(tmp_path: Path, run: s5.Run) -> None:
    part = part_of(tmp_path / "part")
    for mode in ("keep", "question"):
        report = s5.relabel(run, part, tmp_path / mode, drawn=mode, progress=False)
        picture = imagecodecs.png_decode(report.changes.read_bytes())
        assert picture[30, 30].tolist() == list(COLOURS["kept label"])
        assert picture[30, 150].tolist() == list(COLOURS["kept label"])
        assert picture[30, 280].tolist() == list(COLOURS["label questioned"])
        assert picture[100, 30].tolist() == list(COLOURS["added ink"])
        assert picture[100, 150].tolist() == list(COLOURS["newly ignored"])
        assert picture[65, 150].tolist() == list(COLOURS["ignored before"])
        dim = picture[100, 280]
        assert dim.max() == dim.min() < 40
        assert picture.shape[0] > HEIGHT  # the legend
        assert picture[HEIGHT:].max() > 200


def test_a_large_picture_is_reduced_by_averaging(monkeypatch: pytest.MonkeyPatch) -> None:
    from s5engine.labels import changes
    from s5engine.labels.relabel import _unchanged

    monkeypatch.setattr(changes, "SIDE", 150)
    picture = changes.Changes((101, 90))
    label = np.random.default_rng(0).random((101, 90)) > 0.5
    for top in range(0, 101, 37):
        for left in range(0, 90, 41):
            cut = np.s_[top : top + 37, left : left + 41]
            part = label[cut]
            picture.add(
                top,
                left,
                np.zeros(part.shape, np.float32),
                _unchanged(part, np.zeros_like(part)),
                np.zeros_like(part),
            )
    factor = picture._factor
    assert factor == 3
    sums = np.add.reduceat(np.add.reduceat(label * 255.0, range(0, 101, 3), 0), range(0, 90, 3), 1)
    np.testing.assert_allclose(picture._sums[:, :, 0], sums)


def test_memory_and_reads_are_bounded_by_the_band(
    tmp_path: Path, run: s5.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = part_of(tmp_path / "part")
    read_shapes: list[tuple[int, ...]] = []
    original = evidence_module._read

    def noted(maps: xr.DataArray, *place: object) -> object:
        values = original(maps, *place)  # type: ignore[arg-type]
        read_shapes.append(values.shape)
        return values

    monkeypatch.setattr(evidence_module, "_read", noted)
    s5.relabel(run, part, tmp_path / "out", progress=False)
    assert max(h for h, _ in read_shapes) < 2 * TILE + 10
    assert max(w for _, w in read_shapes) < 2 * TILE + 10
    # Every pixel of ink and of spread is read once in each of two windows.
    assert sum(h * w for h, w in read_shapes) == 2 * 2 * HEIGHT * WIDTH


@pytest.mark.slow
def test_memory_does_not_grow_with_the_part(tmp_path: Path, run: s5.Run) -> None:
    peaks = {}
    for tall in (3_000, 9_000):
        mask = np.zeros((tall, WIDTH), bool)
        mask[::50] = True
        part = tmp_path / str(tall)
        write(part / "label.png", mask)
        tracemalloc.start()
        report = s5.relabel(run, part, part / "out", progress=False)
        peaks[tall] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        np.testing.assert_array_equal(read(report.label)[HEIGHT:], mask[HEIGHT:])
    # 6,000 rows more: not even half a plane of a byte per pixel is held.
    assert peaks[9_000] < peaks[3_000] + 6_000 * WIDTH / 2


def test_ink_in_memory_has_no_tiles_and_zero_is_not_predicted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ink = xr.DataArray(
        np.zeros((1, 40, 50), np.float32),
        dims=("window", "y", "x"),
        coords={"window": [3], "y": np.arange(40), "x": np.arange(50)},
    )
    ink[:, :, :20] = 0.9
    run = s5.write_run(ink, tmp_path / "run", progress=False)
    (tmp_path / "part").mkdir()
    report = s5.relabel(run, tmp_path / "part", tmp_path / "out")
    assert "holds no tiles" in capsys.readouterr().err
    assert report.counts["predicted"] == report.counts["added"] == 40 * 20
    empty = s5.write_run(ink * 0, tmp_path / "empty", progress=False)
    with pytest.raises(s5.S5Error, match=r"Nothing of this run.s ink was predicted"):
        s5.relabel(empty, tmp_path / "part", tmp_path / "none", progress=False)
    assert not (tmp_path / "none").exists()


def test_what_does_not_fit_is_one_clear_error(tmp_path: Path, run: s5.Run) -> None:
    part, out = part_of(tmp_path / "part"), tmp_path / "out"
    with pytest.raises(s5.S5Error, match=r"blank_below is 0\.7 and ink_above 0\.6"):
        s5.relabel(run, part, out, blank_below=0.7)
    with pytest.raises(s5.S5Error, match="holds no run"):
        s5.relabel(tmp_path / "part", part, out)
    with pytest.raises(s5.S5Error, match="not finished"):
        s5.relabel(s5.Run(run.directory, run.record | {"completed": False}), part, out)
    with pytest.raises(s5.S5Error, match="nowhere does not exist"):
        s5.relabel(run, tmp_path / "nowhere", out)
    write(tmp_path / "small" / "label.png", np.zeros((50, 60), bool))
    with pytest.raises(s5.S5Error, match="does not lie inside them"):
        s5.relabel(run, tmp_path / "small", out)
    write(part / "mask.png", np.zeros((50, 60), bool))
    with pytest.raises(s5.S5Error, match="differ in size"):
        s5.relabel(run, part, out)
    (part / "mask.png").unlink()
    flipped = s5.write_run(run.ink.isel(x=slice(None, None, -1)), tmp_path / "flip", progress=False)
    with pytest.raises(s5.S5Error, match="was worked on"):
        s5.relabel(flipped, part, out)
    spread = s5.write_run(s5.blend(run.spread), tmp_path / "spread", progress=False)
    with pytest.raises(s5.S5Error, match="not ink but its spread"):
        s5.relabel(spread, part, out)
    assert not out.exists()
    (tmp_path / "file").touch()
    with pytest.raises(s5.S5Error, match="cannot be written"):
        s5.relabel(run, part, tmp_path / "file", progress=False)


def test_the_verb_prints_the_paths(tmp_path: Path, run: s5.Run) -> None:
    part = part_of(tmp_path / "part")
    out = tmp_path / "out"
    done = CliRunner().invoke(
        app,
        [
            "relabel",
            str(run.directory),
            str(part),
            "--out",
            str(out),
            "--drawn",
            "question",
            "--max-spread",
            "0.1",
        ],
    )
    assert done.exit_code == 0, done.output
    assert [str(out / name) for name in FILES] == done.stdout.split()
    assert json.loads((out / "relabel.json").read_text())["rule"]["max_spread"] == 0.1


@pytest.mark.parametrize("margin", [1, 9, 70])
def test_the_outline_is_the_same_band_by_band(tmp_path: Path, run: s5.Run, margin: int) -> None:
    part = part_of(tmp_path / "part")
    plain = s5.relabel(run, part, tmp_path / "plain", progress=False)
    report = s5.relabel(run, part, tmp_path / "out", margin=margin, progress=False)
    label, ignore = drawn()
    near = np.zeros_like(label)
    near[max(0, 20 - margin) : 40 + margin, max(0, 10 - margin) : 290 + margin] = True
    own = label & ~ignore
    np.testing.assert_array_equal(read(report.label), np.where(near, own, read(plain.label)))
    np.testing.assert_array_equal(read(report.ignore), np.where(near, ignore, read(plain.ignore)))
    assert json.loads(report.record.read_text())["rule"]["margin"] == margin
    assert (read(plain.ignore) & ~read(report.ignore)).any()
