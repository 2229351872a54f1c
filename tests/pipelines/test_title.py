"""`s5 title` from an address to the picture: what it fetches, what it leaves, what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import s5engine as s5
from s5engine import cli
from s5engine.phantom import LayerServer, Phantom, layers_path
from support import SEGMENT, WIDTH

SETTINGS = f"""
segment = "{SEGMENT}"
source = "http://127.0.0.1:9/nowhere/"
part = 2
crop = [60, 240, 40, 360]
windows = [2, 4]
stride = 32
tta = 1
boost = 2.0
"""
INFER = ("infer", "{url}", "--checkpoint", "{ckpt}", "--windows")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run the command line in this process; return its exit status."""
    monkeypatch.setattr("sys.argv", ["s5", *map(str, arguments)])
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    path = tmp_path / "title.toml"
    path.write_text(SETTINGS)
    return path


def test_title_does_everything(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    settings: Path,
    phantom: Phantom,
    server: LayerServer,
    checkpoint: Path,
) -> None:
    out = tmp_path / "out"
    address = server.url(layers_path(SEGMENT))
    asked = (
        "title",
        "--checkpoint",
        checkpoint,
        "--settings",
        settings,
        "--source",
        address,
        "-o",
        out,
        "--device",
        "cpu",
    )
    assert run(monkeypatch, "plan", *asked) == 0
    planned = capsys.readouterr().out
    assert "18 layers, 180 × 320 px" in planned
    assert "in each of 2 layer windows" in planned
    assert not out.exists()
    server.reset_log()
    assert run(monkeypatch, *asked) == 0
    picture = Path(capsys.readouterr().out.strip())
    assert picture == out / f"{SEGMENT}_title.png"

    touched = {r.path.rsplit("/", 1)[1] for r in server.requests if r.path.endswith(".tif")}
    assert touched == {f"{n:02d}.tif" for n in range(2, 20)}
    with_rows = server.bytes_sent()
    assert with_rows < 18 * 1.1 * 180 * WIDTH  # compressed rows of the crop, not the 300 there are

    # The plain twin: the same crop, made from the phantom in memory.
    layers = phantom.read((60, 240, 10_040, 10_360), layers=range(2, 20))
    table = s5.lookup_table()
    plain = s5.open_volume(out / "volume.zarr").copy(data=table[layers])
    plain.attrs["contrast"] = [[0, 0]]
    model = s5.load_checkpoint(checkpoint, device="cpu")
    ink = s5.predict_ink(plain, model, windows=[2, 4], stride=32, tta=1, mask=layers[8] > 0).values
    stored = s5.open_run(out / "run")
    np.testing.assert_allclose(stored.ink.values, ink, rtol=0, atol=1e-6)
    assert (int(stored.ink.y[0]), int(stored.ink.x[0])) == (60, 10_040)
    expected = s5.composite(stored.ink, boost=2.0, flip=True)
    np.testing.assert_array_equal(
        np.asarray(Image.open(picture)), (expected * 255).astype(np.uint8)
    )

    record = stored.record["settings"]
    assert record["checkpoint"] == "small"
    assert len(record["checkpoint_sha256"]) == 64
    assert set(record["fingerprint"]) == {str(n) for n in range(2, 20)}
    assert all(entry["etag"] for entry in record["fingerprint"].values())

    server.reset_log()
    assert run(monkeypatch, *asked) == 0  # again: nothing is fetched or predicted a second time
    assert server.bytes_sent() < 300_000
    assert (
        run(
            monkeypatch,
            "composite",
            out / "run",
            "-o",
            tmp_path / "again.png",
            "--boost",
            2,
            "--flip",
        )
        == 0
    )
    assert (tmp_path / "again.png").read_bytes() == picture.read_bytes()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"--checkpoint": "missing.ckpt"}, "missing.ckpt"),
        ({"--source": "http://127.0.0.1:9/"}, "127.0.0.1:9"),
        ({"--settings": "none.toml"}, "no settings file"),
        ({"--device": "cuda:7"}, "cuda"),
        ({"--budget": "10 potatoes"}, "10 potatoes"),
    ],
)
def test_a_mistake_ends_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    settings: Path,
    server: LayerServer,
    checkpoint: Path,
    change: dict[str, str],
    complaint: str,
) -> None:
    options = {
        "--checkpoint": checkpoint,
        "--settings": settings,
        "--source": server.url(layers_path(SEGMENT)),
        "-o": tmp_path / "out",
    } | change
    assert run(monkeypatch, "title", *(v for pair in options.items() for v in pair)) == 1
    error = capsys.readouterr().err.strip().splitlines()
    assert len([line for line in error if line.startswith("s5:")]) == 1
    assert complaint in error[-1]
    assert not (tmp_path / "out" / "run").exists()


