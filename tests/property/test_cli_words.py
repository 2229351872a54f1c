"""What the command line says when it is used wrongly names verbs and options, nothing of Python."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

import s5engine as s5
from s5engine.cli import app
from s5engine.errors import S5Error

DEMO = str(Path(s5.__file__).parents[1] / "checkpoints" / "demo.ckpt")
#: Arguments of Python, public functions of several words, and what is in modules.
PYTHON = re.compile(
    r"\b[a-z_]+=(?![^ ]*[&/])|\bs5\.\w|\b(?:"
    + "|".join(name for name in s5.__all__ if name.islower() and "_" in name)
    + r")\b|Traceback|\b[A-Z][a-zA-Z]+Error\b"
)
#: Verbs with all that they need, by paths in the folder of the test.
VERBS = {
    "infer": ["{v}", "--checkpoint", DEMO, "--windows", "0", "--mask", "none", "-o", "{out}"],
    "plan": ["infer", "{v}", "--checkpoint", DEMO, "--windows", "0"],
    "fetch": ["{seg}", "{out}.zarr"],
    "split": ["{seg}", "-o", "{out}"],
    "pyramid": ["{v}"],
    "info": ["{v}"],
    "check": ["{v}"],
    "composite": ["{run}", "-o", "{out}.png"],
    "tiles": ["{v}", "{labels}", "{out}.zarr"],
    "train": ["{out}.zarr", "-o", "{out}"],
    "relabel": ["{run}", "{labels}/seg_01", "-o", "{out}"],
}
#: Values that do not fit one or the other option.
ODD = [
    "0",
    "-1",
    "7",
    "9999",
    "1-0",
    "2,2",
    "x",
    "",
    "nan",
    "0,0,0,0",
    "-5,9,0,9",
    "{seg}",
    "{v}",
    "{half}",
    "{run}",
    "{out}",
    "{file}",
    "{empty}",
    "1e9",
    "3-400",
]
OPTIONS = [
    "--windows",
    "--stride",
    "--tta",
    "--crop",
    "--part",
    "--parts",
    "--layers",
    "--width",
    "--mask",
    "--batch",
    "--budget",
    "--boost",
    "--reduce",
    "--checkpoint",
    "--source",
    "--tile",
    "--first-offset",
    "--max-spread",
    "--ink-above",
    "--threshold",
    "--precision",
    "--dtype",
    "--device",
    "--zarr-format",
    "--epochs",
]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("words")
    (folder / "seg" / "layers").mkdir(parents=True)
    data = np.random.default_rng(0).integers(1, 200, (17, 96, 160)).astype(np.uint8)
    for number, layer in enumerate(data):
        tifffile.imwrite(folder / "seg" / "layers" / f"{number:02d}.tif", layer)
    volume = s5.ingest(folder / "seg", folder / "v.zarr", progress=False)
    shutil.copytree(folder / "v.zarr", folder / "half.zarr")
    record = folder / "half.zarr" / "zarr.json"
    record.write_text(record.read_text().replace('"complete": true', '"complete": false'))
    model = s5.load_checkpoint(DEMO)
    ink = s5.predict_ink(volume.isel(x=slice(0, 64)), model, windows=[0], mask=None)
    s5.write_run(ink, folder / "run", progress=False)
    (folder / "labels" / "seg_01").mkdir(parents=True)
    for name in ("label", "ignore", "mask"):
        Image.fromarray(np.zeros((96, 160), np.uint8)).save(
            folder / "labels" / "seg_01" / f"{name}.png"
        )
    (folder / "file.txt").write_text("no image\n")
    (folder / "empty").mkdir()
    names = {"v": "v.zarr", "half": "half.zarr", "file": "file.txt"}
    return {
        name: str(folder / names.get(name, name))
        for name in ("seg", "v", "half", "run", "labels", "file", "empty")
    }


@settings(max_examples=150, deadline=None)
@given(
    verb=st.sampled_from([*VERBS]),
    place=st.integers(0, 9),
    odd=st.sampled_from(ODD),
    option=st.none() | st.sampled_from(OPTIONS),
)
def test_what_is_wrong_is_said_in_words_of_the_command_line(
    places: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
    verb: str,
    place: int,
    odd: str,
    option: str | None,
) -> None:
    out = tmp_path_factory.mktemp("out") / "new"
    words = list(VERBS[verb])
    if option is None:
        words[place % len(words)] = odd
    else:
        words += [option, odd]
    if verb == "train" and option is None:
        return
    filled = [word.format(**places, out=out) for word in words]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(out.parent)
        done = CliRunner().invoke(app, [verb, *filled])
    error = done.exception
    assert error is None or isinstance(error, S5Error | SystemExit), (filled, error)
    text = error.on_the_command_line() if isinstance(error, S5Error) else done.output
    for name in (*places.values(), str(out.parent)):
        text = text.replace(name, "")
    assert not PYTHON.search(text), (filled, text)
