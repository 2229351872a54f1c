"""The process that gives the command is killed −9 while workers work: no orphans, nothing lost."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from distributed import Client, LocalCluster

import s5engine as s5
from faults import commander
from faults.kill_moments import content
from s5engine.errors import StoreError
from s5engine.geometry import TileAxis
from s5engine.store.part_file import rows_by_token
from unit.store.segments import pixels, write_layers

TESTS = Path(__file__).parents[1]
#: Seconds after which no process of a killed command may be left.
SOON = 5.0
JOURNALS = (
    "run/progress.jsonl",
    "volume.zarr.journal",
    "volume.zarr.pyramid.journal",
    "tree/seg/parts/split.journal",
)


def start(
    step: str, folder: Path, log: Path, scheduler: str, moment: int = 0, pause: float = 0
) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    paths = [str(TESTS / "faults"), str(TESTS), str(Path(s5.__file__).parents[1])]
    words = [step, str(folder), str(log), scheduler, str(moment)]
    return subprocess.Popen(
        [sys.executable, str(TESTS / "faults" / "commander.py"), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "S5_TEST_PAUSE": str(pause)},
    )


def finish(process: subprocess.Popen[str]) -> int:
    """Wait for a command that nobody kills; return the moments that it had."""
    said, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    return int(said)


def left_of(process: subprocess.Popen[str]) -> list[int]:
    """Return the processes of a command's session that are alive."""
    found = []
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            with contextlib.suppress(OSError):
                state, _, _, session = (place / "stat").read_text().rpartition(")")[2].split()[:4]
                if int(session) == process.pid and state != "Z":
                    found.append(int(place.name))
    return found


