"""One thread alone runs networks on a device, and it can be stopped between two batches."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

import s5engine as s5
from s5engine.infer import memory
from s5engine.model import device_thread, ink_model
from s5engine.model.device_thread import InferenceStoppedError, run_on
from support import noise, texture, volume_of


def test_the_network_runs_in_one_thread_whatever_dask_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import dask

    monkeypatch.setattr(memory, "BLOCK_SIZES", (64,))
    threads, inside, most = set(), 0, 0
    lock = threading.Lock()

    def network(tiles: torch.Tensor) -> torch.Tensor:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
            threads.add(threading.current_thread().name)
        answer = texture(tiles)
        with lock:
            inside -= 1
        return answer

    model = s5.wrap_model(network, tile=64)
    ink = s5.predict_ink(volume_of(noise((16, 400, 400))), model, windows=[0], stride=32, tta=0)
    with dask.config.set(scheduler="threads", num_workers=6):
        ink.compute()
    assert most == 1
    assert len(threads) == 1
    assert next(iter(threads)).startswith("s5-cpu")


def test_errors_and_answers_come_back_to_who_asked() -> None:
    def fail() -> None:
        raise ValueError("no")

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda n: run_on("cpu", lambda: n * n), range(20))) == [
            n * n for n in range(20)
        ]
    with pytest.raises(ValueError, match="no"):
        run_on("cpu", fail)
    assert run_on("cpu", lambda: 3) == 3


def test_a_stopped_run_ends_after_the_present_batch() -> None:
    seen = 0

    def network(tiles: torch.Tensor) -> torch.Tensor:
        nonlocal seen
        seen += 1
        if seen == 3:
            device_thread.stop_inference()
        return texture(tiles)

    model = s5.wrap_model(network, tile=64)
    ink = s5.predict_ink(
        volume_of(noise((16, 400, 400))), model, windows=[0], stride=32, tta=0, batch=4
    )
    with pytest.raises(InferenceStoppedError, match="The same command again"):
        ink.compute(scheduler="synchronous")
    assert seen == 3
    # What begins afterwards runs.
    assert ink.compute(scheduler="synchronous").shape == (1, 400, 400)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_has_an_owner_of_its_own() -> None:
    assert run_on("cpu", os.getpid) == os.getpid()
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(writer, str(run_on("cpu", os.getpid)).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        assert int(answer.read()) == child


def test_all_that_a_network_computes_is_the_owners_work() -> None:
    threads = set()

    def network(tiles: torch.Tensor) -> torch.Tensor:
        threads.add(threading.current_thread().name)
        return texture(tiles)

    model = s5.wrap_model(network, tile=64)
    with ThreadPoolExecutor(3) as pool:
        tiles = torch.zeros(2, 16, 64, 64)
        answers = list(pool.map(model.probabilities, [tiles] * 6))
    assert all(torch.equal(answer, answers[0]) for answer in answers)
    assert [name.startswith("s5-cpu") for name in threads] == [True]


def test_a_checkpoint_is_loaded_by_the_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []
    rewrite = ink_model.rewrite_for_inference

    def watched(plain: torch.nn.Module) -> torch.nn.Module:
        threads.append(threading.current_thread().name)
        return rewrite(plain)

    monkeypatch.setattr(ink_model, "rewrite_for_inference", watched)
    monkeypatch.setattr(ink_model, "_cache", OrderedDict())
    checkpoint = Path(__file__).parents[3] / "checkpoints" / "demo.ckpt"
    s5.load_checkpoint(checkpoint, device="cpu")
    assert [name.startswith("s5-cpu") for name in threads] == [True]


def test_the_owner_may_ask_itself() -> None:
    assert run_on("cpu", lambda: run_on("cpu", lambda: 5)) == 5
