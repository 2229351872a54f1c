"""On a dask cluster: the same ink, to the last bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from distributed import Client, LocalCluster

import s5engine as s5
from s5engine.budget import current_rss
from s5engine.errors import BudgetError
from s5engine.infer import memory
from support import noise, texture, volume_of


def test_a_run_on_a_cluster_is_that_of_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(memory, "BLOCK_SIZES", (128,))
    model = s5.wrap_model(texture, tile=64)
    volume = volume_of(noise((16, 300, 300)))
    ink = s5.predict_ink(volume, model, windows=[0], stride=32, tta=2)
    plain = s5.write_run(ink, tmp_path / "threads", progress=False)
    with (
        LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        link = client.dashboard_link
        run = s5.write_run(ink, tmp_path / "cluster")
        with pytest.raises(BudgetError, match=r"Each of 1 workers has .* for each of them"):
            s5.predict_ink(volume, model, windows=[0], budget=current_rss() + 400 * 2**20)
    np.testing.assert_array_equal(run.ink.values, plain.ink.values)
    np.testing.assert_array_equal(run.tiles.values, plain.tiles.values)
    assert f"dashboard: {link}" in capsys.readouterr().err
