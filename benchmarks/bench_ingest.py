"""Layer files over HTTP → contrasted parts: the 2025 way (A), a store (B), the same tree (C).

``python -m benchmarks.bench_ingest`` takes about ten minutes on two cores; see README.md.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.common import Measured, ratio, run_case, summary, write_result
from benchmarks.served import ServedSegment

CASES = "benchmarks.ingest_cases"


@contextmanager
def scratch(root: Path | None) -> Iterator[Path]:
    """Make a folder that is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="s5-bench-", dir=root))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def one_round(
    segment: ServedSegment, root: Path | None, width: int, seed: int, codecs: list[str]
) -> tuple[dict[str, Measured], dict[str, int]]:
    """Run every way once, check that their pixels are equal, return times and bytes sent.

    The order turns with every round, so that no way is always the first.
    """
    with scratch(root) as folder:
        ways: dict[str, tuple[str, dict[str, Any]]] = {
            f"baseline-{codec}": (
                "benchmarks.baseline:run",
                {"folder": str(folder / f"baseline-{codec}"), "codec": codec},
            )
            for codec in codecs
        }
        ways["store"] = (f"{CASES}:store", {"store": str(folder / "store.zarr")})
        ways["tree"] = (f"{CASES}:tree", {"folder": str(folder / "tree")})
        names = list(ways) if seed % 2 == 0 else list(reversed(ways))
        runs, sent = {}, {}
        for name in names:
            target, arguments = ways[name]
            segment.reset()
            runs[name] = run_case(target, url=segment.url, width=width, **arguments)
            sent[name] = segment.bytes_sent()
        for codec in codecs:
            run_case(
                f"{CASES}:check_equal",
                baseline=str(folder / f"baseline-{codec}"),
                store=str(folder / "store.zarr"),
                tree=str(folder / "tree"),
                width=width,
                seed=seed,
            )
    return runs, sent


def measure_speed(
    size: tuple[int, int, int], part_width: int, rounds: int, root: Path | None, codecs: list[str]
) -> dict[str, Any]:
    """Return times, peaks and bytes of all ways, from interleaved rounds."""
    layers, rows, width = size
    with ServedSegment(min(rows, 128), min(width, 4000), layers) as small:
        one_round(small, root, max(1000, part_width // 10), 0, codecs)  # the warm-up
    measured: list[dict[str, Measured]] = []
    loads = []
    with ServedSegment(rows, width, layers) as segment:
        for seed in range(rounds):
            runs, sent = one_round(segment, root, part_width, seed, codecs)
            measured.append(runs)
            loads.append(round(os.getloadavg()[1], 1))
            print({name: round(run.seconds, 1) for name, run in runs.items()}, flush=True)
        file_bytes = segment.file_bytes
    columns = {name: [runs[name] for runs in measured] for name in measured[0]}
    return {
        "size": {"layers": layers, "rows": rows, "width": width, "part_width": part_width},
        "file_bytes": file_bytes,
        "windows_compared_per_round": 24,
        "load_average_after_round": loads,
        "ways": {n: {**summary(runs), "bytes_sent": sent[n]} for n, runs in columns.items()},
        "times_faster": {
            f"{way} than baseline-{codec}": ratio(columns[f"baseline-{codec}"], columns[way])
            for way in ("store", "tree")
            for codec in codecs
        },
    }


def measure_memory(
    size: tuple[int, int, int], root: Path | None, rows_ingested: int
) -> dict[str, Any]:
    """Return the peaks of baseline and store for layers of a size.

    The baseline's peak does not depend on the number of layers and parts, the store's not on the
    number of bands: it cuts one part of one layer, the engine ingests the first rows of all layers,
    with a quarter of the baseline's peak as its budget.
    """
    layers, rows, width = size
    with scratch(root) as folder:
        with ServedSegment(rows, width, 1) as single:
            old = run_case(
                "benchmarks.baseline:run", url=single.url, folder=str(folder / "a"), parts=1
            )
        budget = old.peak_bytes // 4
        box = [0, min(rows_ingested, rows), 0, width]
        with ServedSegment(rows, width, layers) as segment:
            new = run_case(
                f"{CASES}:store",
                url=segment.url,
                store=str(folder / "b"),
                box=box,
                budget=f"{budget >> 20} MiB",
            )
    return {
        "size": {"layers": layers, "rows": rows, "width": width},
        "rows_ingested": box[1],
        "budget": f"{budget >> 20} MiB",
        "baseline_peak_mib": round(old.peak_bytes / 2**20),
        "store_peak_mib": round(new.peak_bytes / 2**20),
        "store_over_baseline": round(new.peak_bytes / old.peak_bytes, 3),
    }


def measure_crop(
    size: tuple[int, int, int], columns: int, rounds: int, root: Path | None
) -> dict[str, Any]:
    """Compare a crop of the first columns with the full width: pixels decoded, time, bytes."""
    layers, rows, width = size
    boxes = {"crop": [0, rows, 0, columns], "full": [0, rows, 0, width]}
    with ServedSegment(rows, width, layers) as segment, scratch(root) as folder:
        decoded = {
            name: run_case(
                f"{CASES}:pixels_decoded", url=segment.url, store=str(folder / name), box=box
            ).result
            for name, box in boxes.items()
        }
        runs: dict[str, list[Measured]] = {name: [] for name in boxes}
        sent = {}
        for number in range(rounds):
            for name, box in boxes.items():
                segment.reset()
                place = str(folder / f"{name}{number}")
                runs[name].append(run_case(f"{CASES}:store", url=segment.url, store=place, box=box))
                sent[name] = segment.bytes_sent()
    return {
        "size": {"layers": layers, "rows": rows, "width": width, "columns": columns},
        "bytes_decoded": decoded,
        "bytes_wanted": {name: layers * rows * (box[3] - box[2]) for name, box in boxes.items()},
        "bytes_sent": sent,
        "runs": {name: summary(found) for name, found in runs.items()},
    }


def main() -> None:
    """Run all three parts and write the results."""
    arguments = parse()
    root: Path | None = arguments.scratch
    size = (arguments.layers, arguments.rows, arguments.width)
    part_width = -(-arguments.width // arguments.parts)
    found: dict[str, Any] = {}
    if "speed" in arguments.only:
        found["speed"] = measure_speed(size, part_width, arguments.rounds, root, arguments.codecs)
    if "crop" in arguments.only:
        found["crop"] = measure_crop(size, arguments.width // 10, arguments.rounds, root)
    if "memory" in arguments.only:
        sizes = [
            (arguments.layers, rows, 8 * arguments.width)
            for rows in (arguments.rows, 10 * arguments.rows)
        ]
        found["memory"] = {"cases": [measure_memory(one, root, rows_ingested=512) for one in sizes]}
    for name, body in found.items():
        print(write_result(f"{arguments.name}_{name}", body))


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=21)
    parser.add_argument("--rows", type=int, default=1378)
    parser.add_argument("--width", type=int, default=60_000)
    parser.add_argument("--parts", type=int, default=6, help="how many parts the width makes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--codecs", nargs="+", default=["lzw", "none"], help="of the baseline's")
    parser.add_argument("--only", nargs="+", default=["speed", "crop", "memory"])
    parser.add_argument("--scratch", type=Path, help="a folder on a disk with 10 GB of room")
    parser.add_argument(
        "--name", default="ingest", help="of the results, before _speed, _crop and _memory"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