def test_the_verbs_one_by_one(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    phantom: Phantom,
    server: LayerServer,
    checkpoint: Path,
) -> None:
    address, store = server.url(layers_path(SEGMENT)), tmp_path / "volume.zarr"
    asked = (
        "fetch",
        address,
        store,
        "--layers",
        "2-19",
        "--crop",
        "0,300,9900,10400",
        "--budget",
        "4 GiB",
    )
    assert run(monkeypatch, "plan", *asked) == 0
    assert "18 layers, 300 × 500 px" in capsys.readouterr().out
    assert run(monkeypatch, *asked) == 0
    capsys.readouterr()
    assert run(monkeypatch, "info", store) == 0
    told = capsys.readouterr().out
    assert f"segment   {SEGMENT}" in told
    assert "parts     1, 2" in told
    assert (
        run(
            monkeypatch,
            "infer",
            store,
            "--checkpoint",
            checkpoint,
            "--windows",
            "3",
            "--part",
            2,
            "--crop",
            "100,200,10100,10300",
            "-o",
            tmp_path / "run",
            "--stride",
            64,
        )
        == 0
    )
    ink = s5.open_run(tmp_path / "run").ink
    assert (ink.shape, int(ink.x[0])) == ((1, 100, 200), 10_100)
    asked = ("split", address, "-o", tmp_path / "tree", "--parts", "2", "--layers", "9,10")
    capsys.readouterr()
    assert run(monkeypatch, "plan", *asked) == 0
    assert "1 of 2 layers, 300 px high" in capsys.readouterr().out
    assert run(monkeypatch, *asked) == 0
    part = s5.open_volume(tmp_path / "tree" / SEGMENT / "parts_contrasted")
    table = s5.lookup_table()
    layers = phantom.read((0, 300, 10_000, 10_400), layers=[9, 10])
    np.testing.assert_array_equal(part.values, table[layers])


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("fetch", "{url}", "x.zarr", "--crop", "1,2"), "not a crop"),
        (("fetch", "{url}", "x.zarr", "--crop", "0,400,0,100"), "y 0:300"),
        (("fetch", "{url}", "x.zarr", "--layers", "5-2"), "not a list of numbers"),
        (("fetch", "{url}", "x.zarr", "--layers", "40"), "40"),
        (("info", "nowhere.zarr"), "nowhere.zarr"),
        (("composite", "nowhere"), "holds no run"),
        ((*INFER, "9"), "window 9 needs"),
        ((*INFER, "2", "--stride", "20"), "divide"),
        ((*INFER, "2", "--part", "7"), "no part 7"),
        ((*INFER, "2", "--crop", "0,9,0,99999"), "not inside the volume"),
    ],
)
def test_wrong_arguments(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    server: LayerServer,
    checkpoint: Path,
    arguments: tuple[str, ...],
    complaint: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    filled = [a.format(url=server.url(layers_path(SEGMENT)), ckpt=checkpoint) for a in arguments]
    assert run(monkeypatch, *filled) == 1
    assert complaint in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_stopped_command_says_that_it_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(s5, "open_pyramid", stopped)
    assert run(monkeypatch, "info", "anything") == 130
    assert "The same command goes on" in capsys.readouterr().err


def test_the_way_out_is_that_of_the_command_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    server: LayerServer,
) -> None:
    asked = ("fetch", server.url(layers_path(SEGMENT)), tmp_path / "x.zarr", "--crop")
    assert run(monkeypatch, *asked, "0,50,0,50") == 0
    assert run(monkeypatch, *asked, "0,60,0,50") == 1
    complaint = capsys.readouterr().err
    assert "--fresh" in complaint
    assert "resume=" not in complaint


def test_a_picture_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    picture = np.zeros((9, 9), np.float32)
    for write in (
        lambda: s5.write_picture(picture, file / "x.png"),
        lambda: s5.write_sheet([("zero", picture)], file / "x.png"),
    ):
        with pytest.raises(s5.S5Error, match="cannot be written"):
            write()
