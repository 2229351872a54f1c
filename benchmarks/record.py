"""The parts of a result: cases with their spread, ratios with the bars they are held to."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from benchmarks.common import Measured

MIB = 2**20


def spread(values: Sequence[float], digits: int = 3) -> dict[str, Any]:
    """Return every value, the median and the range."""
    each = [round(float(value), digits) for value in values]
    return {
        "each": each,
        # Of two whole numbers it may lie between them.
        "median": round(statistics.median(each), digits + 1),
        "range": [min(each), max(each)],
    }


def case(
    name: str,
    runs: Sequence[Measured],
    *,
    bytes_sent: int | None = None,
    work: tuple[float, str] | None = None,
    figures: Mapping[str, Any] | None = None,
    series: bool = True,
    **parameters: Any,
) -> dict[str, Any]:
    """Return one case of a result.

    Parameters
    ----------
    name : str
        Of the way.
    runs : sequence of Measured
        One of each round.
    bytes_sent : int, optional
        That went over the wire in a run.
    work : (amount, unit), optional
        What a run does, for rates: ``(1736, "MB of pixels")``.
    figures : mapping, optional
        Anything else.
    series : bool
        Keep the memory over time.
    **parameters
        What tells this case from others of its name.
    """
    found: dict[str, Any] = {
        "name": name,
        "parameters": parameters,
        "seconds": spread([run.seconds for run in runs]),
        "cpu_seconds": spread([run.cpu_seconds for run in runs], 2),
        "peak_mib": spread([run.peak_bytes / MIB for run in runs], 0),
    }
    if bytes_sent is not None:
        found["bytes_sent"] = bytes_sent
    if work is not None:
        found["work"] = {"amount": work[0], "unit": work[1]}
    if figures:
        found["figures"] = dict(figures)
    if series and runs[-1].memory.get("mib"):
        found["memory"] = runs[-1].memory
    return found


def ratio(
    name: str,
    above: Sequence[float],
    below: Sequence[float],
    *,
    of: str = "seconds",
    bar: tuple[Literal[">=", "<="], float] | None = None,
    missing: str | None = None,
    extended: str | None = None,
    **parameters: Any,
) -> dict[str, Any]:
    """Return ``above ÷ below``, of each pair of neighbouring runs and the median.

    Parameters
    ----------
    name : str
        ``"2025 ÷ store"``.
    above, below : sequence of float
        One value of each round.
    of : str
        What is divided.
    bar : (">=" or "<=", value), optional
        What it is held to.
    missing : str, optional
        Why it is not better.
    extended : str, optional
        If it rests on figures that were not measured: how they were extended.
    **parameters
        What tells this ratio from others of its name.
    """
    found: dict[str, Any] = {"name": name, "of": of, "parameters": parameters}
    found |= spread([a / b for a, b in zip(above, below, strict=True)])
    if bar is not None:
        sense, value = bar
        met = found["median"] >= value if sense == ">=" else found["median"] <= value
        found |= {"bar": {"sense": sense, "value": value}, "met": met}
    if missing:
        found["missing"] = missing
    if extended:
        found["extended"] = extended
    return found


def seconds(runs: Sequence[Measured]) -> list[float]:
    """Return the wall clock of each run."""
    return [run.seconds for run in runs]


def peaks(runs: Sequence[Measured]) -> list[float]:
    """Return the peak memory of each run, bytes."""
    return [float(run.peak_bytes) for run in runs]


def by_turns(names: Sequence[str], number: int) -> list[str]:
    """Return the order of a round's ways: turned in every other round."""
    return list(names) if number % 2 == 0 else list(reversed(names))
