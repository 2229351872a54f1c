"""Threads, processes or a scheduler: the same ink to the bit, and clear errors."""

from __future__ import annotations

import functools
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import cloudpickle
import dask
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from typer.main import get_command
from typer.testing import CliRunner

import s5engine as s5
from s5engine import scheduling
from s5engine.cli import app, main
from s5engine.errors import BudgetError, InvalidArgumentError, SchedulerError
from s5engine.geometry import TileAxis
from s5engine.infer import memory
from s5engine.local_workers import LEAST_WORKER_BYTES, worker_specs
from s5engine.model.device_thread import run_on
from s5engine.store import band_tasks
from support import noise, texture, volume_of
from unit.store.segments import files_of, pixels, write_layers

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "checkpoints" / "demo.ckpt"
GIB = 2**30


@given(
    st.one_of(st.none(), st.integers(1, 16)),
    st.integers(1, 64),
    st.integers(0, 2 * GIB),
    st.integers(1, 64),
    st.integers(0, 8),
)
def test_workers_share_budget_and_processors(
    workers: int | None, gib: int, base: int, cpus: int, gpus: int
) -> None:
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    count = workers or max(gpus, 1)
    call = functools.partial(worker_specs, workers, gib * GIB, base=base, cpus=cpus, gpus=gpus)
    if gpus and count > gpus:
        with pytest.raises(InvalidArgumentError, match="each device has one owner"):
            call()
        return
    if gib * GIB < base + count * LEAST_WORKER_BYTES:
        with pytest.raises(BudgetError, match=f"each of {count} worker processes"):
            call()
        return
    specs = call()
    assert len(specs) == (workers or max(gpus, 1))
    assert base + sum(s.memory_bytes for s in specs) <= gib * GIB
    assert min(s.memory_bytes for s in specs) >= LEAST_WORKER_BYTES
    assert sum(s.threads for s in specs) <= max(cpus, len(specs))
    # Each device has one owner. Without a driver's setting they are numbered.
    devices = [s.gpu for s in specs]
    assert devices == ([str(n) for n in range(len(specs))] if gpus else [None] * len(specs))


def test_devices_that_were_chosen_for_this_process_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,GPU-5ebe9f43")
    specs = worker_specs(None, 8 * GIB, base=0, cpus=4, gpus=2)
    assert [s.gpu for s in specs] == ["2", "GPU-5ebe9f43"]


def test_threads_are_as_many_as_asked_and_only_inside() -> None:
    seen: set[str] = set()
    lock, together = threading.Lock(), threading.Barrier(3, timeout=60)

    def meet(block: np.ndarray) -> np.ndarray:
        with lock:
            seen.add(threading.current_thread().name)
        together.wait()
        return block

    lazy = dask.array.zeros(3, chunks=1).map_blocks(meet, dtype=float, meta=np.empty(0))
    with s5.cluster("threads", workers=3) as found:
        lazy.compute()  # fewer threads would wait for each other in vain
    assert (found.client, found.dashboard, found.workers, found.threads) == (None, None, 1, 3)
    assert len(seen) == 3
    assert dask.config.get("num_workers", None) is None


@pytest.fixture
def own_threads() -> Iterator[None]:
    """Give the network another number of torch's threads than the rest of this process has."""
    before = run_on("cpu", torch.get_num_threads)
    run_on("cpu", functools.partial(torch.set_num_threads, 1))
    yield
    run_on("cpu", functools.partial(torch.set_num_threads, before))


@pytest.mark.usefixtures("own_threads")
def test_processes_give_the_same_bits_and_names_that_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(memory, "BLOCK_SIZES", (128,))
    pixels = tmp_path / "volume.zarr"
    dask.array.to_zarr(dask.array.from_array(noise((16, 300, 300)), chunks=(16, 128, 128)), pixels)
    model = s5.load_checkpoint(DEMO)
    ink = s5.predict_ink(s5.open_volume(pixels), model, windows=[0], stride=64, tta=0)
    # What travels says where the weights are.
    assert len(cloudpickle.dumps(ink.data.dask)) < 100_000 < DEMO.stat().st_size
    plain = s5.write_run(ink, tmp_path / "threads", progress=False)
    with s5.cluster("processes", workers=2, budget="6 GiB") as found:
        assert found.client is not None
        run = s5.write_run(ink, tmp_path / "processes", progress=False)
        names = found.client.run_on_scheduler(
            lambda dask_scheduler: {*dask_scheduler.task_prefixes}
        )
        loaded = found.client.run(_models_loaded)
        ports = found.client.run_on_scheduler(_listening)
    np.testing.assert_array_equal(run.tiles.values, plain.tiles.values)
    np.testing.assert_array_equal(run.ink.values, plain.ink.values)
    assert {"predict-tiles", "blend"} <= names
    assert not [name for name in names if name.count("-") > 3], names
    assert set(loaded.values()) <= {0, 1}
    assert 1 in loaded.values()
    assert {address for address, _ in ports} == {"127.0.0.1"}
    said = capsys.readouterr().err
    assert f"dashboard: {found.dashboard}" in said
    assert str(found.dashboard).startswith("http://127.0.0.1:")
    assert "workers: 2 with 1 threads each" in said


