"""Run benchmarks and leave one result each.

    python -m benchmarks.suite [NAME ...] [--size bench|full|tiny] [--rounds N] [--results FOLDER]

``make bench`` runs all of them.
"""

from __future__ import annotations

import argparse
import importlib
import time
from pathlib import Path
from typing import Any

from benchmarks.common import RESULTS, write_result

#: In the order in which they run.
NAMES = (
    "ingest", "limit_ingest", "ingest_crop", "ingest_memory", "title", "inference", "tiles",
    "sliding_window", "tiff_store", "store", "limits", "overhead", "backend", "scaling",
    "true_scale", "graph", "memory", "view",
)  # fmt: skip

#: Only when it is asked for: it trains for half an hour.
LONG = ("relabelling",)
KNOWN = (*NAMES, *LONG)


def run(
    name: str,
    size: str = "bench",
    *,
    folder: Path = RESULTS,
    root: Path | None = None,
    **changed: Any,
) -> Path:
    """Run one benchmark at a size; return where its result is.

    Parameters
    ----------
    name : str
        In `KNOWN`.
    size : {"bench", "full", "tiny"}
        That of ``make bench``; where there is one, the larger one of the published result; or one
        that takes no time and whose figures mean nothing.
    folder : Path
        Where the result goes.
    root : Path, optional
        Where temporary files go.
    **changed
        Settings other than those of the size.
    """
    module = importlib.import_module(f"benchmarks.bench_{name}")
    settings = dict(getattr(module, size.upper(), module.BENCH))
    # Those that it does not have (some run once) are none of its settings.
    settings |= {key: value for key, value in changed.items() if key in settings}
    return write_result(name, module.measure(root, **settings), folder)


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(KNOWN)}")
    parser.add_argument("--size", choices=["bench", "full", "tiny"], default="bench")
    parser.add_argument("--rounds", type=int, help="how often each case runs")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--scratch", type=Path, help="a folder on a disk with 20 GB of room")
    asked = parser.parse_args()
    unknown = set(asked.names) - set(KNOWN)
    if unknown:
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; of {', '.join(KNOWN)}")
    changed = {} if asked.rounds is None else {"rounds": asked.rounds}
    for name in asked.names or NAMES:
        started = time.monotonic()
        path = run(name, asked.size, folder=asked.results, root=asked.scratch, **changed)
        print(f"{name}: {time.monotonic() - started:.0f} s → {path}", flush=True)


if __name__ == "__main__":
    main()
