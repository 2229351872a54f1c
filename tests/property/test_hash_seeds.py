"""Nothing depends on Python's hash seed: the same pixels and names in processes of any seed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import s5engine as s5
from support import noise, volume_of
from unit.store.segments import write_layers

#: What is built and computed in each process; it prints digests of pixels, and graph names.
LINE = """
import hashlib, json, sys
import numpy as np, torch
import s5engine as s5

volume = s5.open_volume(sys.argv[1])
model = s5.wrap_model(lambda x: x.mean(1) * 4 - 2, tile=64, reduction=1)
box = dict(y=slice(100, 164), x=slice(100, 228))
made = {
    "layers": s5.to_uint8(volume.sel(layer=slice(3, 18))).isel(**box),
    "rows": s5.to_uint8(volume.isel(y=slice(0, 250))).isel(**box),
    "part": s5.to_uint8(s5.parts(volume, width=1100)[1]).isel(**box),
    "list": s5.to_uint8(volume.isel(layer=[1, 5, 2])).isel(**box),
}
made["contrast"] = s5.contrast(made["rows"])
made["ink"] = s5.predict_ink(
    made["contrast"], model, windows=[2], tta=0, mask=s5.papyrus_mask(made["contrast"])
)
digests = {
    name: hashlib.sha256(np.ascontiguousarray(array.values).tobytes()).hexdigest()
    for name, array in made.items()
}
names = [array.data.name for name, array in made.items() if name != "ink"]
print(json.dumps([digests, names, made["ink"].attrs["mask"]]))
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("seeds")
    write_layers(root / "seg", noise((20, 300, 1300), dtype=np.uint16))
    s5.ingest(root / "seg", root / "v.zarr", progress=False)
    return root / "v.zarr"


def in_process(seed: int, store: Path) -> object:
    done = subprocess.run(
        [sys.executable, "-c", LINE, str(store)],
        env=os.environ | {"PYTHONHASHSEED": str(seed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.slow
def test_processes_of_several_seeds_build_and_compute_the_same(store: Path) -> None:
    seeds = [0, 1, 2, *np.random.default_rng().integers(3, 2**32, 2).tolist()]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda seed: in_process(seed, store), seeds))
    assert all(other == found[0] for other in found), seeds


@st.composite
def crops(draw: st.DrawFn) -> dict[str, slice]:
    ends = {}
    for dim, length in (("layer", 6), ("y", 90), ("x", 110)):
        start = draw(st.integers(0, length - 1))
        ends[dim] = slice(start, draw(st.integers(start + 1, length)))
    return ends


@given(crops(), crops(), st.tuples(st.integers(1, 6), st.integers(5, 90), st.integers(5, 110)))
@settings(max_examples=60, deadline=None)
def test_crops_before_and_after_scaling_give_the_pixels_of_the_plain_formula(
    before: dict[str, slice], after: dict[str, slice], chunks: tuple[int, int, int]
) -> None:
    pixels = noise((6, 90, 110), seed=5, dtype=np.uint16)
    cut = volume_of(pixels, chunks).isel(before)
    layers = pixels[tuple(before.values())].astype(float)
    low, high = (f(axis=(1, 2), keepdims=True) for f in (layers.min, layers.max))
    span = np.where(high > low, high - low, 1)
    wanted = np.clip(np.rint((layers - low) * 255 / span), 0, 255)[tuple(after.values())]
    np.testing.assert_array_equal(s5.to_uint8(cut).isel(after).values, wanted)
