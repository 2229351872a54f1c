"""Layer files over HTTP → contrasted parts: the 2025 way, a store, and the 2025 tree cut anew."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.common import Measured, run_case
from benchmarks.record import by_turns, case, peaks, ratio, seconds
from benchmarks.scratch import scratch
from benchmarks.served import ServedSegment

TITLE = "Ingest: from layer files to contrasted parts, against the 2025 way"
BENCH: dict[str, Any] = {
    "layers": 21,
    "part_width": 10_000,
    "rounds": 1,
    "held_rounds": 1,
    "sizes": [[128, 1], [128, 3], [128, 6], [128, 12], [512, 6]],
    "codecs": ["none"],
    "also_lzw": [],
}
FULL: dict[str, Any] = {
    **BENCH,
    "sizes": [[128, 1], [128, 3], [128, 6], [128, 12], [1378, 6]],
    "also_lzw": [[128, 6]],
    "held_rounds": 3,
}
TINY: dict[str, Any] = {
    "layers": 12,
    "part_width": 250,
    "rounds": 2,
    "held_rounds": 1,
    "sizes": [[60, 1], [60, 3]],
    "codecs": ["none"],
    "also_lzw": [[60, 3]],
}
CASES = "benchmarks.ingest_cases"
#: Least gain over the 2025 way at six parts, of the way that does what 2025 did: no pyramid.
BAR, HELD = 6.0, "level 0"
ONE_PART = "of one part both decode all once, and the engine has more to import"


def one_round(
    segment: ServedSegment, root: Path | None, width: int, seed: int, codecs: Sequence[str]
) -> tuple[dict[str, Measured], dict[str, int]]:
    """Run every way once, check that their pixels are equal, return times and bytes sent.

    The order turns with every round, so that no way is always the first.
    """
    with scratch(root) as folder:
        ways: dict[str, tuple[str, dict[str, Any]]] = {
            f"2025-{codec}": (
                "benchmarks.baseline:run",
                {"folder": str(folder / f"2025-{codec}"), "codec": codec},
            )
            for codec in codecs
        }
        ways["store"] = (f"{CASES}:store", {"store": str(folder / "store.zarr")})
        ways["level 0"] = (
            f"{CASES}:store",
            {"store": str(folder / "level0.zarr"), "pyramid": False},
        )
        ways["tree"] = (f"{CASES}:tree", {"folder": str(folder / "tree")})
        runs, sent = {}, {}
        for name in by_turns(list(ways), seed):
            target, arguments = ways[name]
            segment.reset()
            runs[name] = run_case(target, url=segment.url, width=width, **arguments)
            sent[name] = segment.bytes_sent()
        for codec in codecs:
            run_case(
                f"{CASES}:check_equal",
                baseline=str(folder / f"2025-{codec}"),
                store=str(folder / "store.zarr"),
                tree=str(folder / "tree"),
                width=width,
                seed=seed,
            )
    return runs, sent


def measure(
    root: Path | None,
    *,
    layers: int,
    part_width: int,
    sizes: list[list[int]],
    rounds: int,
    held_rounds: int,
    codecs: list[str],
    also_lzw: list[list[int]],
) -> dict[str, Any]:
    """Measure all ways at every size ``[rows, parts]``, in turns; the last is held to the bar."""
    with ServedSegment(60, 2 * part_width, layers) as small:
        one_round(small, root, part_width, 0, codecs)  # the warm-up
    cases, ratios = [], []
    for rows, parts in sizes:
        chosen = [*codecs, *(["lzw"] if [rows, parts] in also_lzw else [])]
        measured: list[dict[str, Measured]] = []
        with ServedSegment(rows, parts * part_width, layers) as segment:
            for seed in range(held_rounds if [rows, parts] == sizes[-1] else rounds):
                runs, sent = one_round(segment, root, part_width, seed, chosen)
                measured.append(runs)
        columns = {name: [runs[name] for runs in measured] for name in measured[0]}
        work = (layers * rows * parts * part_width / 1e6, "MB of pixels")
        where = {"rows": rows, "parts": parts}
        cases += [
            case(name, runs, bytes_sent=sent[name], work=work, **where)
            for name, runs in columns.items()
        ]
        ratios += _ratios(columns, chosen, where, held=[rows, parts] == sizes[-1])
    return {
        "title": TITLE,
        "settings": {"layers": layers, "part_width": part_width, "windows_compared": 24},
        "cases": cases,
        "ratios": ratios,
        "curves": [{"over": "parts", "label": "parts", "cases": [*columns]}],
    }


def _ratios(
    columns: dict[str, list[Measured]], codecs: list[str], where: dict[str, int], held: bool
) -> list[dict[str, Any]]:
    """Return how many times faster both ways are; the last size is held to the bar."""
    found = []
    for way in ("store", "level 0", "tree"):
        for codec in codecs:
            old, new = columns[f"2025-{codec}"], columns[way]
            bar: dict[str, Any] = (
                {"bar": (">=", BAR)} if held and codec == "none" and way == HELD else {}
            )
            name = f"2025-{codec} ÷ {way}"
            more = bar | ({"missing": ONE_PART} if where["parts"] == 1 else {})
            found.append(ratio(name, seconds(old), seconds(new), **more, **where))
    found.append(
        ratio(
            "2025-none ÷ store",
            peaks(columns["2025-none"]),
            peaks(columns["store"]),
            of="peak memory",
            missing="with its default budget the engine takes what the machine "
            "allows; see the benchmark of memory",
            **where,
        )
    )
    return found
