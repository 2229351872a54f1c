"""Pyramids on the workers of a cluster: the same files, within a share, resumable."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from distributed import Client, WorkerPlugin

import s5engine as s5
from s5engine.errors import BudgetError
from s5engine.runtime.journal import Journal
from s5engine.runtime.journal_lines import read_units
from s5engine.store import band_tasks
from s5engine.store.ingest import ingest
from s5engine.store.pyramid import open_pyramid, write_pyramid
from unit.store.segments import files_of, pixels, write_layers
from unit.store.test_pyramid import HEIGHT, WIDTH, check_levels, ink_store, volume_store

#: Blocks of all levels of either store.
BLOCKS = 6


class Told(WorkerPlugin):
    """Let workers, those that are started again too, note each block of a level, and be slow."""

    def __init__(self, log: Path, pause: float) -> None:
        self.log, self.pause = str(log), pause

    def setup(self, worker: Any) -> None:
        from s5engine.store import level_blocks

        self.make = make = level_blocks._make
        log, pause = self.log, self.pause

        def told(source: Any, target: Any, block: Any, plan: Any) -> None:
            import os
            import time

            with Path(log).open("a") as lines:
                lines.write(f"{os.getpid()} {target.path} {block}\n")
            time.sleep(pause)
            make(source, target, block, plan)

        level_blocks._make = told

    def teardown(self, worker: Any) -> None:
        from s5engine.store import level_blocks

        level_blocks._make = self.make


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    cloudpickle.register_pickle_by_value(__import__(__name__, fromlist=["_"]))
    with s5.cluster("processes", workers=2, budget="6 GiB", dashboard=False) as found:
        assert found.client is not None
        yield found.client


@pytest.fixture
def told(client: Client, tmp_path: Path) -> Iterator[Path]:
    client.register_plugin(Told(tmp_path / "log", 0.3), name="told")
    yield tmp_path / "log"
    client.unregister_worker_plugin("told")


def in_threads(store: Path) -> None:
    """Make the levels as if there were no cluster."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(band_tasks, "current_client", lambda: None)
        write_pyramid(store, progress=False)


def stores(folder: Path, kind: str) -> tuple[Path, Path]:
    """Return two equal stores without levels."""
    threads, workers = folder / "threads", folder / "workers"
    threads.mkdir()
    options = {"zarr_format": 2} if kind == "v2" else {}
    store = (ink_store if kind == "ink" else volume_store)(threads, **options)
    shutil.copytree(threads, workers)
    return store, workers / store.name


def lines_of(log: Path) -> list[tuple[str, str]]:
    """Return the process and the block of each line."""
    split = [line.split(" ", 1) for line in log.read_text().splitlines()]
    return [(pid, block) for pid, block in split]


@pytest.mark.parametrize("kind", ["volume", "v2", "ink"])
def test_levels_are_those_of_threads(client: Client, tmp_path: Path, told: Path, kind: str) -> None:
    threads, workers = stores(tmp_path, kind)
    in_threads(threads)
    write_pyramid(workers, progress=False)
    assert files_of(workers.parent) == files_of(threads.parent)
    check_levels(open_pyramid(workers), 3 if kind == "ink" else 4)
    pids = {pid for pid, _ in lines_of(told)}
    assert pids == {str(pid) for pid in client.run(os.getpid).values()}
    assert len({*lines_of(told)}) == len(lines_of(told)) == BLOCKS
    prefixes = client.run_on_scheduler(lambda dask_scheduler: {*dask_scheduler.task_prefixes})
    assert "pyramid-level" in prefixes


@pytest.mark.usefixtures("client")
def test_the_pyramid_that_ends_an_ingest_is_made_there(tmp_path: Path, told: Path) -> None:
    layers = write_layers(tmp_path / "seg", pixels(2, HEIGHT, WIDTH))
    ingest(layers, tmp_path / "workers" / "a.zarr", progress=False)
    assert len(lines_of(told)) == BLOCKS
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(band_tasks, "current_client", lambda: None)
        ingest(layers, tmp_path / "threads" / "a.zarr", progress=False)
    assert files_of(tmp_path / "workers") == files_of(tmp_path / "threads")


def test_a_killed_worker_costs_its_blocks_in_flight(
    client: Client, tmp_path: Path, told: Path
) -> None:
    def kill_one() -> None:
        while not told.exists() or len(told.read_text().splitlines()) < 2:
            time.sleep(0.01)
        os.kill(int(lines_of(told)[-1][0]), signal.SIGKILL)

    threads, workers = stores(tmp_path, "volume")
    killer = threading.Thread(target=kill_one)
    killer.start()
    write_pyramid(workers, progress=False)
    killer.join()
    in_threads(threads)
    assert files_of(workers.parent) == files_of(threads.parent)
    blocks = [block for _, block in lines_of(told)]
    assert len({*blocks}) == BLOCKS
    # Workers have one thread each: one block was at work there.
    assert len(blocks) == BLOCKS + 1
    client.wait_for_workers(2)


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize("finished", [1, 4])
def test_an_interrupted_pyramid_goes_on(
    tmp_path: Path, told: Path, monkeypatch: pytest.MonkeyPatch, finished: int
) -> None:
    finish = Journal.finish

    def interrupt(journal: Journal, unit: str, *given: Any, **how: Any) -> None:
        finish(journal, unit, *given, **how)
        if len(journal) == finished:
            raise KeyboardInterrupt

    threads, workers = stores(tmp_path, "volume")
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "finish", interrupt)
        with pytest.raises(KeyboardInterrupt):
            write_pyramid(workers, progress=False)
    done = read_units(workers.with_name("a.zarr.pyramid.journal"))
    assert len(done) == finished
    # Tasks of the first call are waited for, before the second one begins.
    begun = lines_of(told)
    write_pyramid(workers, progress=False)
    again = [block for _, block in lines_of(told)[len(begun) :]]
    assert len(again) <= BLOCKS - finished + 1  # one may just have begun when its call ended
    assert files_of(threads) != files_of(workers)
    in_threads(threads)
    assert files_of(workers.parent) == files_of(threads.parent)


@pytest.mark.usefixtures("client")
def test_a_share_that_cannot_do_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = volume_store(tmp_path)
    with pytest.raises(BudgetError, match=r"Each of 2 workers has .* The pyramid does not fit"):
        write_pyramid(store, budget="300 MiB", progress=False)
    assert len(open_pyramid(store)) == 1
    monkeypatch.setattr("s5engine.store.pyramid_plan.ENCODE_COPIES", 1e6)
    source = write_layers(tmp_path / "other", pixels(2, HEIGHT, WIDTH))
    with pytest.raises(BudgetError, match=r"Each of 2 workers has .* The pyramid does not fit"):
        ingest(source, tmp_path / "b", progress=False, budget="6 GiB")
    assert not (tmp_path / "b").exists()
