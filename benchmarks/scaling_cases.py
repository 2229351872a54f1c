"""Steps whose cost is measured over size, workers and blocks; see `common.run_case`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

import s5engine as s5
from benchmarks.ink_cases import model_of


def ingest(url: str, store: str, *, box: list[int], budget: str, layers: int) -> Iterator[None]:
    """Copy a box of the layers into a store; libraries are loaded before."""
    import dask.array  # noqa: F401
    import xarray  # noqa: F401
    import zarr  # noqa: F401

    yield
    s5.ingest(url, store, layers=range(layers), box=box, budget=budget, progress=False)


def infer(
    store: str,
    out: str,
    *,
    columns: int,
    budget: str,
    stride: int,
    network: str,
    workers: int | None = None,
) -> Iterator[None]:
    """Predict the first columns and write all products, here or on worker processes.

    Without a mask: of some columns more is papyrus than of others, and all are to take as long.
    """
    import contextlib

    model = model_of(network)
    where: Any = (
        contextlib.nullcontext()
        if workers is None
        else s5.cluster("processes", workers=workers, budget=budget, dashboard=False)
    )

    def predict(width: int, run: str) -> None:
        volume = s5.open_volume(store).isel(x=slice(0, width))
        ink = s5.predict_ink(
            s5.contrast(volume), model, windows=[0], stride=stride, tta=0, budget=budget
        )
        s5.write_run(ink, run, progress=False)

    with where:
        predict(model.tile, f"{out}-warm")
        yield
        predict(columns, out)


def graph(blocks: int, budget: str) -> Iterator[None]:
    """Build the graph of a prediction over so many blocks; return its tasks and its memory."""
    import dask.array as da
    import xarray as xr

    from benchmarks.common import current_bytes

    model = model_of("stand-in")
    side = round(blocks**0.5)

    def lazy(rows: int, columns: int) -> Any:
        volume = xr.DataArray(
            da.zeros((16, rows, columns), dtype=np.uint8, chunks=(16, 1024, 1024)),
            dims=("layer", "y", "x"),
            coords={"layer": np.arange(16), "y": np.arange(rows), "x": np.arange(columns)},
            attrs={"segment": "m", "source": "memory", "contrast": None},
        )
        return s5.predict_ink(
            s5.contrast(volume), model, windows=[0], stride=64, tta=0, budget=budget
        )

    dict(lazy(1024, 1024).__dask_graph__())
    before = current_bytes()
    yield
    ink = lazy(1024 * side, 1024 * side)
    tasks = len(dict(ink.__dask_graph__()))
    return {
        "blocks": int(np.prod(ink.data.numblocks)),
        "tasks": tasks,
        "graph_mib": round((current_bytes() - before) / 2**20, 1),
    }
