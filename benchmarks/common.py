"""A case in a fresh process, its time and memory; results as JSON with machine and versions."""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.memory_watch import TreeWatch, thin

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).resolve().parent / "results"
SCHEMA = Path(__file__).resolve().parent / "schema.json"
PACKAGES = (
    "s5engine",
    "numpy",
    "tifffile",
    "imagecodecs",
    "zarr",
    "tensorstore",
    "dask",
    "xarray",
    "aiohttp",
    "torch",
    "monai",
)


@dataclass(frozen=True)
class Measured:
    """What one case took.

    Attributes
    ----------
    seconds, cpu_seconds : float
        Wall clock and processor time (all threads, ended children) of the call, imports of what it
        uses included.
    peak_bytes : int
        Largest resident memory of the process and all that it started.
    result : JSON value
        What the function returned.
    memory : dict
        That memory over time: ``seconds`` since the clock started, ``mib``.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    result: Any
    memory: dict[str, list[float]] = field(default_factory=dict)


class CaseError(RuntimeError):
    """A case ended with an error; its output is above."""


def run_case(
    target: str,
    timeout: float | None = None,
    environment: Mapping[str, str] | None = None,
    **arguments: Any,
) -> Measured:
    """Call ``module:function`` with JSON arguments in a fresh process.

    ``environment`` has variables that it gets beside those of this process.

    If the function is a generator, what it does before its first ``yield`` is preparation, and the
    clock starts there.

    Raises
    ------
    CaseError
        If the process fails.
    """
    if _here:
        return _measure(target, arguments)
    os.sync()  # what an earlier case wrote must not be written back at this one's cost
    with tempfile.TemporaryDirectory(prefix="s5-case-") as folder:
        report = Path(folder) / "report.json"
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.common", target, str(report)],
            stdin=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
        )
        with TreeWatch(process.pid) as watch:
            try:
                process.communicate(json.dumps(arguments), timeout=timeout)
            finally:
                process.kill()
                process.wait()
        if process.returncode or not report.exists():
            raise CaseError(f"{target} ended with status {process.returncode}")
        found = json.loads(report.read_text())
    started = found.pop("started")
    found["peak_bytes"] = max(found["peak_bytes"], watch.peak)
    return Measured(**found, memory=thin(watch.samples, started, found["seconds"]))


#: Whether cases run in this process, as tests of what they do want it.
_here: list[bool] = []


@contextmanager
def cases_here() -> Iterator[None]:
    """Run cases in this process: no waiting for imports, and no figures that mean anything."""
    _here.append(True)
    try:
        yield
    finally:
        _here.pop()


def _child(target: str, report: str) -> None:
    """Do what `run_case` asks for: the fresh process's part."""
    # The case's own module, not the copy that was started as a program.
    common = importlib.import_module("benchmarks.common")
    started: list[float] = []
    measured = common._measure(target, json.load(sys.stdin), started)
    found = {k: v for k, v in vars(measured).items() if k != "memory"}
    Path(report).write_text(json.dumps(found | {"started": started[0]}))


def _measure(
    target: str, arguments: dict[str, Any], started: list[float] | None = None
) -> Measured:
    """Call the function and look at the clocks; ``started`` gets the time of day."""
    module, _, name = target.partition(":")
    start, cpu_start, clock = time.perf_counter(), _cpu_seconds(), time.time()
    function = getattr(importlib.import_module(module), name)  # its imports count
    if inspect.isgeneratorfunction(function):
        prepared = function(**arguments)
        next(prepared)
        start, cpu_start, clock = time.perf_counter(), _cpu_seconds(), time.time()
        result = _finish(prepared)
    else:
        result = function(**arguments)
    if started is not None:
        started.append(clock)
    seconds, cpu_seconds = time.perf_counter() - start, _cpu_seconds() - cpu_start
    return Measured(seconds, cpu_seconds, peak_bytes(), result)


def _finish(prepared: Iterator[None]) -> Any:
    """Run what follows the first ``yield``; return what the generator returns."""
    try:
        next(prepared)
    except StopIteration as end:
        return end.value
    raise RuntimeError("a case yields once, after its preparation")


def _cpu_seconds() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


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


def current_bytes() -> int:
    """Return the resident memory of this process now."""
    import psutil

    return int(psutil.Process().memory_info().rss)


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
            continue
    return found


@functools.cache
def _validator() -> Any:
    import jsonschema

    return jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))


def check_result(body: Mapping[str, Any]) -> None:
    """Refuse what is not a result by the schema; the error names the place.

    Raises
    ------
    jsonschema.ValidationError
        If it is not.
    """
    _validator().validate(body)


def write_result(name: str, body: Mapping[str, Any], folder: Path = RESULTS) -> Path:
    """Write ``<name>.json`` with date, machine and versions; it must fit the schema."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    head = {
        "benchmark": name,
        "title": body["title"],
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "versions": versions(),
    }
    result = json.loads(json.dumps({**head, **body}))  # tuples as the lists that they will be
    check_result(result)
    path.write_text(lines(result))
    return path


def lines(result: Mapping[str, Any]) -> str:
    """Return JSON with one case, ratio or other part a line."""
    parts = []
    for name, value in result.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            text = "[\n  " + ",\n  ".join(_json(item) for item in value) + "\n ]"
        else:
            text = _json(value)
        parts.append(f" {_json(name)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


if __name__ == "__main__":
    _child(*sys.argv[1:])
