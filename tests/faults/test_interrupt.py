"""Ctrl-C: the process ends within seconds, says how to go on, and the same command finishes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import s5engine as s5
from s5engine.errors import StoreError
from s5engine.runtime.journal_lines import read_units
from s5engine.store.part_file import rows_by_token
from unit.store.segments import files_of

#: What is promised to someone who presses Ctrl-C, s.
PATIENCE = 5.0


def start(folder: Path, pause: float, scheduler: str, verb: str = "run") -> subprocess.Popen[str]:
    paths = os.pathsep.join(str(Path(p).resolve()) for p in (Path(__file__).parents[1], "."))
    return subprocess.Popen(
        [
            sys.executable,
            str(Path(__file__).with_name("slow_verb.py")),
            verb,
            str(folder),
            "--scheduler",
            scheduler,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": paths, "S5_TEST_PAUSE": str(pause)},
        cwd=Path(s5.__file__).parents[1],
        start_new_session=True,
    )


def press_ctrl_c(process: subprocess.Popen[str]) -> None:
    """Interrupt, and see that the process ends soon and says how to go on."""
    pressed = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does it: to all of its processes
    said = process.communicate(timeout=60)[1]
    took = time.monotonic() - pressed
    assert took < PATIENCE, said
    assert process.returncode == 130, said
    assert said.splitlines()[-1] == "s5: stopped. The same command goes on where it was."
    assert "Traceback" not in said


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[str]]:
    """A process that writes the run that nobody stops, beside the first test that wants it."""
    process = start(tmp_path_factory.mktemp("undisturbed") / "run", 0, "threads")
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize(
    "scheduler", ["threads", pytest.param("processes", marks=pytest.mark.slow)]
)
def test_ctrl_c_ends_soon_and_the_same_command_goes_on(
    tmp_path: Path, undisturbed: subprocess.Popen[str], scheduler: str
) -> None:
    folder = tmp_path / "run"
    process = start(folder, 0.25, scheduler)
    assert process.stdout is not None
    journal = folder / "progress.jsonl"
    while not (journal.exists() and '"predict' in journal.read_text()):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    press_ctrl_c(process)
    with pytest.raises(StoreError, match="is not finished"):
        s5.open_run(folder)

    again = start(folder, 0, "threads")
    assert again.communicate(timeout=120)[0] is not None
    assert again.returncode == 0
    assert undisturbed.wait(timeout=120) == 0
    a, b = s5.open_run(folder), s5.open_run(str(undisturbed.args[3]))
    np.testing.assert_array_equal(a.ink.values, b.ink.values)
    np.testing.assert_array_equal(a.tiles.values, b.tiles.values)


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", ["threads", "processes"])
def test_ctrl_c_ends_a_cut_soon_and_the_same_command_goes_on(
    tmp_path: Path, scheduler: str
) -> None:
    process = start(tmp_path / "out", 1, scheduler, "cut")
    journal = tmp_path / "out" / "test" / "parts" / "split.journal"
    while not (journal.exists() and "rows up to 128" in journal.read_text()):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    press_ctrl_c(process)
    assert [*rows_by_token(read_units(journal)).values()] < [1000]
    assert not list(tmp_path.rglob("*.tif"))
    again = start(tmp_path / "out", 0, scheduler, "cut")
    assert again.communicate(timeout=120)[0] is not None
    assert again.returncode == 0
    undisturbed = start(tmp_path / "other", 0, "threads", "cut")
    undisturbed.communicate(timeout=120)
    assert files_of(tmp_path / "out") == files_of(tmp_path / "other") != {}
