"""Where dask works: threads of this process, processes of this machine, or any scheduler."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s5engine.budget import resolve_budget
from s5engine.console import say
from s5engine.errors import InvalidArgumentError, SchedulerError
from s5engine.local_workers import (
    LOCALHOST,
    QUIET,
    WorkerSpec,
    kill_workers,
    nanny_options,
    worker_specs,
    worker_variables,
)
from s5engine.runtime.clients import needed_resources

if TYPE_CHECKING:
    from distributed import Client

#: Seconds to wait for a scheduler to answer.
_PATIENCE = 8
#: Where dashboards are by custom; another port is taken where it is not free.
_DASHBOARD_PORT = 8787
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
    for a device have it), networks on CUDA run on these alone: in `write_run`, and in a bare
    ``ink.compute()`` or ``.persist()`` of ink that was made inside the ``with``. With a client of
    your own only `write_run` sees to it: dask forgets what tasks ask for when it fuses them.
    ``s5.cluster(client.scheduler.address)`` around making and computing it helps there too.
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

    asked = {"distributed.scheduler.worker-saturation": _SATURATION, **worker_variables()}
    with dask.config.set(asked):
        served = f"{LOCALHOST}:{_free_port(_DASHBOARD_PORT) if dashboard else 0}"
        options = {
            "host": LOCALHOST,
            "port": 0,
            "dashboard": dashboard,
            "dashboard_address": served,
        }
        made = SpecCluster(
            workers={n: {"cls": Nanny, "options": nanny_options(s)} for n, s in enumerate(specs)},
            scheduler={"cls": Scheduler, "options": options},
            silence_logs=QUIET,
        )
        with made, Client(made) as client:
            client.wait_for_workers(len(specs))
            try:
                with _pinning(client):
                    yield _announced(client, dashboard)
            except BaseException:
                # Ctrl-C among them. Else the end would wait for blocks that nobody wants any more;
                # what they had written by halves is not in a journal.
                kill_workers(made.workers.values())
                raise


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
    """Return a context in which dask keeps what tasks ask of workers, where some have a GPU.

    It forgets that when it fuses tasks.
    """
    import dask

    if not needed_resources(client, "cuda"):
        return nullcontext()
    kept: AbstractContextManager[Any] = dask.config.set({"optimization.fuse.active": False})
    return kept


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


def _free_port(wanted: int) -> int:
    """Return the wanted port if nobody listens there, else 0: any that is free."""
    with socket.socket() as probe:
        return 0 if probe.connect_ex((LOCALHOST, wanted)) == 0 else wanted
