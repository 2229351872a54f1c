"""Worker processes of this machine: how many a budget allows, how they are started and ended."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s5engine.budget import current_rss, format_bytes
from s5engine.errors import BudgetError, InvalidArgumentError
from s5engine.model.device_thread import run_on

#: Only this machine can reach what is started here.
LOCALHOST = "127.0.0.1"
#: Least memory of a worker process: Python, dask and torch take half of it.
LEAST_WORKER_BYTES = 600 * 2**20
#: What dask sets glibc's threshold to for its workers, bytes.
_DASK_TRIMS_AT = "65536"
#: Only errors of dask's own are shown.
QUIET = logging.ERROR


@dataclass(frozen=True)
class WorkerSpec:
    """One worker process of a local cluster.

    Attributes
    ----------
    threads : int
    memory_bytes : int
        Of the budget; the worker pauses and spills near it.
    gpu : str or None
        The only CUDA device that it sees, named as CUDA_VISIBLE_DEVICES names it.
    """

    threads: int
    memory_bytes: int
    gpu: str | None = None


def worker_specs(
    workers: int | None,
    budget: int,
    *,
    base: int | None = None,
    cpus: int | None = None,
    gpus: int | None = None,
) -> list[WorkerSpec]:
    """Return the worker processes that a budget allows on this machine.

    Parameters
    ----------
    workers : int or None
        How many; None is one for each CUDA device, or one.
    budget : int
        Bytes of all processes together, this one included.
    base, cpus, gpus : int, optional
        What this process holds, processors and CUDA devices; found out by default.

    Raises
    ------
    BudgetError
        If a worker would have less than `LEAST_WORKER_BYTES`.
    InvalidArgumentError
        If there are fewer CUDA devices than workers.
    """
    base = current_rss() if base is None else base
    cpus = (os.cpu_count() or 1) if cpus is None else cpus
    gpus = _count_gpus() if gpus is None else gpus
    count = workers or max(gpus, 1)
    if gpus and count > gpus:
        raise InvalidArgumentError(
            f"{count} workers would share {gpus} CUDA devices; each device has one owner.",
            f"Ask for at most {gpus} workers.",
        )
    each = (budget - base) // count
    if each < LEAST_WORKER_BYTES:
        enough = -(-(base + count * LEAST_WORKER_BYTES) // 2**20) + 1
        raise BudgetError(
            f"{format_bytes(budget)} less {format_bytes(base)} of this process leave "
            f"{format_bytes(max(each, 0))} for each of {count} worker processes, and one needs "
            f"{format_bytes(LEAST_WORKER_BYTES)}.",
            f'Give a budget of at least "{enough} MiB", fewer workers, or use threads.',
        )
    threads = max(1, cpus // count)
    seen = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = seen.split(",") if seen else [str(n) for n in range(gpus)]
    return [WorkerSpec(threads, each, names[n] if gpus else None) for n in range(count)]


def worker_variables() -> dict[str, str]:
    """Return dask's settings of the environment that worker processes begin in.

    What an earlier cluster left in this process's own, which would go first, is taken away.
    """
    # Set before a worker's interpreter starts: libraries read it when they are loaded.
    environment = "distributed.nanny.pre-spawn-environ"
    variables: dict[str, str] = {
        f"{environment}.{name}": str(_torch_threads())
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
    }
    # Processes share the processors: threads that wait must not spin (measured: half the time).
    variables[f"{environment}.OMP_WAIT_POLICY"] = "PASSIVE"
    # dask sets the first for its workers, and glibc then gives every array from 128 KiB on back at
    # once: each batch of tiles was mapped anew, page by page (measured: 400,000 page faults instead
    # of 600, and a small network ten times as slow). These are where glibc ends by itself.
    variables[f"{environment}.MALLOC_TRIM_THRESHOLD_"] = str(64 * 2**20)
    variables[f"{environment}.MALLOC_MMAP_THRESHOLD_"] = str(32 * 2**20)
    # What `share_arena` does in this process.
    variables[f"{environment}.MALLOC_ARENA_MAX"] = "1"
    if os.environ.get("MALLOC_TRIM_THRESHOLD_") == _DASK_TRIMS_AT:
        del os.environ["MALLOC_TRIM_THRESHOLD_"]
    return variables


def kill_workers(nannies: Iterable[Any]) -> None:
    """End worker processes at once, and for good."""
    for nanny in nannies:
        nanny.auto_restart = False
        if nanny.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(nanny.pid, signal.SIGKILL)


def nanny_options(spec: WorkerSpec) -> dict[str, Any]:
    """Return the options of the process that starts a worker and starts it again if it dies."""
    return {
        "host": LOCALHOST,
        "nthreads": spec.threads,
        "memory_limit": spec.memory_bytes,
        "dashboard": False,
        "silence_logs": QUIET,
        "preload": [__name__],
        "resources": {"GPU": 1} if spec.gpu is not None else None,
        "env": {"CUDA_VISIBLE_DEVICES": spec.gpu} if spec.gpu is not None else None,
    }


def dask_setup(worker: object) -> None:
    """Leave Ctrl-C to the process that started the workers; dask calls this in each of them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _count_gpus() -> int:
    """Return the CUDA devices; without loading torch where there is no driver."""
    if not Path("/proc/driver/nvidia").exists():
        return 0
    import torch

    return torch.cuda.device_count()


def _torch_threads() -> int:
    """Return how many threads torch uses, or would use, where this process runs networks."""
    torch = sys.modules.get("torch")
    if torch is not None:  # each thread has a number of its own, the owner's is what counts
        return int(run_on("cpu", torch.get_num_threads))
    return int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1))
