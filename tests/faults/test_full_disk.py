"""A disk that fills up ends in one clear error, and the same call goes on once there is room."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import s5engine as s5
from unit.store.segments import pixels, write_layers

#: A mount namespace of its own, as root or as nobody in particular.
PRIVATE = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "-r", "--mount"]


def may_mount() -> bool:
    """Whether this machine lets us have a small disk of our own: Linux, mostly."""
    if shutil.which("unshare") is None:
        return False
    tried = subprocess.run(
        [*PRIVATE, "mount", "-t", "tmpfs", "tmpfs", "/tmp"], check=False, capture_output=True
    )
    return tried.returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(not may_mount(), reason="small disks can only be mounted on Linux")
def test_a_full_disk_is_told_and_the_same_call_goes_on(tmp_path: Path) -> None:
    write_layers(tmp_path / "seg", pixels(3, 700, 900))
    tests = Path(__file__).parents[1]
    child = [sys.executable, str(Path(__file__).with_name("full_disk.py")), str(tmp_path)]
    done = subprocess.run(
        [*PRIVATE, *child],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tests), str(tests.parent)])},
        cwd=Path(s5.__file__).parents[1],
    )
    assert done.returncode == 0, done.stderr
    cases = [json.loads(line) for line in done.stdout.splitlines()]
    assert {c["step"] for c in cases} == {"ingest", "split", "run"}
    assert len(cases) == 18
    assert all(c["equal"] for c in cases), cases
    for case in cases:
        assert "No space left" in case["error"], case
        assert "Make room" in case["error"], case
    assert "Traceback" not in done.stderr
