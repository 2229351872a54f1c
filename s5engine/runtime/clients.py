"""Where work is done now: the current dask client and its workers, or threads of this process."""

from __future__ import annotations

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
