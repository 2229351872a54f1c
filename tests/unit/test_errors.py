"""Errors keep what they say, wherever they travel."""

from __future__ import annotations

import ast
import pickle
import re
from pathlib import Path

import pytest

import s5engine
from s5engine import errors
from s5engine.errors import ResumeError, StoreError, afresh

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


def test_both_ways_out_are_kept() -> None:
    error = ResumeError("It was begun with others.", afresh())
    for one in (error, pickle.loads(pickle.dumps(error))):
        assert str(one) == "It was begun with others. Start afresh with resume=False."
        assert one.on_the_command_line() == "It was begun with others. Start afresh with --fresh."
        assert (one.fix, one.args) == ("Start afresh with resume=False.", (str(one),))
    plain = StoreError("It is gone.", "Copy it again.")
    assert plain.on_the_command_line() == str(plain) == "It is gone. Copy it again."


def texts(node: ast.AST) -> str:
    return " ".join(
        part.value
        for part in ast.walk(node)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    )


def test_ways_out_that_are_python_are_named_for_the_command_line_too() -> None:
    """What is told of with Python's arguments has a second wording, or no verb leads there."""
    package = Path(s5engine.__file__).parent
    kinds = {name for name in dir(errors) if name.endswith("Error")}
    found = []
    for file in package.rglob("*.py"):
        if file.relative_to(package).parts[0] == "phantom":
            continue
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") in kinds:
                given = [*call.args, *(word.value for word in call.keywords)]
                plain = [a for a in given if not isinstance(a, ast.Call)]
                found += [
                    f"{file.name}:{call.lineno}"
                    for argument in plain
                    if re.search(r"\b[a-z_]+=(True|False|None|[\"'(]|\d)", texts(argument))
                ]
    assert found == []
