"""A run can be looked at while another process writes it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

import s5engine as s5
from faults.test_run_kill import start


def blended(folder: Path) -> bool:
    """Whether the journal calls a block of ink finished."""
    journal = folder / "progress.jsonl"
    return journal.exists() and '"blend ' in journal.read_text()


def test_a_run_is_looked_at_while_another_process_writes_it(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with start(folder, 0.05) as process:
        while not blended(folder):
            assert process.stdout is not None
            assert process.stdout.readline(), "it ended before it was looked at"
        process.send_signal(signal.SIGSTOP)  # however slow this process is to look
        with pytest.raises(s5.S5Error, match="partial=True"):
            s5.open_run(folder)
        seen = s5.open_run(folder, partial=True)
        done, share, early = seen.blocks_done, seen.share_done, seen.ink.values
        assert process.poll() is None
        process.send_signal(signal.SIGCONT)
        process.communicate()
    assert not seen.completed
    # There is ink while the network is still at work.
    assert 0 < done["predict"] < seen.record["blocks"]["predict"]
    assert 0 < share < 1
    final = s5.open_run(folder)
    assert final.completed
    assert final.share_done == 1
    assert final.blocks_done == final.record["blocks"]
    assert early.shape == final.ink.shape
    assert (early == 0).any()
    assert (early > 0).any()
    # What is there is there for good.
    assert (final.ink.values > 0).all()
    assert (early[early > 0] == final.ink.values[early > 0]).all()
