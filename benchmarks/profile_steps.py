"""Where the heaviest steps spend their time: processor seconds of each function, by thread.

    python -m benchmarks.profile_steps ingest|predict|title|split [--rows N --columns N]

Some functions are wrapped and note the processor time of their thread, without that of wrapped ones
that they call. What is left is Python around them: imports, planning, dask. The threads that fsspec
and zarr-python keep are read from the system at the end.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.scratch import scratch
from benchmarks.served import ServedSegment

#: What is measured as what: functions by module.
STEPS = {
    "LZW": ["imagecodecs:lzw_decode"],
    "running sums": ["imagecodecs:delta_decode"],
    "zstd, coding": ["imagecodecs:blosc_encode"],
    "zstd, decoding": ["imagecodecs:blosc_decode"],
    "writing files": ["s5engine.store.shards:_put"],
    "cutting and joining chunks": ["s5engine.store.shards:ChunkFiles.write"],
    "placing decoded rows": ["s5engine.source.pipeline:BandReader._decode"],
    "asking for bytes": ["s5engine.source.pipeline:BandReader._fetch_all"],
    "reading shards": ["s5engine.store.read_shards:ShardFiles.read"],
    "halving": ["s5engine.store.pyramid:halve"],
    "contrast": ["s5engine.ops.contrast:apply_table", "cv2:LUT"],
    "cutting tiles, network": [
        "s5engine.infer.tiles:_cut",
        "s5engine.model.ink_model:InkModel.probabilities",
    ],
    "blending": ["s5engine.infer.graph:blend_block"],
    "zarr-python, here": ["zarr:Array.__getitem__", "zarr:Array.__setitem__"],
    "levels while it runs": ["s5engine.infer.execution:reduce_blocks"],
    "pyramid": ["s5engine.infer.run:write_levels"],
    "npy": ["s5engine.infer.run:write_npy"],
    "png": ["s5engine.infer.run:write_png"],
    "overview": ["s5engine.infer.run:write_overview"],
    "TIFFs of parts": ["s5engine.store.cut:_grow"],
}
#: Threads that others keep, by the beginning of their names.
OTHERS = {
    "fsspecIO": "receiving (event loop)",
    "zarr_io": "zarr-python's loop",
    "asyncio_": "zarr-python's codecs",
}


class Clock:
    """Adds up processor seconds by step, each without the steps inside it."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._own = threading.local()
        self._lock = threading.Lock()

    def wrap(self, target: str, step: str) -> None:
        """Measure a function from now on; one that is not there is left out."""
        module, _, path = target.partition(":")
        *owners, name = path.split(".")
        owner: Any = importlib.import_module(module)
        for part in owners:
            owner = getattr(owner, part)
        function = getattr(owner, name, None)
        if function is None:
            return

        @functools.wraps(function)
        def measured(*arguments: Any, **options: Any) -> Any:
            inside = getattr(self._own, "inside", 0.0)
            self._own.inside = 0.0
            started = time.thread_time()
            try:
                return function(*arguments, **options)
            finally:
                spent = time.thread_time() - started
                with self._lock:
                    self.seconds[step] += spent - self._own.inside
                self._own.inside = inside + spent

        setattr(owner, name, measured)

    def report(self, wall: float, processor: float) -> None:
        """Print each step's share of the processor time."""
        import psutil

        names = {t.native_id: t.name for t in threading.enumerate()}
        for thread in psutil.Process().threads():
            for start, step in OTHERS.items():
                if names.get(thread.id, "").startswith(start):
                    self.seconds[step] += thread.user_time + thread.system_time
        self.seconds["the rest"] = processor - sum(self.seconds.values())
        print(f"{wall:.2f} s, {processor:.2f} s of processor time")
        for step, spent in self.seconds.most_common():
            if spent > 0.005 * processor:
                print(f"{step:32} {spent:7.2f} s {spent / processor:6.1%}")


def main() -> None:
    """Serve a segment, prepare, and run the step that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=["ingest", "predict", "title", "split"])
    parser.add_argument("--rows", type=int, default=1378)
    parser.add_argument("--columns", type=int, default=60_000)
    parser.add_argument("--layers", type=int, default=21)
    asked = parser.parse_args()
    title = asked.step == "title"
    size = (13_780, 289_380) if title else (asked.rows, asked.columns)
    with ServedSegment(*size, asked.layers) as segment, scratch() as folder:
        _profile(asked.step, segment.url, folder)


def _profile(step: str, url: str, folder: Path) -> None:
    import s5engine as s5
    from benchmarks import ingest_cases
    from benchmarks.ink_cases import model_of

    store = str(folder / "store.zarr")
    if step == "predict":
        s5.ingest(url, store, layers=range(18), progress=False, pyramid=False)
        model = model_of("stand-in")
    clock = Clock()
    for name, targets in STEPS.items():
        for target in targets:
            clock.wrap(target, name)
    started, processor = time.perf_counter(), time.process_time()
    if step == "ingest":
        s5.ingest(url, store, progress=False)
    elif step == "title":
        box = [4630, 7730, 13_200, 19_300]
        ingest_cases.crop(url, store, layers=list(range(3, 21)), box=box, budget="600 MiB")
    elif step == "split":
        ingest_cases.tree(url, str(folder / "tree"))
    else:
        volume = s5.open_volume(store)
        ink = s5.predict_ink(
            s5.contrast(volume), model, windows=[0], tta=0, mask=s5.papyrus_mask(volume)
        )
        s5.write_run(ink, folder / "run", progress=False)
    clock.report(time.perf_counter() - started, time.process_time() - processor)


if __name__ == "__main__":
    main()
