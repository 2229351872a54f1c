"""Ingest and split on the workers of a cluster: the same files, few tasks in flight, resumable."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
import tifffile
from distributed import Client, Event, LocalCluster, WorkerPlugin

import s5engine as s5
from s5engine.errors import BudgetError, SourceNotFoundError, StoreError
from s5engine.infer import memory
from s5engine.phantom import LayerServer
from s5engine.runtime.attempts import begin_attempt
from s5engine.runtime.journal import Journal
from s5engine.runtime.journal_lines import read_units
from s5engine.source.stack import open_stack
from s5engine.store import band_plan, band_tasks, ingest, split
from s5engine.store.band_tasks import LayersThere, Workers, budget_here, in_order, layers_there
from s5engine.store.part_file import PartFile, rows_by_token
from s5engine.store.part_mask import MASK_LAYER
from unit.store.segments import files_of, pixels, write_layers

SHAPE = {"layers": 12, "height": 700, "width": 500}
DARKER = (np.arange(256) // 2).astype(np.uint8)
POINTS = [[0.0, 0.0], [128.0, 64.0], [255.0, 255.0]]
BANDS = 6


@pytest.fixture(autouse=True)
def low_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(band_plan, "BAND_HEIGHTS", (128,))


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    cloudpickle.register_pickle_by_value(__import__(__name__, fromlist=["_"]))
    with s5.cluster("processes", workers=2, budget="6 GiB", dashboard=False) as found:
        assert found.client is not None
        yield found.client


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_layers(tmp_path / "seg", pixels(**SHAPE))


def first_layer(tiles: Any) -> Any:
    """Answer with every fourth pixel."""
    return tiles[:, 0, ::4, ::4]


def in_threads(step: Any, *arguments: Any, **options: Any) -> Any:
    """Do the step as if there were no cluster."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(band_tasks, "current_client", lambda: None)
        return step(*arguments, progress=False, **options)


def tasks_done(client: Client) -> set[str]:
    """Return the names of the tasks that the scheduler has given out."""
    return client.run_on_scheduler(lambda dask_scheduler: set(dask_scheduler.task_prefixes))


class Told(WorkerPlugin):
    """Let workers, those that are started again too, note each write of parts, and be slow."""

    def __init__(self, log: Path, pause: float) -> None:
        self.log, self.pause = str(log), pause

    def setup(self, worker: Any) -> None:
        from s5engine.store.part_file import PartFile

        self.write = write = PartFile.write
        log, pause = self.log, self.pause

        def told(file: Any, band: Any, row: int) -> None:
            import os
            import time

            with Path(log).open("a") as lines:
                lines.write(f"{os.getpid()} {file.path.parent.parent.name}/{file.layer} {row}\n")
            time.sleep(pause)
            write(file, band, row)

        setattr(PartFile, "write", told)  # noqa: B010

    def teardown(self, worker: Any) -> None:
        from s5engine.store.part_file import PartFile

        setattr(PartFile, "write", self.write)  # noqa: B010


@pytest.fixture
def told(client: Client, tmp_path: Path) -> Iterator[Path]:
    client.register_plugin(Told(tmp_path / "log", 0.01), name="told")
    yield tmp_path / "log"
    client.unregister_worker_plugin("told")


@pytest.mark.parametrize("volume", [False, True])
def test_parts_are_those_of_threads(
    client: Client, source: Path, tmp_path: Path, told: Path, volume: bool
) -> None:
    given = in_threads(ingest.ingest, source, tmp_path / "a.zarr") if volume else source
    options = {"width": 150, "lookup": DARKER, "contrast": POINTS}
    in_threads(split.split, given, tmp_path / "threads", **options)
    split.split(given, tmp_path / "workers", progress=False, **options)
    assert files_of(tmp_path / "workers") == files_of(tmp_path / "threads")
    lines = [line.split() for line in told.read_text().splitlines()]
    assert {pid for pid, *_ in lines} <= {str(pid) for pid in client.run(os.getpid).values()}
    assert len({pid for pid, *_ in lines}) == 2
    assert len(lines) == BANDS * 12 * 4  # each band of each file once
    assert {"split-band", "split-mask"} <= tasks_done(client)
    assert len([*(tmp_path / "workers").rglob("mask.png")]) == 4


@pytest.mark.parametrize("zarr_format", [3, 2])
def test_a_store_is_that_of_threads(
    client: Client, source: Path, tmp_path: Path, zarr_format: Any
) -> None:
    box = (10, 690, 30, 490)
    for place, step in (("threads", in_threads), ("workers", lambda f, *a, **k: f(*a, **k))):
        step(
            ingest.ingest,
            source,
            tmp_path / f"{place}.zarr",
            box=box,
            zarr_format=zarr_format,
            pyramid=False,
        )
    assert files_of(tmp_path / "workers.zarr") == files_of(tmp_path / "threads.zarr")
    assert "ingest-band" in tasks_done(client)