def wait_for(condition: Callable[[], object], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def units(folder: Path) -> list[str]:
    """Return the finished units of all journals, a torn last line left out."""
    found = []
    for path in (folder / name for name in JOURNALS):
        for line in path.read_text().splitlines()[1:] if path.exists() else []:
            with contextlib.suppress(ValueError):
                found.append(json.loads(line).get("unit", ""))
    return found


def finished_work(step: str, folder: Path) -> list[str]:
    """Return what is finished, as the workers note it when they begin it."""
    if step == "ingest":
        told = [unit for unit in units(folder) if unit.startswith("rows")]
        for unit in (unit for unit in units(folder) if not unit.startswith("rows")):
            _, number, *block = unit.split()
            told.append(f"level {number} ({', '.join(block)})")
        return told
    masks = [f"mask {path.parent.name}" for path in folder.rglob("mask.png")]
    rows = rows_by_token(units(folder))
    for path in folder.rglob("layers/*.tif*"):
        whole = path.suffix == ".tif"
        done = 700 if whole else rows.get(path.name.split(".")[1], 0)
        part, layer = int(path.parent.parent.name[-2:]), int(path.name.split(".")[0])
        masks += [f"part {part}/{layer} {row}" for row in range(0, done, commander.BAND)]
    return masks


def bands_of_whole(folder: Path, journaled: list[str]) -> int:
    """Return how many bands a volume has that is whole, and whose journal is gone; 0 before."""
    volume = folder / "volume.zarr"
    if any(unit.startswith("rows") for unit in journaled) or not volume.exists():
        return 0
    try:
        return len(range(0, s5.open_volume(volume).shape[1], commander.BAND))
    except StoreError:  # nothing finished yet
        return 0


def check_not_again(step: str, before: list[str], folder_units: list[str], log: Path) -> None:
    """Fail if something that was finished was begun once more."""
    lines = log.read_text().splitlines() if log.exists() else []
    if step != "run":
        assert not {*before} & {*lines}
        return
    axes = [
        TileAxis(n, commander.TILE, commander.STRIDE).blocks(commander.BLOCK).tiles
        for n in commander.SIDE
    ]
    kept = [unit.split()[1:] for unit in folder_units if unit.startswith("predict")]
    done = sum(axes[0][int(i)] * axes[1][int(j)] for i, j in kept)
    assert sum(map(int, lines)) <= sum(axes[0]) * sum(axes[1]) - done


def killed_and_finished(
    step: str, folder: Path, scheduler: str, moment: int, wanted: dict[str, str], pause: float = 0
) -> int:
    """Kill the command at a moment, finish it, and return how much was finished before."""
    killed = start(step, folder, folder.with_suffix(".first"), scheduler, moment, pause)
    killed.communicate(timeout=200)
    assert killed.returncode == -signal.SIGKILL, moment
    wait_for(lambda: not left_of(killed), SOON)
    before, journaled = finished_work(step, folder), units(folder)
    done = len(journaled) + bands_of_whole(folder, journaled)
    again = folder.with_suffix(".second")
    finish(start(step, folder, again, scheduler, pause=pause))
    check_not_again(step, before, journaled, again)
    assert content(folder) == wanted
    return done


def undisturbed(step: str, folder: Path) -> dict[str, str]:
    """Return what the step makes in threads of one process."""
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("s5engine.store.band_plan.BAND_HEIGHTS", (commander.BAND,))
        patch.setattr("s5engine.infer.memory.BLOCK_SIZES", (commander.BLOCK,))
        commander.STEPS[step](folder, folder.with_suffix(".log"))
    return content(folder)


@pytest.fixture
def layers(tmp_path: Path) -> Path:
    return write_layers(tmp_path / "seg", pixels(12, 700, 2100))


@pytest.mark.slow
@pytest.mark.usefixtures("layers")
def test_workers_end_with_their_command_and_the_same_command_goes_on(tmp_path: Path) -> None:
    wanted = undisturbed("ingest", tmp_path / "plain")
    assert killed_and_finished("ingest", tmp_path / "out", "processes", 60, wanted) > 0


@pytest.mark.slow
@pytest.mark.usefixtures("layers")
@pytest.mark.parametrize("step", commander.STEPS)
def test_drawn_moments(tmp_path: Path, step: str) -> None:
    wanted = undisturbed(step, tmp_path / "plain")
    moments = finish(start(step, tmp_path / "all", tmp_path / "all.log", "processes"))
    assert content(tmp_path / "all") == wanted
    ends = [1 + moments * n // 5 for n in range(6)]
    draw = random.Random(step)
    kept = [
        killed_and_finished(step, tmp_path / f"at{m}", "processes", m, wanted)
        for m in (draw.randrange(*stretch) for stretch in pairwise(ends))
    ]
    assert len({*kept}) > 2, kept


@pytest.fixture(scope="module")
def theirs() -> Iterator[Client]:
    """A scheduler with two workers that outlives every command."""
    with (
        pytest.MonkeyPatch.context() as patch,
        LocalCluster(  # type: ignore[no-untyped-call]  # distributed: untyped
            n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=":0"
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        patch.syspath_prepend(str(TESTS / "faults"))
        client.run(_look_there, str(TESTS / "faults"))
        client.run_on_scheduler(_look_there, str(TESTS / "faults"))
        yield client


def _look_there(path: str) -> None:
    sys.path.insert(0, path)


def tasks_of(client: Client) -> list[str]:
    """Return the tasks that the scheduler knows."""
    return client.run_on_scheduler(lambda dask_scheduler: [str(k) for k in dask_scheduler.tasks])


@pytest.mark.slow
@pytest.mark.usefixtures("layers")
@pytest.mark.parametrize(("step", "moment"), [("run", 120), ("ingest", 50), ("split", 90)])
def test_a_scheduler_that_goes_on_forgets_the_command(
    tmp_path: Path, theirs: Client, step: str, moment: int
) -> None:
    wanted = undisturbed(step, tmp_path / "plain")
    address = theirs.scheduler.address
    killed = start(step, tmp_path / "out", tmp_path / "first", address, moment, pause=0.5)
    killed.communicate(timeout=200)
    assert killed.returncode == -signal.SIGKILL
    wait_for(lambda: not tasks_of(theirs), SOON)
    assert len(theirs.scheduler_info(n_workers=-1)["workers"]) == 2
    before, journaled = finished_work(step, tmp_path / "out"), units(tmp_path / "out")
    finish(start(step, tmp_path / "out", tmp_path / "second", address))
    check_not_again(step, before, journaled, tmp_path / "second")
    assert content(tmp_path / "out") == wanted
