"""What holds for all tests."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from hypothesis import settings

# Time is never asserted: a busy machine must not fail a test.
settings.register_profile("s5engine", deadline=None)
settings.load_profile("s5engine")


def _let_numpy_read_expressions() -> None:
    """Give dask's arrays of expressions what numpy asks of an array, as its others have it.

    dask 2026.8 lacks it there (``DASK_ARRAY__QUERY_PLANNING=True``): ``.values`` of lazy xarray
    then computes element after element. The package itself calls ``compute``.
    """
    import dask.array as da

    kind: Any = type(da.zeros(1))
    if not hasattr(kind, "__array__"):
        kind.__array__ = lambda self, dtype=None, copy=None: np.asarray(self.compute(), dtype)


if os.environ.get("DASK_ARRAY__QUERY_PLANNING"):
    _let_numpy_read_expressions()
