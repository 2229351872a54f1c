"""Sources and volumes on S3, read anonymously."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from moto.server import ThreadedMotoServer

import s5engine as s5
from s5engine.phantom import encode_layers
from support import noise

BUCKET = "scrolls"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def put(endpoint: str, key: str, data: bytes) -> None:
    request = urllib.request.Request(f"{endpoint}/{BUCKET}/{key}", data=data, method="PUT")
    request.add_header("x-amz-acl", "public-read")
    request.add_header("Content-Type", "application/octet-stream")
    urllib.request.urlopen(request).close()


def test_layers_and_stores_on_s3(endpoint: str, tmp_path: Path) -> None:
    layers = noise((4, 60, 90))
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/{BUCKET}", method="PUT")).close()
    for name, data in encode_layers(layers, "tiles-128").items():
        put(endpoint, f"seg/layers/{name}", data)
    options = {
        "anon": True,
        "client_kwargs": {"endpoint_url": endpoint, "region_name": "us-east-1"},
    }
    index = s5.list_layers(f"s3://{BUCKET}/seg/layers", storage_options=options)
    assert (list(index), index.segment) == ([0, 1, 2, 3], "seg")
    store = tmp_path / "seg.zarr"
    volume = s5.ingest(index, store, box=(10, 60, 0, 80), progress=False)
    np.testing.assert_array_equal(volume.values, layers[:, 10:, :80])
    for file in store.rglob("*"):
        if file.is_file():
            put(endpoint, f"{store.name}/{file.relative_to(store).as_posix()}", file.read_bytes())
    remote = s5.open_volume(f"s3://{BUCKET}/{store.name}", storage_options=options)
    np.testing.assert_array_equal(remote.values, volume.values)
    assert int(remote.y[0]) == 10
