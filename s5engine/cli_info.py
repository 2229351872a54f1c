"""What `s5 info` says of a volume or a run, as lines of a name and a value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from s5engine.foreign import structured

Line = tuple[str, Any]


def volume_lines(volume: str) -> Iterator[Line]:
    """Yield what a volume is."""
    import s5engine as s5
    from s5engine.budget import format_bytes

    levels = s5.open_pyramid(volume)
    opened = levels[0]
    kind = str(opened.dims[0])
    depths = opened[kind].values
    yield "segment", opened.attrs.get("segment")
    yield "source", opened.attrs.get("source")
    yield f"{kind}s", f"{len(depths)}: {depths[0]}…{depths[-1]}"
    for side in ("y", "x"):
        places = opened[side].values
        yield side, f"{int(places[0])}…{int(places[-1])} ({len(places)} px)"
    yield "pixels", f"{opened.dtype}, {format_bytes(opened.nbytes)}"
    yield "blocks", f"{opened.data.npartitions} of {opened.data.chunksize}"
    yield "pyramid", _levels(levels)
    yield "contrast", structured(opened.attrs.get("contrast")) or "none"
    if kind == "layer":
        yield "parts", ", ".join(str(n) for n in s5.parts(opened))


def run_lines(folder: str) -> Iterator[Line]:
    """Yield what a run is: from what, how, and how long it took."""
    import s5engine as s5
    from s5engine.budget import format_bytes

    run = s5.open_run(folder, partial=True)
    settings = run.record.get("settings", {})
    yield "run", run.directory
    yield "state", "finished" if run.completed else f"unfinished: blocks done {run.blocks_done}"
    names = {
        "segment": "segment",
        "source": "source",
        "checkpoint": "network",
        "device": "device",
        "precision": "precision",
    }
    for name, shown in names.items():
        if settings.get(name):
            yield shown, settings[name]
    yield "windows", ", ".join(str(n) for n in settings.get("written_windows", ()))
    y0, y1, x0, x1 = settings["written_box"]
    yield "y", f"{y0}…{y1 - 1} ({y1 - y0} px)"
    yield "x", f"{x0}…{x1 - 1} ({x1 - x0} px)"
    told = ("stride", "tta", "taper", "edge", "batch", "dtype")
    yield "settings", ", ".join(f"{k} {settings[k]}" for k in told if k in settings)
    if (run.directory / "ink.zarr" / "ink").exists():
        yield "pyramid", _levels(s5.open_pyramid(run.directory))
    times = run.record.get("times", {})
    if times:
        yield "times", ", ".join(f"{k.removesuffix('_s')} {v:g} s" for k, v in times.items())
        yield "finished", run.record.get("finished")
        yield "memory", f"peak {format_bytes(run.record['peak_rss_bytes'])}"


def _levels(levels: list[Any]) -> str:
    """Return the reductions of the coarser levels."""
    coarser = ", ".join(f"1:{level.attrs['reduction']}" for level in levels[1:])
    return coarser or "none"
