"""A run can be looked at while another process writes it."""

from __future__ import annotations

from pathlib import Path

import pytest

import s5engine as s5
from faults.test_run_kill import finished_tiles, start


def test_a_run_is_looked_at_while_another_process_writes_it(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with start(folder, 0.05) as process:
        while not finished_tiles(folder):
            assert process.stdout is not None
            assert process.stdout.readline(), "it ended before it was looked at"
        with pytest.raises(s5.S5Error, match="partial=True"):
            s5.open_run(folder)
        seen = s5.open_run(folder, partial=True)
        done, early = seen.blocks_done, seen.ink.values
        assert process.poll() is None
        process.communicate()
    assert not seen.completed
    assert done["predict"] > 0
    final = s5.open_run(folder)
    assert final.completed
    assert final.blocks_done["predict"] > done["predict"]
    assert early.shape == final.ink.shape
    assert (early == 0).any()
    assert (early > 0).any()
    assert (final.ink.values > 0).all()
