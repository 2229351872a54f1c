"""All threads of a process take their memory from one place."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

_COUNT = """
import ctypes, sys, threading
from s5engine.budget import share_arena

if sys.argv[1] == "shared":
    share_arena()
done = threading.Barrier(9)
kept = []

def take():
    kept.append(ctypes.CDLL("libc.so.6").malloc(5000))
    done.wait()

for _ in range(8):
    threading.Thread(target=take).start()
done.wait()
# One line for each arena, and totals.
ctypes.CDLL("libc.so.6").malloc_stats()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's arenas")
def test_threads_share_one_arena() -> None:
    # A cluster that another test started leaves its workers' setting in this process.
    plain = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
    arenas = {
        how: subprocess.run(
            [sys.executable, "-c", _COUNT, how],
            capture_output=True,
            text=True,
            check=True,
            env=plain,
        ).stderr.count("Arena ")
        for how in ("own", "shared")
    }
    assert arenas["own"] > arenas["shared"] == 1
