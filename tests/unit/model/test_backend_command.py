"""``s5 infer --backend …`` from the command line to the finished run."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

import s5engine as s5
from parity.golden_weights import golden_network
from s5engine import cli
from s5engine.model import ink_model, openvino_backend, save_checkpoint
from support import noise


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Return a folder of layers and a checkpoint of a small network of full kind."""
    folder = tmp_path_factory.mktemp("given")
    network = golden_network("tiny")
    tile = network.config.tile
    (folder / "layers").mkdir()
    for number, layer in enumerate(noise((16, tile + 20, 2 * tile))):
        tifffile.imwrite(folder / "layers" / f"{number:02d}.tif", layer)
    saved = save_checkpoint(folder / "tiny.ckpt", network, network.config)
    return str(folder / "layers"), str(saved)


def infer(
    monkeypatch: pytest.MonkeyPatch, given: tuple[str, str], out: Path, backend: str
) -> s5.Run:
    """Run the program as a user does; an error ends it with a status."""
    ink_model._cache.clear()
    volume, checkpoint = given
    words = ["s5", "infer", volume, "--checkpoint", checkpoint, "--windows", "0", "-o", str(out)]
    # Four tiles: in batches of the usual eight the network would run on as many that are filled up.
    words += ["--tta", "0", "--device", "cpu", "--batch", "2"]
    monkeypatch.setattr(sys, "argv", [*words, "--backend", backend])
    try:
        cli.main()
    except SystemExit as end:
        if end.code:
            raise
    return s5.open_run(out)


@pytest.mark.slow
def test_every_backend_makes_the_same_run(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    given: tuple[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    plain = infer(monkeypatch, given, tmp_path / "torch", "torch")
    other = infer(monkeypatch, given, tmp_path / "openvino", "openvino")
    capsys.readouterr()
    chosen = infer(monkeypatch, given, tmp_path / "auto", "auto")
    said = capsys.readouterr()
    used = [run.record["settings"]["backend"] for run in (plain, other, chosen)]
    assert used[:2] == ["torch", "openvino"]
    assert f"backend: {used[2]} (a batch of" in said.out + said.err
    for run in (other, chosen):
        assert np.abs(run.ink.values - plain.ink.values).max() <= 1e-5
    assert plain.ink.values.std() > 0


def test_an_unknown_backend_is_told_with_those_that_there_are(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    given: tuple[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as end:
        infer(monkeypatch, given, tmp_path / "run", "onnx")
    assert end.value.code == 1
    said = capsys.readouterr().err
    assert all(name in said for name in ("onnx", "torch", "openvino", "auto"))
    assert not (tmp_path / "run").exists()


def test_a_backend_that_is_not_installed_is_one_clear_error_and_auto_does_without(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    given: tuple[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(openvino_backend, "is_installed", lambda: False)
    with pytest.raises(SystemExit):
        infer(monkeypatch, given, tmp_path / "run", "openvino")
    said = capsys.readouterr().err
    assert 'pip install "s5engine[fast]"' in said
    assert "Traceback" not in said
    assert not (tmp_path / "run").exists()
    run = infer(monkeypatch, given, tmp_path / "auto", "auto")
    said_both = capsys.readouterr()
    assert run.record["settings"]["backend"] == "torch"
    assert "openvino is not installed" in said_both.out + said_both.err