def test_workers_that_are_in_another_folder_find_what_is_named_from_here(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "BLOCK_SIZES", (128,))
    write_layers(tmp_path / "seg", pixels(**SHAPE))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    before = client.run(os.getcwd)
    client.run(os.chdir, str(tmp_path / "elsewhere"))
    try:
        s5.ingest("seg", "a.zarr", progress=False)
        for given, out in (("seg", "files"), (s5.open_volume("a.zarr"), "volume")):
            split.split(given, out, width=150, progress=False)
        for volume in (s5.open_volume("a.zarr"), s5.open_volume("seg")):
            model = s5.wrap_model(first_layer, tile=64, layers=12)
            ink = s5.predict_ink(volume, model, windows=[0], tta=0)
            run = s5.write_run(ink, f"run-{volume.data.name}", progress=False)
            np.testing.assert_array_equal(s5.blend(run.tiles).values, run.ink.values)
    finally:
        for worker, folder in before.items():
            client.run(os.chdir, folder, workers=[worker])
    assert not list((tmp_path / "elsewhere").iterdir())
    trees = [files_of(tmp_path / name) for name in ("files", "volume")]
    for tree in trees:
        tree.pop("seg/parts/parts.json")  # says what it was cut from
    assert trees[0] == trees[1] != {}
    there = in_threads(lambda progress: s5.open_volume("a.zarr").values)
    np.testing.assert_array_equal(there, pixels(**SHAPE))


@pytest.mark.usefixtures("client")
def test_bands_that_are_collected_on_disk_do_not_meet(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_threads(ingest.ingest, source, tmp_path / "threads.zarr", pyramid=False)
    first = band_plan._first_fitting
    monkeypatch.setattr(  # as if memory held 32 rows at a time
        band_plan,
        "_first_fitting",
        lambda plans, *words: first((p for p in plans if p.rows == 32), *words),
    )
    s5.ingest(source, tmp_path / "workers.zarr", pyramid=False, progress=False)
    assert files_of(tmp_path / "workers.zarr") == files_of(tmp_path / "threads.zarr")


def test_a_killed_worker_costs_its_bands_in_flight(
    client: Client, source: Path, tmp_path: Path, told: Path
) -> None:
    def kill_one() -> None:
        while not told.exists() or len(told.read_text().splitlines()) < 120:
            time.sleep(0.01)
        os.kill(int(told.read_text().splitlines()[-1].split()[0]), signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    split.split(source, tmp_path / "workers", width=150, progress=False)
    killer.join()
    in_threads(split.split, source, tmp_path / "threads", width=150)
    assert files_of(tmp_path / "workers") == files_of(tmp_path / "threads")
    writes = [tuple(line.split()[1:]) for line in told.read_text().splitlines()]
    again = {row for file, row in writes if writes.count((file, row)) > 1}
    assert len({*writes}) == BANDS * 12 * 4
    assert len(again) == 1  # the one band that was at work there
    client.wait_for_workers(2)


@pytest.mark.parametrize("finished", [1, 4])
def test_an_interrupted_cut_goes_on_in_threads(
    client: Client, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finished: int
) -> None:
    finish, rows = Journal.finish, 0

    def interrupt(journal: Journal, unit: str, *given: Any, **how: Any) -> None:
        nonlocal rows
        finish(journal, unit, *given, **how)
        rows += 1
        if rows == finished + 1:  # the pass itself is noted first
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "finish", interrupt)
        with pytest.raises(KeyboardInterrupt):
            split.split(source, tmp_path / "out", width=150, progress=False)
    journal = tmp_path / "out" / "seg" / "parts" / "split.journal"
    assert [*rows_by_token(read_units(journal)).values()] == [finished * 128]
    begun: list[int] = []
    write = PartFile.write

    def noted(file: PartFile, band: Any, row: int) -> None:
        begun.append(row)
        write(file, band, row)

    monkeypatch.setattr(PartFile, "write", noted)
    in_threads(split.split, source, tmp_path / "out", width=150)
    assert min(begun) == finished * 128
    in_threads(split.split, source, tmp_path / "whole", width=150)
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")
    assert not client.run_on_scheduler(_bands_there)


def _bands_there(dask_scheduler: Any) -> list[str]:
    """Return the bands that the scheduler still knows; runs there."""
    return [str(key) for key in dask_scheduler.tasks if "split-band" in str(key)]


@pytest.mark.usefixtures("client")
def test_an_ingest_that_was_interrupted_on_workers_goes_on_there(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish, asked = Journal.finish, []

    def interrupt(journal: Journal, unit: str, *given: Any, **how: Any) -> None:
        finish(journal, unit, *given, **how)
        if len(journal) == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "finish", interrupt)
        with pytest.raises(KeyboardInterrupt):
            s5.ingest(source, tmp_path / "a.zarr", progress=False)
    with pytest.raises(StoreError, match="unfinished"):
        s5.open_volume(tmp_path / "a.zarr")
    run = Workers.run

    def counted(workers: Workers, step: str, tasks: Any, *how: Any) -> Any:
        tasks = list(tasks)
        asked.extend(band for band, _ in tasks)
        return run(workers, step, tasks, *how)

    monkeypatch.setattr(Workers, "run", counted)
    volume = s5.ingest(source, tmp_path / "a.zarr", progress=False)
    np.testing.assert_array_equal(in_threads(lambda progress: volume.values), pixels(**SHAPE))
    assert len(asked) == BANDS - 3


def test_layers_of_a_server_are_read_by_this_process(
    client: Client, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.transition_counter)
    files = {f"seg/layers/{p.name}": p for p in (source / "layers").iterdir()}
    with LayerServer(files) as server:
        url = server.url("seg/layers/")
        s5.ingest(url, tmp_path / "a.zarr", progress=False, pyramid=False)
        first = range(MASK_LAYER)  # a mask would be made by workers, from a part that is here
        split.split(url, tmp_path / "out", width=150, progress=False, layers=first)
    after = client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.transition_counter)
    assert after == before
    said = capsys.readouterr().err
    for step in ("ingest", "split"):
        assert f"{step}: in threads of this process, not by the workers: the layers come" in said
    with s5.open_volume(tmp_path / "out" / "seg") as volume:
        there = in_threads(lambda progress: volume.values)
        np.testing.assert_array_equal(there, pixels(**SHAPE)[:MASK_LAYER])