def test_workers_keep_the_memory_that_comes_and_goes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # As a plain LocalCluster leaves it behind in the process that made it.
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "65536")
    cloudpickle.register_pickle_by_value(__import__(__name__))
    with s5.cluster("processes", workers=1, budget="6 GiB", dashboard=False) as found:
        assert found.client is not None
        faults = found.client.run(_page_faults)
    # Arrays of 1 MiB are 256 pages each; mapped anew every time they would be 25,600 faults.
    assert max(faults.values()) < 5_000
    assert found.dashboard is None
    assert "dashboard" not in capsys.readouterr().err


def _page_faults() -> int:
    """Return the page faults of using an array a hundred times over; runs in a worker."""
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(100):
        np.ones(2**20, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def _models_loaded() -> int:
    """Return how many networks this worker has loaded; runs there."""
    from s5engine.model import ink_model

    return len(ink_model._cache)


def _listening(dask_scheduler: Any) -> list[tuple[str, int]]:
    """Return where the scheduler and its dashboard listen; runs there."""
    sockets = [s for server in dask_scheduler.http_server._sockets.values() for s in [server]]
    comm = [listener.contact_address.split("://")[1] for listener in dask_scheduler.listeners]
    return [s.getsockname()[:2] for s in sockets] + [
        (a.rsplit(":", 1)[0], int(a.rsplit(":", 1)[1])) for a in comm
    ]


def slow_texture(tiles: torch.Tensor) -> torch.Tensor:
    """Answer late, and leave a line for each batch beside the file named in the environment."""
    with Path(os.environ["S5_TEST_LOG"]).open("a") as log:
        log.write(f"{os.getpid()} {len(tiles)}\n")
    time.sleep(0.05)
    return texture(tiles)


@pytest.mark.slow
def test_a_killed_worker_costs_its_blocks_in_flight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "BLOCK_SIZES", (128,))
    monkeypatch.setenv("S5_TEST_LOG", str(tmp_path / "log"))
    cloudpickle.register_pickle_by_value(__import__(__name__))
    model = s5.wrap_model(slow_texture, tile=64)
    volume = volume_of(noise((16, 700, 700)))
    ink = s5.predict_ink(volume, model, windows=[0], stride=32, tta=0)
    tiles = TileAxis(700, 64, 32).count ** 2
    with s5.cluster("processes", workers=2, budget="6 GiB", dashboard=False) as found:
        assert found.client is not None

        def kill_one() -> None:
            while not (tmp_path / "log").exists() or (tmp_path / "log").stat().st_size < 100:
                time.sleep(0.02)
            os.kill(int((tmp_path / "log").read_text().split()[0]), signal.SIGKILL)

        killer = threading.Thread(target=kill_one)
        killer.start()
        run = s5.write_run(ink, tmp_path / "run", progress=False)
        killer.join()
    plain = s5.predict_ink(volume, s5.wrap_model(texture, tile=64), windows=[0], stride=32, tta=0)
    np.testing.assert_array_equal(run.ink.values, plain.values)
    lines = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    assert len({pid for pid, _ in lines}) >= 2
    done = sum(int(count) for _, count in lines)
    # The killed worker was at one block, and may have had another one yet to write.
    axis = TileAxis(700, 64, 32)
    assert tiles <= done <= tiles + 2 * max(axis.blocks(128).tiles) ** 2


@pytest.mark.parametrize(
    ("address", "options", "complaint"),
    [
        ("procs", {}, "'procs' is no scheduler"),
        ("threads", {"workers": 0}, "workers is a whole number from 1"),
        ("processes", {"workers": 1.5}, "workers is a whole number from 1"),
        ("tcp://127.0.0.1:9", {"workers": 2}, "has its own workers"),
        ("processes", {"budget": "500 MiB"}, "worker processes, and one needs 600 MiB"),
        ("processes", {"budget": "much"}, "not an amount of memory"),
    ],
)
def test_what_does_not_fit(address: str, options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(s5.S5Error, match=complaint), s5.cluster(address, **options):
        pass


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduling, "_PATIENCE", 1)
    with (
        pytest.raises(SchedulerError, match=r"No dask scheduler answers at tcp://127.0.0.1:9"),
        s5.cluster("tcp://127.0.0.1:9"),
    ):
        pass


def test_a_scheduler_of_somebody_else_goes_on(tmp_path: Path) -> None:
    from distributed import Client, LocalCluster

    with LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address=":0"
    ) as theirs:
        with s5.cluster(theirs.scheduler_address) as found:
            assert (found.workers, found.threads) == (1, 1)
            assert dask.array.ones(4).sum().compute() == 4
        with Client(theirs) as client:  # type: ignore[no-untyped-call]
            assert client.submit(int, "7").result() == 7


