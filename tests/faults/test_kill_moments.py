"""Killed −9 at drawn moments, a step is finished by the same call, as if nothing had happened."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import s5engine as s5
from unit.store.segments import pixels, write_layers


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "count"), [(0, 14), (1, 60)])
def test_drawn_moments(tmp_path: Path, seed: int, count: int) -> None:
    write_layers(tmp_path / "seg", pixels(3, 700, 1100))
    tests = Path(__file__).parents[1]
    done = subprocess.run(
        [
            sys.executable,
            str(Path(__file__).with_name("kill_moments.py")),
            str(tmp_path),
            str(seed),
            str(count),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=550,
        cwd=Path(s5.__file__).parents[1],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tests), str(tests.parent)])},
    )
    assert done.returncode == 0, done.stderr
    moments = [json.loads(line) for line in done.stdout.splitlines()]
    assert [m["step"] for m in moments] == [
        *["run"] * count,
        *["ingest"] * count,
        *["split"] * count,
    ]
    for moment in moments:
        assert moment["killed"] == -9, moment
        assert moment["status"] == 0, (moment, done.stderr)
        assert not moment["half_taken_for_finished"], moment
        assert not moment["done_again"], moment
        assert moment["equal"], moment
    # They fell into all of the work, not only before its first or after its last block.
    for step in ("run", "ingest", "split"):
        kept = [m["finished_units"] for m in moments if m["step"] == step]
        assert len({*kept}) > 3, kept
