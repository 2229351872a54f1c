"""A case in a fresh process, its time and memory; results as JSON with machine and versions."""

from __future__ import annotations

import importlib
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).resolve().parent / "results"
PACKAGES = ("s5engine", "numpy", "tifffile", "imagecodecs", "zarr", "dask", "xarray", "aiohttp")


@dataclass(frozen=True)
class Measured:
    """What one case took.

    Attributes
    ----------
    seconds, cpu_seconds : float
        Wall clock and processor time (all threads) of the call, imports of what it uses included.
    peak_bytes : int
        Largest resident memory of the whole process.
    result : JSON value
        What the function returned.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    result: Any


class CaseError(RuntimeError):
    """A case ended with an error; its output is above."""


def run_case(target: str, timeout: float | None = None, **arguments: Any) -> Measured:
    """Call ``module:function`` with JSON arguments in a fresh process.

    Raises
    ------
    CaseError
        If the process fails.
    """
    os.sync()  # what an earlier case wrote must not be written back at this one's cost
    with tempfile.TemporaryDirectory(prefix="s5-case-") as folder:
        report = Path(folder) / "report.json"
        process = subprocess.run(
            [sys.executable, "-m", "benchmarks.common", target, str(report)],
            input=json.dumps(arguments),
            text=True,
            cwd=ROOT,
            timeout=timeout,
            check=False,
        )
        if process.returncode or not report.exists():
            raise CaseError(f"{target} ended with status {process.returncode}")
        return Measured(**json.loads(report.read_text()))


def _child(target: str, report: str) -> None:
    """Do what `run_case` asks for: the fresh process's part."""
    arguments = json.load(sys.stdin)
    module, _, name = target.partition(":")
    function = getattr(importlib.import_module(module), name)
    start, cpu_start = time.perf_counter(), time.process_time()
    result = function(**arguments)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    measured = Measured(seconds, cpu_seconds, peak_bytes(), result)
    Path(report).write_text(json.dumps(vars(measured)))


def peak_bytes() -> int:
    """Return the largest resident memory that this process has had.

    On Linux the high-water mark of the address space: ``ru_maxrss`` is the same, but for a process
    that was started from a larger one it begins at the size of that.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def summary(runs: Sequence[Measured]) -> dict[str, Any]:
    """Return every run's figures, their median and spread."""
    seconds = [round(run.seconds, 2) for run in runs]
    return {
        "seconds": seconds,
        "seconds_median": statistics.median(seconds),
        "seconds_range": [min(seconds), max(seconds)],
        "cpu_seconds": [round(run.cpu_seconds, 2) for run in runs],
        "peak_mib": [round(run.peak_bytes / 2**20) for run in runs],
    }


def ratio(slow: Sequence[Measured], fast: Sequence[Measured]) -> dict[str, Any]:
    """Return how many times faster ``fast`` was: of each pair of neighbouring runs, and median."""
    values = [round(a.seconds / b.seconds, 2) for a, b in zip(slow, fast, strict=True)]
    return {"each": values, "median": statistics.median(values)}


def machine() -> dict[str, Any]:
    """Return what the figures depend on, without names of the machine or its users."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Return the versions of what was measured, as far as it is installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = getattr(importlib.import_module(name), "__version__", "unknown")
    return found


def write_result(name: str, body: Mapping[str, Any], folder: Path = RESULTS) -> Path:
    """Write ``<name>.json`` with date, machine and versions."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    head = {
        "benchmark": name,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "versions": versions(),
    }
    path.write_text(json.dumps({**head, **body}, indent=1, ensure_ascii=False) + "\n")
    return path


if __name__ == "__main__":
    _child(*sys.argv[1:])
