"""A run can be looked at while another process writes it; a file too large for it can be mended."""

from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import pytest

import s5engine as s5
from faults.test_run_kill import start
from s5engine.infer import graph
from support import counting_model, noise, volume_of


def test_a_run_is_looked_at_while_another_process_writes_it(tmp_path: Path) -> None:
    with start(tmp_path / "run", 0.05) as process:
        lines = iter(process.stdout)  # type: ignore[arg-type]
        while not (tmp_path / "run" / "progress.jsonl").exists() or '"predict ' not in (tmp_path / "run" / "progress.jsonl").read_text():
            assert next(lines)
        with pytest.raises(s5.S5Error, match="partial=True"):
            s5.open_run(tmp_path / "run")
        seen = s5.open_run(tmp_path / "run", partial=True)
        done, early = seen.blocks_done, seen.ink.values
        assert process.poll() is None
        process.communicate()
    assert not seen.completed
    assert done["predict"] > 0
    final = s5.open_run(tmp_path / "run")
    assert final.completed
    assert final.blocks_done["predict"] > done["predict"]
    assert early.shape == final.ink.shape
    assert (early == 0).any()
    assert (early > 0).any()
    assert (final.ink.values > 0).all()


def test_a_disk_that_refuses_is_one_clear_error_and_resumable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph, "block_size", lambda *_: 128)
    model, counter = counting_model()
    ink = s5.predict_ink(volume_of(noise((16, 400, 500))), model, windows=[0], stride=32, tta=0)
    expected = ink.values
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, hard))  # the npy needs 800,128 bytes
    try:
        with pytest.raises(s5.S5Error, match="run the same command to go on"):
            s5.write_run(ink, tmp_path, progress=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.rglob("segmentation_layer_0.npy"))
    counter.tiles = 0
    run = s5.write_run(ink, tmp_path, progress=False)
    assert counter.tiles == 0
    np.testing.assert_array_equal(run.ink.values, expected)
    np.testing.assert_array_equal(
        np.load(tmp_path / "npy_files/segmentation_layer_0.npy"), expected[0]
    )
