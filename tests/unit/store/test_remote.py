"""Volumes over HTTP: what fails in passing is repeated, a wrong answer is never believed."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s5engine.errors import StoreError
from s5engine.phantom import Fault, LayerServer
from s5engine.source.retry import RetryPolicy
from s5engine.store import remote
from s5engine.store.ingest import ingest
from s5engine.store.volume import open_volume
from unit.store.segments import pixels, write_layers


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "POLICY", RetryPolicy(attempts=4, delay=0.01, longest_wait=0.5))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("remote")
    ingest(write_layers(folder / "seg", pixels()), folder / "a.zarr", progress=False)
    found = (folder / "a.zarr").rglob("*")
    return {str(path.relative_to(folder)): path for path in found if path.is_file()}


@pytest.fixture
def serve(files: dict[str, Path]) -> Iterator[Any]:
    opened = []

    def serve(*faults: Fault, **options: Any) -> str:
        opened.append(LayerServer(files, faults=faults, **options))
        return opened[-1].url("a.zarr")

    yield serve
    for server in opened:
        server.close()


@pytest.mark.parametrize(
    "fault",
    [
        Fault("*", "status", times=3, code=429),
        Fault("*", "status", times=3, code=503, retry_after=0.1),
        Fault("*", "drop", times=2),
        Fault("*/c/*", "truncate", times=3),
        Fault("*/zarr.json", "truncate", times=1),
        Fault("*/c/*", "status", times=3, skip=5, code=500),
    ],
    ids=lambda fault: f"{fault.kind} {fault.path_pattern}",
)
def test_what_passes_is_waited_for(serve: Any, fault: Fault) -> None:
    np.testing.assert_array_equal(open_volume(serve(fault)).values, pixels())


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault("*", "status", code=403), "403"),
        (Fault("*", "status", code=503), "tried 4 times"),
        (Fault("*", "status", code=429, retry_after=100), "tried once"),
    ],
)
def test_what_does_not_pass_is_one_clear_error(serve: Any, fault: Fault, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        open_volume(serve(fault))


def test_a_server_without_ranges_is_found_out(serve: Any) -> None:
    volume = open_volume(serve(ranges=False))
    with pytest.raises(StoreError, match="does not answer range requests"):
        volume.isel(y=slice(0, 10), x=slice(300, 310)).compute()


def test_a_volume_travels_to_another_process(serve: Any) -> None:
    graph = pickle.loads(pickle.dumps(open_volume(serve()).data))
    np.testing.assert_array_equal(graph.compute(), pixels())
