"""From results to a page of tables and plots, from the JSON files alone.

python -m benchmarks.report [RESULTS [FOLDER]]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.common import RESULTS, check_result
from benchmarks.plots import draw

PAGE = Path(__file__).resolve().parent / "report.md"
#: What ways of the engine are called in results.
OURS = ("engine", "store", "tree", "packed", "index")
HEAD = """# What was measured

Made by `make bench-report` from the files in `results/`; `README.md` says how it was measured. A
ratio is the median of pairs of neighbouring runs, with its range. Where a bar was set, it says
whether it was met.
"""


def report(results: Path = RESULTS, page: Path = PAGE) -> Path:
    """Write the page, and its plots to ``report/`` beside it; return the page."""
    found = read_results(results)
    folder = page.parent / "report"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.png"):
        old.unlink()
    parts = [HEAD, *_bars(found)]
    for result in found:
        parts += _section(result, draw(result, folder))
    page.write_text("\n".join(parts) + "\n")
    return page


def read_results(folder: Path) -> list[dict[str, Any]]:
    """Read every result, by name; each must fit the schema."""
    found = []
    for path in sorted(folder.glob("*.json")):
        result = json.loads(path.read_text())
        check_result(result)
        found.append(result)
    return found


def _bars(results: Sequence[dict[str, Any]]) -> list[str]:
    """Return the table of all ratios that are held to a bar, and that of the losses."""
    held, lost = [], []
    for result in results:
        # The bars are meant for the full size: what begins once counts for much at the short one.
        missed = "missed at the short size" if result.get("size") == "bench" else "**missed**"
        for one in result["ratios"]:
            row = [result["benchmark"], _named(one), one["of"], _ratio(one)]
            if "bar" in one:
                bar = f"{one['bar']['sense']} {one['bar']['value']:g}"
                held.append([*row, bar, "met" if one["met"] else missed])
            elif one["median"] < 1 and _of_ours(one["name"]):
                lost.append([*row, one.get("missing", "")])
    # Budgets are kept in dozens of cases, which their own table shows.
    few = [row for row in held if row[0] != "memory" or "missed" in row[-1]]
    parts = ["## Bars\n", _table(["benchmark", "ratio", "of", "measured", "bar", ""], few)]
    kept = sum(row[0] == "memory" and row[-1] == "met" for row in held)
    if kept:
        parts.append(f"And {kept} bars of `memory`, all met.\n")
    if lost:
        parts += [
            "## Where the engine loses\n",
            _table(["benchmark", "ratio", "of", "measured", "why"], lost),
        ]
    return parts


def _of_ours(name: str) -> bool:
    """Whether a ratio is another way's figure divided by the engine's, so that 1 is a draw."""
    other, _, own = name.partition(" ÷ ")
    return own in OURS and "limit" not in other


def _section(result: dict[str, Any], plots: Sequence[Path]) -> list[str]:
    """Return one benchmark's tables and plots."""
    machine = result["machine"]
    where = (
        "machine not recorded"
        if machine is None
        else f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB"
    )
    settings = ", ".join(f"{name} {value}" for name, value in result["settings"].items())
    size = " at the short size of `make bench`" if result.get("size") == "bench" else ""
    parts = [
        f"## {result['title']}\n",
        f"`{result['benchmark']}`{size}, {result['date']}; {where}; {settings}\n",
    ]
    rows = [_case(one) for one in result["cases"]]
    parts.append(
        _table(["case", "", "seconds", "processor s", "peak MiB", "MB sent", "rate"], rows)
    )
    figures = [
        [_named(one), ", ".join(f"{k} {_short(v)}" for k, v in one["figures"].items())]
        for one in result["cases"]
        if "figures" in one
    ]
    if figures:
        parts.append(_table(["case", "figures"], figures))
    if result["ratios"]:
        rows = [
            [_named(one), one["of"], _ratio(one), one.get("extended", one.get("missing", ""))]
            for one in result["ratios"]
        ]
        parts.append(
            _table(["ratio", "of", "median (range)", "why not better, or how extended"], rows)
        )
    parts += [f"{note}\n" for note in result.get("notes", [])]
    parts += [f"![{path.stem}](report/{path.name})\n" for path in plots]
    return parts


def _case(one: dict[str, Any]) -> list[str]:
    median = {
        name: one[name]["median"] for name in ("seconds", "cpu_seconds", "peak_mib") if name in one
    }
    rate = ""
    if "work" in one and median.get("seconds"):
        rate = f"{one['work']['amount'] / median['seconds']:.3g} {one['work']['unit']}/s"
    return [
        one["name"] + (" (extended)" if "extended" in one else ""),
        _parameters(one),
        _spread(one["seconds"]) if "seconds" in one else "",
        f"{median['cpu_seconds']:.2f}" if "cpu_seconds" in median else "",
        f"{median['peak_mib']:.0f}" if "peak_mib" in median else "",
        f"{one['bytes_sent'] / 1e6:.0f}" if "bytes_sent" in one else "",
        rate,
    ]


def _spread(values: dict[str, Any]) -> str:
    low, high = values["range"]
    return f"{values['median']:.3g}" + (f" ({low:.3g}–{high:.3g})" if low < high else "")


def _ratio(one: dict[str, Any]) -> str:
    return _spread(one) + (" (extended)" if "extended" in one else "")


def _named(one: dict[str, Any]) -> str:
    inside = _parameters(one)
    return one["name"] + (f" [{inside}]" if inside else "")


def _parameters(one: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in one["parameters"].items())


def _short(value: Any) -> str:
    if isinstance(value, dict) and "median" in value:
        return _spread(value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


if __name__ == "__main__":
    print(report(*map(Path, sys.argv[1:])))
