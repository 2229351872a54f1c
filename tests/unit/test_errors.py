"""Errors keep what they say, wherever they travel."""

from __future__ import annotations

import pickle

import pytest

from s5engine import errors

KINDS = [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, errors.S5Error)]


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_says_what_and_the_way_out_also_after_pickling(kind: type[errors.S5Error]) -> None:
    error = pickle.loads(pickle.dumps(kind("A thing is wrong: 7.", "Use 8.")))
    assert str(error) == "A thing is wrong: 7. Use 8."
    assert (error.what, error.fix) == ("A thing is wrong: 7.", "Use 8.")
    assert isinstance(error, errors.S5Error)


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (errors.InvalidArgumentError, ValueError),
        (errors.SourceNotFoundError, FileNotFoundError),
        (errors.StoreError, OSError),
        (errors.BudgetError, MemoryError),
    ],
)
def test_an_error_is_caught_as_the_builtin(kind: type[errors.S5Error], builtin: type) -> None:
    with pytest.raises(builtin):
        raise kind("x")