#: Verbs that do their work in this process: on its device, or looking at what is there.
ALONE = {("train",), ("info",), ("view",)}


def test_every_verb_takes_it_and_says_where_it_does_nothing() -> None:
    commands: Any = get_command(app)
    found = {(name,) for name in commands.commands}
    assert found >= {("pyramid",), ("split",), ("relabel",), ("plan",), *ALONE}
    for words in sorted(found):
        said = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "200"}).output
        assert "--scheduler" in said, words
        assert "--workers" in said, words
        assert ("workers are not used, and it says so" in " ".join(said.split())) == (
            words in ALONE
        ), words


@pytest.mark.parametrize("verb", sorted(ALONE))
def test_what_works_alone_says_so(tmp_path: Path, verb: tuple[str]) -> None:
    words = [*verb, str(tmp_path / "none"), "--scheduler", "processes", "--workers", "2"]
    ran = CliRunner().invoke(app, words)
    assert f"{verb[0]}: works in this process" in ran.stderr
    assert "workers: " not in ran.stderr


def test_a_first_word_that_is_nothing_is_told_with_the_verbs_that_there_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["s5", "plan", "nonsense", "--windows", "0"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("s5: There is no verb and no volume 'nonsense'.")
    assert all(verb in line for verb in ("infer", "fetch", "split", "title"))
    # A volume that is there, by path or by its name in the catalogue, is planned for.
    (tmp_path / "a.zarr").mkdir()
    for volume in ("a.zarr", "03192025", "s3://bucket/a.zarr"):
        said = CliRunner().invoke(app, ["plan", volume])
        assert "Missing option '--checkpoint'" in said.output


def test_the_verbs_do_their_work_there(tmp_path: Path) -> None:
    pixels = tmp_path / "volume.zarr"
    dask.array.to_zarr(dask.array.from_array(noise((16, 130, 130)), chunks=(16, 128, 128)), pixels)
    words = ["infer", str(pixels), "--checkpoint", str(DEMO), "--windows", "0", "--mask", "none"]
    told = CliRunner().invoke(app, ["plan", *words[1:], "--scheduler", "threads", "--workers", "1"])
    assert told.exit_code == 0, told.output
    assert "FLOP" in told.output
    flag = CliRunner().invoke(app, [*words, "--plan", "-o", str(tmp_path / "run")])
    lines = [text.splitlines()[:4] for text in (told.stdout, flag.stdout)]
    assert lines[0] == lines[1]  # what follows tells of memory now
    assert not (tmp_path / "run").exists()
    ran = CliRunner().invoke(app, [*words, "--workers", "1", "-o", str(tmp_path / "run")])
    assert ran.exit_code == 0, ran.output
    assert s5.open_run(tmp_path / "run").ink.shape == (1, 130, 130)


@contextmanager
def in_threads() -> Iterator[None]:
    """Let no step see the client of this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(band_tasks, "current_client", lambda: None)
        yield


def test_fetch_split_and_pyramid_from_the_command_line_use_workers(tmp_path: Path) -> None:
    layers = write_layers(tmp_path / "seg", pixels(12, 200, 1100))
    fetch = ["fetch", str(layers), str(tmp_path / "a.zarr"), "--no-pyramid"]
    split = ["split", str(layers), "--width", "600", "-o"]
    with s5.cluster("processes", workers=2, budget="6 GiB", dashboard=False) as there:
        assert there.client is not None
        address = there.client.scheduler.address
        for place, options in (
            ("workers", ["--scheduler", address]),
            ("threads", ["--workers", "1"]),
        ):
            fetch[2] = str(tmp_path / f"{place}.zarr")
            for words in (fetch, [*split, str(tmp_path / place)], ["pyramid", fetch[2]]):
                with in_threads() if place == "threads" else nullcontext():
                    ran = CliRunner().invoke(app, [*words, *options, "--budget", "6 GiB"])
                assert ran.exit_code == 0, ran.output
                assert ("workers: 2 with" in ran.stderr) == (place == "workers")
                assert "this process" not in ran.stderr
        steps = there.client.run_on_scheduler(
            lambda dask_scheduler: {*dask_scheduler.task_prefixes}
        )
    assert {"ingest-band", "split-band", "split-mask", "pyramid-level"} <= steps
    assert files_of(tmp_path / "workers") == files_of(tmp_path / "threads")
    assert files_of(tmp_path / "workers.zarr") == files_of(tmp_path / "threads.zarr")
    for verb in ("fetch", "split"):
        said = CliRunner().invoke(app, [verb, "--help"], env={"COLUMNS": "200"}).output
        assert "this process alone" in " ".join(said.split())
