"""Run benchmarks and leave one result each.

    python -m benchmarks.suite [NAME ...] [--size bench|full|tiny] [--rounds N] [--results FOLDER]

``make bench`` runs all of them at their short size. What is published, in ``benchmarks/results/``,
was measured at the full size, and only that writes there; results of any other go to
``out/bench/results/``.
"""

from __future__ import annotations

import argparse
import importlib
import time
from pathlib import Path
from typing import Any

from benchmarks.common import RESULTS, ROOT, write_result

#: Where results go that are not for publishing.
SHORT_RESULTS = ROOT / "out" / "bench" / "results"
#: Seconds that ``make bench`` takes for each on two cores, alone on the machine.
EXPECTED = {
    "ingest": 100,
    "limit_ingest": 35,
    "ingest_crop": 30,
    "ingest_memory": 45,
    "title": 100,
    "inference": 85,
    "tiles": 35,
    "sliding_window": 60,
    "tiff_store": 25,
    "store": 35,
    "limits": 40,
    "overhead": 40,
    "backend": 60,
    "scaling": 80,
    "true_scale": 40,
    "graph": 25,
    "memory": 80,
    "view": 70,
}
#: In the order in which they run.
NAMES = tuple(EXPECTED)

#: Only when it is asked for: it trains for half an hour.
LONG = ("relabelling",)
KNOWN = (*NAMES, *LONG)


def run(
    name: str,
    size: str = "bench",
    *,
    folder: Path | None = None,
    root: Path | None = None,
    **changed: Any,
) -> Path:
    """Run one benchmark at a size; return where its result is.

    Parameters
    ----------
    name : str
        In `KNOWN`.
    size : {"bench", "full", "tiny"}
        That of ``make bench``; that of the published result, which is the same where there is only
        one; or one that takes no time and whose figures mean nothing.
    folder : Path, optional
        Where the result goes; by default among the published ones if the size is theirs.
    root : Path, optional
        Where temporary files go.
    **changed
        Settings other than those of the size.
    """
    module = importlib.import_module(f"benchmarks.bench_{name}")
    settings = dict(getattr(module, size.upper(), module.BENCH))
    # Those that it does not have (some run once) are none of its settings.
    settings |= {key: value for key, value in changed.items() if key in settings}
    only = size == "bench" and not hasattr(module, "FULL")
    body = {"size": "full" if only else size, **module.measure(root, **settings)}
    return write_result(name, body, folder or (RESULTS if size == "full" else SHORT_RESULTS))


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(KNOWN)}")
    parser.add_argument("--size", choices=["bench", "full", "tiny"], default="bench")
    parser.add_argument("--rounds", type=int, help="how often each case runs")
    parser.add_argument("--results", type=Path, help="a folder; see above for what it is else")
    parser.add_argument("--scratch", type=Path, help="a folder on a disk with 20 GB of room")
    asked = parser.parse_args()
    unknown = set(asked.names) - set(KNOWN)
    if unknown:
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; of {', '.join(KNOWN)}")
    changed = {} if asked.rounds is None else {"rounds": asked.rounds}
    names, begun = asked.names or NAMES, time.monotonic()
    for name in names:
        started = time.monotonic()
        path = run(name, asked.size, folder=asked.results, root=asked.scratch, **changed)
        about = f" (about {EXPECTED[name]})" if asked.size == "bench" and name in EXPECTED else ""
        print(f"{name}: {time.monotonic() - started:.0f} s{about} → {path}", flush=True)
    if len(names) > 1:
        minutes, seconds = divmod(round(time.monotonic() - begun), 60)
        print(f"all: {minutes} min {seconds:02d} s")


if __name__ == "__main__":
    main()
