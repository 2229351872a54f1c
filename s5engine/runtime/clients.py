"""Where work is done now: the current dask client and its workers, or threads of this process."""

from __future__ import annotations

import os
import sys
from typing import Any

from s5engine.budget import format_bytes
from s5engine.errors import BudgetError


def current_client() -> Any:
    """Return the distributed client that dask would use now, or None."""
    if "distributed" not in sys.modules:
        return None
    from distributed import get_client

    try:
        return get_client()
    except ValueError:
        return None


def asked_threads() -> int | None:
    """Return how many threads dask is to use in this process; None if that was not said."""
    import dask

    asked = dask.config.get("num_workers", None)
    return None if asked is None else int(asked)


def share_error(error: BudgetError, workers: int, share: int) -> BudgetError:
    """Return the refusal of what does not fit into a worker's share of the budget."""
    return BudgetError(
        f"Each of {workers} workers has {format_bytes(share)} of the budget. {error.what}",
        f"{error.fix.removesuffix('.')} for each of them, or use fewer workers.",
    )


def threads_here() -> int:
    """Return how many things dask would work on at the same time in this process."""
    import dask

    if dask.config.get("scheduler", None) in ("synchronous", "sync", "single-threaded"):
        return 1
    return asked_threads() or os.cpu_count() or 1


#: Of a device, for each task: one runs there, and the next one is at hand when it ends.
_SHARE_OF_GPU = 0.5


def needed_resources(client: Any, device: str | None) -> dict[str, float]:
    """Return what a task that runs the network asks of a worker; nothing where none has it.

    Parameters
    ----------
    client : distributed.Client or None
    device : str or None
        Such as ``"cuda:0"``.
    """
    if client is None or not str(device).startswith("cuda"):
        return {}
    known = client.scheduler_info(n_workers=-1)["workers"].values()
    there = any(worker["resources"].get("GPU") for worker in known)
    return {"GPU": _SHARE_OF_GPU} if there else {}