@pytest.mark.usefixtures("client")
def test_layers_in_one_compressed_strip_are_read_by_this_process(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = pixels(**SHAPE)
    (tmp_path / "seg" / "layers").mkdir(parents=True)
    for number, layer in enumerate(data):
        tifffile.imwrite(
            tmp_path / "seg" / "layers" / f"{number:02d}.tif",
            layer,
            compression="lzw",
            rowsperstrip=700,
        )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(band_tasks, "BAND_HEIGHTS", (128,))
        split.split(tmp_path / "seg", tmp_path / "out", width=150, progress=False)
    assert "no band of these layers can be decoded without" in capsys.readouterr().err
    with s5.open_volume(tmp_path / "out" / "seg") as volume:
        np.testing.assert_array_equal(in_threads(lambda progress: volume.values), data)


@pytest.mark.usefixtures("client")
def test_a_share_that_cannot_do_is_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match=r"Each of 2 workers has .* for each of them, or use"):
        split.split(source, tmp_path / "out", budget="700 MiB", progress=False)
    assert not list(tmp_path.rglob("*.tif.partial"))


def test_workers_that_only_wait_count_as_well(client: Client, source: Path) -> None:
    six = 6 * 2**30
    waiting = six - budget_here(six)
    assert 2 * 100 * 2**20 < waiting < 2 * 2**30  # two processes with dask and numpy
    with LayerServer(
        {f"seg/layers/{p.name}": p.read_bytes() for p in (source / "layers").iterdir()}
    ) as server:
        told = s5.plan_ingest(server.url("seg/layers/"), budget="6 GiB")
    assert told.workers == 0
    assert told.waiting_bytes > 2 * 100 * 2**20
    assert told.projected_peak > told.bands.projected_peak + 2 * 100 * 2**20
    there = s5.plan_ingest(source, budget="6 GiB")
    assert there.workers == 2
    assert there.projected_peak > 2 * there.bands.projected_peak


def test_without_workers_the_budget_is_this_process() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(band_tasks, "current_client", lambda: None)
        assert budget_here("6 GiB") == 6 * 2**30


def test_workers_that_do_not_see_the_same_disk_say_so(source: Path) -> None:
    with open_stack(source) as stack:
        there = layers_there(stack)
    other = LayersThere(there.index, there.layers, there.fingerprint | {"5": {"size": 1}})
    with pytest.raises(s5.S5Error, match="A worker finds other layers"):
        other.open()
    there.open().close()
    (source / "layers" / "03.tif").unlink()
    with pytest.raises(SourceNotFoundError):
        there.open()


def test_few_tasks_are_in_flight_however_many_bands_there_are(tmp_path: Path) -> None:
    made: list[int] = []

    def wait() -> None:
        Event("first").wait()

    def tasks() -> Iterator[Any]:
        for number in range(100):
            made.append(number)
            yield (number, number + 1), (wait if number == 0 else lambda: None)

    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster) as client,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(band_tasks, "_place", lambda _: nullcontext())  # one process stands for two
        workers = Workers(client, count=2, threads=1, base=0, budget=0)
        done = workers.run("wait-band", tasks(), begin_attempt(tmp_path / "journal"))
        got = [next(done)[0]]
        assert len(made) == 5  # four in flight, and the next one
        while len(got) < 7:  # the oldest one holds up those far behind it
            got.append(next(done)[0])
        assert sorted(got) == list(range(1, 8))
        assert len(made) == 9
        Event("first").set()
        got += [band[0] for band in done]
    assert sorted(got) == list(range(100))


def test_rows_are_told_in_order() -> None:
    bands = [(n, n + 1) for n in range(5)]
    seen: list[str] = []

    def done() -> Iterator[tuple[int, int]]:
        for n in (2, 0, 1, 4, 3):
            seen.append(f"done {n}")
            yield n, n + 1

    for band in in_order(bands, done()):
        seen.append(f"told {band[0]}")
    assert seen == [
        "done 2",
        "done 0",
        "told 0",
        "done 1",
        "told 1",
        "told 2",
        "done 4",
        "done 3",
        "told 3",
        "told 4",
    ]
