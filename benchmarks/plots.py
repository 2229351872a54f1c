"""Plots of one result: memory over time, throughput, and how cost grows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

#: More lines than this cannot be told apart.
MOST = 8


def draw(result: dict[str, Any], folder: Path) -> list[Path]:
    """Draw what the result has; return the pictures."""
    made = []
    timed = [one for one in result["cases"] if len(one.get("memory", {}).get("mib", [])) > 3]
    if timed:
        made.append(_picture(folder / f"{result['benchmark']}-memory.png", 1, _memory, timed))
    rated = [one for one in result["cases"] if "work" in one and "extended" not in one]
    if len(rated) > 1:
        made.append(
            _picture(folder / f"{result['benchmark']}-throughput.png", 1, _throughput, rated)
        )
    for number, curve in enumerate(result.get("curves", [])):
        end = "" if not number else f"-{number + 1}"
        path = folder / f"{result['benchmark']}-scaling{end}.png"
        made.append(_picture(path, 2, _scaling, result["cases"], curve))
    return made


def _picture(path: Path, wide: int, paint: Any, *what: Any) -> Path:
    """Save one picture with so many panels side by side."""
    figure, axes = plt.subplots(1, wide, figsize=(7.5 if wide == 1 else 10, 4), squeeze=False)
    paint(list(axes[0]), *what)
    figure.tight_layout()
    figure.savefig(path, dpi=90, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)
    return path


def _memory(axes: list[Axes], cases: Sequence[dict[str, Any]]) -> None:
    """Draw the memory of the longest cases over time."""
    longest = sorted(cases, key=lambda one: -one["memory"]["seconds"][-1])[:MOST]
    for one in longest:
        axes[0].plot(one["memory"]["seconds"], one["memory"]["mib"], label=_name(one), lw=1.3)
    axes[0].set(xlabel="seconds", ylabel="resident memory of the process tree, MiB")
    axes[0].set_ylim(bottom=0)
    spans = [one["memory"]["seconds"][-1] for one in longest]
    if max(spans) > 20 * max(min(spans), 0.01):
        axes[0].set_xscale("symlog", linthresh=1)
    axes[0].set_xlim(left=0)
    axes[0].legend(fontsize=7)
    axes[0].grid(alpha=0.3)


def _throughput(axes: list[Axes], cases: Sequence[dict[str, Any]]) -> None:
    """Draw each case's rate as a bar, with the range of its runs."""
    unit = cases[0]["work"]["unit"]
    shown = [one for one in cases if one["work"]["unit"] == unit and one["seconds"]["median"]]
    rates = [one["work"]["amount"] / one["seconds"]["median"] for one in shown]
    spans = [
        [
            rate - one["work"]["amount"] / max(one["seconds"]["range"][1], 1e-9),
            one["work"]["amount"] / max(one["seconds"]["range"][0], 1e-9) - rate,
        ]
        for one, rate in zip(shown, rates, strict=True)
    ]
    names = [_name(one) for one in shown]
    kinds = sorted({one["name"] for one in shown})
    colours = [f"C{kinds.index(one['name']) % 10}" for one in shown]
    errors = [[max(low, 0) for low, _ in spans], [max(high, 0) for _, high in spans]]
    axes[0].barh(range(len(shown)), rates, xerr=errors, color=colours, height=0.7)
    axes[0].set_yticks(range(len(shown)), names, fontsize=7)
    axes[0].invert_yaxis()
    axes[0].set_xlabel(f"{unit} per second")
    if max(rates) > 30 * min(rates):
        axes[0].set_xscale("log")
    axes[0].grid(axis="x", alpha=0.3)


def _scaling(axes: list[Axes], cases: Sequence[dict[str, Any]], curve: dict[str, Any]) -> None:
    """Draw seconds and peak memory over one parameter."""
    for name in curve["cases"]:
        rows = [one for one in cases if one["name"] == name and curve["over"] in one["parameters"]]
        lines: dict[str, list[dict[str, Any]]] = {}
        for one in rows:
            rest = {k: v for k, v in one["parameters"].items() if k != curve["over"]}
            lines.setdefault(", ".join([name, *(f"{k} {v}" for k, v in rest.items())]), []).append(
                one
            )
        for label, points in lines.items():
            at = [one["parameters"][curve["over"]] for one in points]
            for panel, key in zip(axes, ("seconds", "peak_mib"), strict=True):
                if all(key in one for one in points):
                    panel.plot(
                        at, [one[key]["median"] for one in points], "o-", label=label, lw=1.3
                    )
    for panel, what in zip(axes, ("seconds", "peak memory, MiB"), strict=True):
        panel.set(xlabel=curve["label"], ylabel=what)
        if curve.get("log"):
            panel.set(xscale="log", yscale="log")
        else:
            panel.set_ylim(0, 1.1 * panel.dataLim.y1)
            panel.set_xlim(left=0)
        panel.grid(alpha=0.3)
    axes[0].legend(fontsize=7)


def _name(one: dict[str, Any]) -> str:
    inside = ", ".join(f"{name} {value}" for name, value in one["parameters"].items())
    return one["name"] + (f" [{inside}]" if inside else "")
