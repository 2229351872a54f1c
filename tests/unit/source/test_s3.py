"""A bucket, as served by moto on this machine."""

from __future__ import annotations

import numpy as np
import pytest

from s5engine.errors import SourceNotFoundError
from s5engine.phantom.layouts import encode_layer
from s5engine.source import RetryPolicy, list_layers, open_stack

QUICK = RetryPolicy(attempts=2, delay=0.001)
VOLUME = np.random.default_rng(7).integers(0, 200, (2, 50, 300)).astype(np.uint8)


@pytest.fixture
def bucket(monkeypatch):
    import boto3
    from moto.server import ThreadedMotoServer

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
    client.create_bucket(Bucket="scrolls", ACL="public-read")
    for i, layer in enumerate(VOLUME):
        key = f"s5/0319/layers/{i:02d}.tif"
        client.put_object(
            Bucket="scrolls", Key=key, Body=encode_layer(layer, "rows-lzw"), ACL="public-read"
        )
    client.close()
    yield {"client_kwargs": {"endpoint_url": endpoint}}
    server.stop()


def test_a_bucket_is_listed_and_read_anonymously(bucket):
    index = list_layers("s3://scrolls/s5/0319", storage_options=bucket)
    assert (list(index), index.segment) == ([0, 1], "0319")
    with open_stack(index, retry=QUICK) as stack:
        np.testing.assert_array_equal(stack.read((3, 40, 11, 290)), VOLUME[:, 3:40, 11:290])
        assert "etag" in stack.fingerprint()["0"]
    with pytest.raises(SourceNotFoundError):
        list_layers("s3://scrolls/nowhere", storage_options=bucket)
