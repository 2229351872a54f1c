"""A pyramid killed with SIGKILL at any step goes on, and nothing torn is taken for whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from s5engine.store.pyramid import open_pyramid, write_pyramid
from unit.store.test_pyramid import check_levels, ink_store, volume_store

# One child after the other is killed one step later than the one before, each going on with what
# is there. Nothing of zarr is used before they are forked.
KILLED = """
import os, signal, sys
import cv2, dask.array, xarray, zarr
from s5engine.runtime import journal
from s5engine.store import level_blocks, levels, pyramid
def run(step):
    calls = []
    def killing(function):
        def called(*given, **asked):
            calls.append(1)
            if len(calls) == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*given, **asked)
        return called
    for place, name in [(level_blocks, "_make"), (pyramid, "add_to_list"),
                        (pyramid, "forget_token"), (pyramid, "create_levels"),
                        (level_blocks, "_halved"),
                        (journal.Journal, "finish"), (journal.Journal, "remove")]:
        setattr(place, name, killing(getattr(place, name)))
    pyramid.write_levels(pyramid.resolve_store(sys.argv[1]), progress=False)
    os._exit(0)
for step in range(1, 60):
    child = os.fork()
    if not child:
        run(step)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
        print(step)
        break
"""


@pytest.mark.parametrize("kind", ["volume", "ink"])
def test_killed_again_and_again_it_ends_as_if_it_never_was(tmp_path: Path, kind: str) -> None:
    store = volume_store(tmp_path) if kind == "volume" else ink_store(tmp_path)
    command = [sys.executable, "-c", KILLED, str(store)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=200)
    assert int(done.stdout) > 5
    count = 4 if kind == "volume" else 3
    check_levels(open_pyramid(store), count)
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != "seg") == [store.name]
    assert not list(store.rglob("*.partial"))


@pytest.mark.parametrize("step", [2, 4, 8, 11])
def test_what_is_listed_after_a_kill_is_whole(tmp_path: Path, step: int) -> None:
    store = ink_store(tmp_path)
    once = KILLED.replace("range(1, 60)", f"[{step}]")
    subprocess.run([sys.executable, "-c", once, str(store)], check=True, timeout=200)
    levels = open_pyramid(store)
    assert len(levels) < 3
    check_levels(levels, len(levels))
    check_levels(write_pyramid(store, progress=False), 3)
