"""Where dask works: threads of this process, processes of this machine, or any scheduler."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s5engine.budget import current_rss, format_bytes, resolve_budget
from s5engine.console import say
from s5engine.errors import BudgetError, InvalidArgumentError, SchedulerError
from s5engine.infer.pinning import needed_resources, optimize_pinned
from s5engine.model.device_thread import run_on

if TYPE_CHECKING:
    from distributed import Client

#: Only this machine can reach what is started here.
LOCALHOST = "127.0.0.1"
#: Least memory of a worker process: Python, dask and torch take half of it.
LEAST_WORKER_BYTES = 600 * 2**20
#: Seconds to wait for a scheduler to answer.
_PATIENCE = 8
#: What dask sets glibc's threshold to for its workers, bytes.
_DASK_TRIMS_AT = "65536"
#: Where dashboards are by custom; another port is taken where it is not free.
_DASHBOARD_PORT = 8787
#: Only errors of dask's own are shown.
_QUIET = logging.ERROR
#: Root tasks that a worker is given beyond its threads: read as they are needed, not all at once.
_SATURATION = 1.1


@dataclass(frozen=True)
class Cluster:
    """Where dask works now.

    Attributes
    ----------
    client : distributed.Client or None
        None for threads of this process.
    dashboard : str or None
        Address of the dashboard.
    workers : int
        Processes.
    threads : int
        Threads of each; of the first where a scheduler's workers differ.
    """

    client: Client | None
    dashboard: str | None
    workers: int
    threads: int


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


@contextmanager
def cluster(
    address: str | None = None,
    *,
    budget: int | str | None = None,
    dashboard: bool = True,
    workers: int | None = None,
) -> Iterator[Cluster]:
    """Let all lazy work inside the ``with`` run there; results are the same to the bit.

    Parameters
    ----------
    address : str, optional
        ``"threads"`` (the default): threads of this process. ``"processes"``: worker processes on
        this machine, which nobody else can reach; with CUDA devices one for each device, which
        sees that one alone. Otherwise the address of a scheduler (``tcp://…``, ``tls://…``) or
        the path of a scheduler file.
    budget : int or str, optional
        Memory of all processes together, bytes or text such as ``"8 GiB"``; it sizes local worker
        processes. 60 % of what this process may use by default.
    dashboard : bool
        Serve dask's dashboard, on 127.0.0.1, for ``"processes"``.
    workers : int, optional
        Threads of ``"threads"``, processes of ``"processes"``; by default as many as there are
        processors, or one process.

    Yields
    ------
    Cluster

    Raises
    ------
    InvalidArgumentError
        If the address or the number of workers means nothing, or both are given for a scheduler.
    BudgetError
        If the worker processes do not fit the budget.
    SchedulerError
        If no scheduler answers at the address.

    Notes
    -----
    How many threads torch uses inside an operation changes the last bits of a real network's
    answers. Local worker processes are therefore given as many as this process would use; workers
    of another scheduler need the same ``OMP_NUM_THREADS`` for the same bits. On CUDA this has not
    been run yet.

    Where workers have the resource ``GPU`` when the ``with`` begins (those that are started here
    for a device have it), networks on CUDA run on these alone, in `write_run` and in a bare
    ``ink.compute()`` or ``.persist()``. With a client of your own only `write_run` sees to it: dask
    forgets what tasks ask for when it optimizes a graph. ``s5.cluster(client.scheduler.address)``
    around the computation helps there too.
    """
    _check(address, workers)
    if address is None or address == "threads":
        with _threads(workers) as found:
            yield found
    elif address == "processes":
        with _processes(worker_specs(workers, resolve_budget(budget)), dashboard) as found:
            yield found
    else:
        with _connected(address) as found:
            yield found


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


def _check(address: str | None, workers: int | None) -> None:
    known = address is None or address in ("threads", "processes")
    if not known and "://" not in str(address) and not Path(str(address)).is_file():
        raise InvalidArgumentError(
            f"{address!r} is no scheduler.",
            'Say "threads", "processes", an address such as "tcp://host:8786" or a scheduler file.',
        )
    if workers is not None and (not isinstance(workers, int) or workers < 1):
        raise InvalidArgumentError(f"workers is a whole number from 1, not {workers!r}.")
    if not known and workers is not None:
        raise InvalidArgumentError(
            f"The scheduler at {address} has its own workers; {workers} cannot be asked of it.",
            "Leave workers out.",
        )


@contextmanager
def _threads(workers: int | None) -> Iterator[Cluster]:
    import dask

    asked: dict[str, Any] = {"scheduler": "threads"}
    with dask.config.set(asked | ({"num_workers": workers} if workers else {})):
        yield Cluster(None, None, 1, workers or os.cpu_count() or 1)


@contextmanager
def _processes(specs: list[WorkerSpec], dashboard: bool) -> Iterator[Cluster]:
    import dask
    from distributed import Client, Nanny, Scheduler, SpecCluster

    # Set before a worker's interpreter starts: libraries read it when they are loaded.
    environment = "distributed.nanny.pre-spawn-environ"
    variables = {
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
    # What is set in this process goes first; there dask leaves its own value behind.
    if os.environ.get("MALLOC_TRIM_THRESHOLD_") == _DASK_TRIMS_AT:
        del os.environ["MALLOC_TRIM_THRESHOLD_"]
    asked = {"distributed.scheduler.worker-saturation": _SATURATION, **variables}
    with dask.config.set(asked):
        served = f"{LOCALHOST}:{_free_port(_DASHBOARD_PORT) if dashboard else 0}"
        options = {
            "host": LOCALHOST,
            "port": 0,
            "dashboard": dashboard,
            "dashboard_address": served,
        }
        made = SpecCluster(
            workers={n: {"cls": Nanny, "options": _nanny(s)} for n, s in enumerate(specs)},
            scheduler={"cls": Scheduler, "options": options},
            silence_logs=_QUIET,
        )
        with made, Client(made) as client:
            client.wait_for_workers(len(specs))
            try:
                with _pinning(client):
                    yield _announced(client, dashboard)
            except BaseException:
                # Ctrl-C among them. Else the end would wait for blocks that nobody wants any more;
                # what they had written by halves is not in a journal.
                _kill(made.workers.values())
                raise


def _kill(nannies: Iterable[Any]) -> None:
    """End worker processes at once, and for good."""
    for nanny in nannies:
        nanny.auto_restart = False
        if nanny.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(nanny.pid, signal.SIGKILL)


def _nanny(spec: WorkerSpec) -> dict[str, Any]:
    """Return the options of the process that starts a worker and starts it again if it dies."""
    return {
        "host": LOCALHOST,
        "nthreads": spec.threads,
        "memory_limit": spec.memory_bytes,
        "dashboard": False,
        "silence_logs": _QUIET,
        "preload": [__name__],
        "resources": {"GPU": 1} if spec.gpu is not None else None,
        "env": {"CUDA_VISIBLE_DEVICES": spec.gpu} if spec.gpu is not None else None,
    }


def dask_setup(worker: object) -> None:
    """Leave Ctrl-C to the process that started the workers; dask calls this in each of them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _connected(address: str) -> Iterator[Cluster]:
    from distributed import Client

    try:
        where: dict[str, Any] = (
            {"address": address} if "://" in address else {"scheduler_file": address}
        )
        client = Client(**where, timeout=_PATIENCE)
    except (OSError, TimeoutError, ValueError) as error:
        raise SchedulerError(
            f"No dask scheduler answers at {address}: {error or type(error).__name__}.",
            "Start one with `dask scheduler`, and check the address and the network.",
        ) from error
    with client:
        found = _announced(client)
        with _pinning(client):
            yield found


def _pinning(client: Client) -> AbstractContextManager[Any]:
    """Return a context in which lazy ink runs its network on the workers with a GPU alone.

    Where there are such workers now: dask then optimizes arrays in a way that keeps what tasks ask
    for, however they are computed.
    """
    import dask

    resources = needed_resources(client, "cuda")
    if not resources:
        return nullcontext()
    how = functools.partial(optimize_pinned, resources=resources)
    pinning: AbstractContextManager[Any] = dask.config.set(array_optimize=how)
    return pinning


def _announced(client: Client, dashboard: bool = True) -> Cluster:
    """Say where the dashboard is and who works; return both."""
    known = list(client.scheduler_info(n_workers=-1)["workers"].values())
    if not known:
        raise SchedulerError(
            "The scheduler has no workers.", "Start some with `dask worker`, then try again."
        )
    services = client.scheduler_info()["services"]
    link = client.dashboard_link if dashboard and "dashboard" in services else None
    if link:
        say(f"dashboard: {link}")
    threads = int(known[0]["nthreads"])
    say(f"workers: {len(known)} with {threads} threads each")
    return Cluster(client, link, len(known), threads)


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


def _free_port(wanted: int) -> int:
    """Return the wanted port if nobody listens there, else 0: any that is free."""
    with socket.socket() as probe:
        return 0 if probe.connect_ex((LOCALHOST, wanted)) == 0 else wanted
