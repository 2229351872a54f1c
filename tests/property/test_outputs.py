"""Results never go into what they are made from."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import s5engine as s5
from s5engine.cli import app
from s5engine.errors import InvalidArgumentError
from s5engine.paths import check_output
from support import counting_model, noise
from unit.store.segments import files_of, write_layers

STEPS = ["", "a", "a/b", "..", "../x", "a/..", "./a", "a/../../seg", "../seg/a", "link", "link/b"]


@given(st.sampled_from(STEPS), st.sampled_from(STEPS), st.booleans())
@settings(max_examples=150, deadline=None)
def test_an_output_that_is_holds_or_lies_in_an_input_is_refused(
    there: str, here: str, address: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder).resolve() / "seg"
        (base / "a" / "b").mkdir(parents=True)
        (base / "link").symlink_to(base / "a")
        output, source = base / there, base / here
        one, other = output.resolve(), source.resolve()
        wrong = one == other or one in other.parents or other in one.parents
        told = f"file://{output}" if address else output
        if wrong:
            with pytest.raises(InvalidArgumentError, match="would be read"):
                check_output(told, source)
        else:
            check_output(told, source)


def test_what_is_on_another_machine_holds_nothing_of_this_one(tmp_path: Path) -> None:
    check_output(tmp_path, "http://127.0.0.1/x", None)
    check_output("s3://bucket/x", tmp_path)


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("line")
    write_layers(root / "seg", noise((16, 64, 64)))
    (root / "bare").mkdir()
    for layer in (root / "seg" / "layers").iterdir():
        (root / "bare" / layer.name).write_bytes(layer.read_bytes())
    volume = s5.ingest(root / "seg", root / "v.zarr", progress=False)
    model, _ = counting_model()
    ink = s5.predict_ink(volume, model, windows=[0], tta=0)
    s5.write_run(ink, root / "run", formats=["zarr"], progress=False)
    part = root / "part"
    part.mkdir()
    before = files_of(root)
    yield root
    assert files_of(root) == before


DEMO = str(Path(s5.__file__).parents[1] / "checkpoints" / "demo.ckpt")
VERBS = {
    "infer into the volume": ["infer", "{}/v.zarr", "-o", "{}/v.zarr"],
    "infer below the volume": ["infer", "{}/v.zarr", "-o", "{}/v.zarr/run"],
    "infer around the volume": ["infer", "{}/v.zarr", "-o", "{}"],
    "infer into the layers": ["infer", "{}/seg", "-o", "{}/seg/layers/run"],
    "split into the segment": ["split", "{}/bare", "-o", "{}"],
    "split below the segment": ["split", "{}/seg", "-o", "{}/seg"],
    "split into the store": ["split", "{}/v.zarr", "-o", "{}/v.zarr"],
    "fetch into the layers": ["fetch", "{}/bare", "{}/bare/v.zarr"],
    "fetch over the layers": ["fetch", "{}/bare", "{}/bare"],
    "fetch around the layers": ["fetch", "{}/seg", "{}/seg"],
}


@pytest.mark.parametrize("name", VERBS)
def test_each_verb_refuses_it_before_anything_is_written(line: Path, name: str) -> None:
    words = [word.format(line) for word in VERBS[name]]
    if words[0] == "infer":
        words += ["--checkpoint", DEMO, "--windows", "0", "--mask", "none"]
    done = CliRunner().invoke(app, words)
    assert isinstance(done.exception, s5.S5Error), done.output
    assert "would be read" in str(done.exception)


def test_the_python_names_refuse_it_too(line: Path) -> None:
    volume = s5.open_volume(line / "v.zarr")
    model, _ = counting_model()
    ink = s5.predict_ink(volume, model, windows=[0], tta=0)
    for place in (line / "v.zarr", line / "v.zarr" / "run", line):
        with pytest.raises(InvalidArgumentError, match="would be read"):
            s5.write_run(ink, place, progress=False)
    with pytest.raises(InvalidArgumentError, match="would be read"):
        s5.split(volume, line / "v.zarr", progress=False)
